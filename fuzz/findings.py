"""This module says what a finding is."""

from __future__ import annotations

__all__ = ["Finding", "expect"]


class Finding(AssertionError):
    """Something that is promised does not hold."""


def expect(holds: object, promise: str) -> None:
    """Check that something is as promised.

    Args:
        holds: Whether it is.
        promise: What is promised, with what is wrong about it.

    Raises:
        Finding: It is not.
    """
    if not holds:
        raise Finding(promise)
