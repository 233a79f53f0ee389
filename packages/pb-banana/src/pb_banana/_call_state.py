"""This module has the state of one connection's calls that each of them needs."""

from __future__ import annotations

from threading import get_ident
from typing import Any, final

__all__ = ["CallState"]


@final
class CallState:
    """The state of one connection's calls, either way.

    Args:
        pending: The first table of the calls that wait for an answer.

    Attributes:
        hooks: Parties to each step of each call; None for none.
        is_hung_up: True when this end has ended the connection.
        is_over: True when the connection is lost, so that nothing can be sent.
        last: The number of the last call that was made here.
        pending: The calls that wait for an answer, by number.
        refusal: Why no call of the peer's is begun any more; None if calls are.
        serving: The number of the peer's calls whose results have yet to come.
        thread: The identifier of the event loop's thread.
    """

    __slots__ = (
        *("hooks", "is_hung_up", "is_over", "last", "pending", "refusal"),
        *("serving", "thread"),
    )

    def __init__(self, pending: dict[int, Any]) -> None:
        self.hooks: Any = None
        self.is_hung_up: bool = False
        self.is_over: bool = False
        self.last: int = 0
        self.pending: dict[int, Any] = pending
        self.refusal: str | None = None
        self.serving: int = 0
        self.thread: int = get_ident()
