"""This module gives property tests more examples in the trials."""

from __future__ import annotations

import os

__all__ = ["examples"]


def examples(number: int) -> int:
    """Return all examples with ``TRIAL=1`` in the environment, and else a fifth."""
    return number if os.environ.get("TRIAL") else number // 5
