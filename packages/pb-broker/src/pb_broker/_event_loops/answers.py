"""This module has the interface of answers to calls, on either event loop."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol, TypeVar, runtime_checkable

__all__ = ["Answer"]

_T_co = TypeVar("_T_co", covariant=True)


@runtime_checkable
class Answer(Protocol[_T_co]):
    """The answer of a call that has begun: it can be awaited, and cancelled.

    On Twisted's reactor it is a ``Deferred``, on asyncio an ``asyncio.Future``; for
    callbacks on either, :func:`pb_broker.as_deferred` makes a Deferred of it.
    """

    def __await__(self) -> Generator[Any, Any, _T_co]:
        """Wait for the answer."""
        ...

    def cancel(self) -> object:
        """Forget the call: a late answer is read, and its references are released."""
        ...
