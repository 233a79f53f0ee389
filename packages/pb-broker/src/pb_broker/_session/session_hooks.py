"""This module defines the hooks of a session: the steps that others take part in.

Observers of calls and owners of references are made of these.  A connection that has
neither has None in their place, and pays one comparison a call for them.  With more
than one, the first is the outermost: each step of it goes on with that of the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from pb_banana.extending import Path
from pb_broker._dialects.message_codec import Served

__all__ = ["HookChain", "SessionHooks", "joined"]


class SessionHooks:
    """Steps of calls, each of which by default only proceeds.

    Override those that matter.
    """

    __slots__ = ()

    def calling(
        self,
        luid: int | bytes | Path,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        perspective: Any,
        send: Callable[[], Any],
    ) -> Any:
        """Take part in a call from here.

        Args:
            luid: The peer's number or name of the object, or its path in an answer.
            to_copy: Whether that is the peer's cached copy of an object of ours.
            name: The name of the method.
            wanted: Whether an answer is wanted.
            perspective: The perspective that the call is made for.
            send: Sends it, and returns what becomes of it; None without an answer.

        Returns:
            What ``send`` returns, or something in place of it.
        """
        return send()

    def reading_answer(self, call: Any, read: Callable[[], Any]) -> Any:
        """Take part in reading the answer to a call from here.

        Args:
            call: What became of the call; None for an answer to no call.
            read: Reads and returns the answer.
        """
        return read()

    def reading_call(
        self, luid: int | bytes, to_copy: bool, proceed: Callable[[], None]
    ) -> None:
        """Take part in reading the arguments of a call of the peer's, and in the call.

        Args:
            luid: The number or name of the object.
            to_copy: Whether that is our cached copy of an object of the peer's.
            proceed: Reads and goes on.
        """
        proceed()

    def serving(
        self,
        request: int,
        luid: int | bytes,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        proceed: Callable[[], None],
    ) -> None:
        """Take part in a call of the peer's.

        Args:
            request: The peer's number of the call.
            luid: The number or name of the object.
            to_copy: Whether that is our cached copy of an object of the peer's.
            name: The name of the method.
            wanted: Whether an answer is wanted.
            proceed: Calls the method, and answers if the result is there.
        """
        proceed()

    def waiting(self, served: Served) -> Served:
        """Return on whose behalf a result will be written that has yet to come.

        Args:
            served: On whose behalf the call is made.
        """
        return served

    def answering(
        self, result: Any, served: Served, proceed: Callable[[], None]
    ) -> Failure | None:
        """Take part in the answer to a call of the peer's.

        Args:
            result: The result.
            served: On whose behalf it is written.
            proceed: Writes and sends it.

        Returns:
            None; or the failure that the call ends with in place of its result, with
            nothing having been written.
        """
        proceed()
        return None

    def failing(
        self, failure: Failure, served: Served, proceed: Callable[[Failure], None]
    ) -> None:
        """Take part in the failure of a call of the peer's that had to be waited for.

        Args:
            failure: The failure.
            served: On whose behalf the call was made.
            proceed: Tells the peer of a failure.
        """
        proceed(failure)

    def ended(self, request: int, error: BaseException | None) -> None:
        """Learn that a call of the peer's has ended.

        Args:
            request: The peer's number of the call.
            error: The exception that it ended with; None for a result.
        """

    def exported(self, luid: int, is_new: bool) -> None:
        """Learn that the peer is given a reference to an object.

        Args:
            luid: The number of the object.
            is_new: Whether the peer had none.
        """

    def export_ended(self, luid: int) -> None:
        """Learn that the peer has an object no more."""

    def cached(self, luid: int, is_new: bool) -> None:
        """Learn that the peer is given a cached copy of an object.

        Args:
            luid: The number of the object.
            is_new: Whether the peer had none.
        """

    def cache_ended(self, luid: int) -> None:
        """Learn that the peer has no cached copy of an object any more."""

    def imported(
        self,
        luid: int,
        called: int | bytes | None,
        answered: int | None,
        stream: int | None = None,
    ) -> None:
        """Learn that the peer has given a reference to an object of its own.

        Args:
            luid: The peer's number of the object.
            called: The number or name of the object that is called with the reference;
                None for another message, and where the message is not known.
            answered: The number of the call that is answered with the reference; None
                as above.
            stream: The number of the peer's stream that the reference is an item of;
                None as above.
        """

    def import_ended(self, luid: int | bytes) -> None:
        """Learn that one reference to an object of the peer's is given back."""

    def closed(self, reason: Failure) -> None:
        """Learn that the session is over.

        Args:
            reason: Why the connection was lost.
        """


class HookChain(SessionHooks):
    """Two hooks, one within the other.

    Args:
        outer: The one whose steps come first.
        inner: The one whose steps they go on with.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, outer: SessionHooks, inner: SessionHooks) -> None:
        self._outer = outer
        self._inner = inner

    def calling(
        self,
        luid: int | bytes | Path,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        perspective: Any,
        send: Callable[[], Any],
    ) -> Any:
        """Take part in a call from here."""
        call = (luid, to_copy, name, wanted, perspective)
        return self._outer.calling(*call, lambda: self._inner.calling(*call, send))

    def reading_answer(self, call: Any, read: Callable[[], Any]) -> Any:
        """Take part in reading the answer to a call from here."""
        return self._outer.reading_answer(
            call, lambda: self._inner.reading_answer(call, read)
        )

    def reading_call(
        self, luid: int | bytes, to_copy: bool, proceed: Callable[[], None]
    ) -> None:
        """Take part in reading the arguments of a call of the peer's."""
        self._outer.reading_call(
            luid, to_copy, lambda: self._inner.reading_call(luid, to_copy, proceed)
        )

    def serving(
        self,
        request: int,
        luid: int | bytes,
        to_copy: bool,
        name: bytes,
        wanted: Any,
        proceed: Callable[[], None],
    ) -> None:
        """Take part in a call of the peer's."""
        call = (request, luid, to_copy, name, wanted)
        self._outer.serving(*call, lambda: self._inner.serving(*call, proceed))

    def waiting(self, served: Served) -> Served:
        """Return on whose behalf a result will be written that has yet to come."""
        return self._outer.waiting(self._inner.waiting(served))

    def answering(
        self, result: Any, served: Served, proceed: Callable[[], None]
    ) -> Failure | None:
        """Take part in the answer to a call of the peer's."""
        refused: Failure | None = None

        def go_on() -> None:
            nonlocal refused
            refused = self._inner.answering(result, served, proceed)

        return self._outer.answering(result, served, go_on) or refused

    def failing(
        self, failure: Failure, served: Served, proceed: Callable[[Failure], None]
    ) -> None:
        """Take part in the failure of a call of the peer's, which came later."""
        self._outer.failing(
            failure, served, lambda told: self._inner.failing(told, served, proceed)
        )

    def ended(self, request: int, error: BaseException | None) -> None:
        """Learn that a call of the peer's has ended."""
        self._outer.ended(request, error)
        self._inner.ended(request, error)

    def exported(self, luid: int, is_new: bool) -> None:
        """Learn that the peer is given a reference to an object."""
        self._outer.exported(luid, is_new)
        self._inner.exported(luid, is_new)

    def export_ended(self, luid: int) -> None:
        """Learn that the peer has an object no more."""
        self._outer.export_ended(luid)
        self._inner.export_ended(luid)

    def cached(self, luid: int, is_new: bool) -> None:
        """Learn that the peer is given a cached copy of an object."""
        self._outer.cached(luid, is_new)
        self._inner.cached(luid, is_new)

    def cache_ended(self, luid: int) -> None:
        """Learn that the peer has no cached copy of an object any more."""
        self._outer.cache_ended(luid)
        self._inner.cache_ended(luid)

    def imported(
        self,
        luid: int,
        called: int | bytes | None,
        answered: int | None,
        stream: int | None = None,
    ) -> None:
        """Learn that the peer has given a reference to an object of its own."""
        self._outer.imported(luid, called, answered, stream)
        self._inner.imported(luid, called, answered, stream)

    def import_ended(self, luid: int | bytes) -> None:
        """Learn that one reference to an object of the peer's is given back."""
        self._outer.import_ended(luid)
        self._inner.import_ended(luid)

    def closed(self, reason: Failure) -> None:
        """Learn that the session is over."""
        self._outer.closed(reason)
        self._inner.closed(reason)


def joined(outer: SessionHooks | None, inner: SessionHooks | None) -> Any:
    """Return both hooks as one; None for none.

    Args:
        outer: The one whose steps come first.
        inner: The one within it.
    """
    if outer is None or inner is None:
        return outer or inner
    return HookChain(outer, inner)
