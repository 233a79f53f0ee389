"""This module keeps answers whose parts are called before they are known to the caller.

Theory of operation
-------------------
A call may ask to have its answer kept (`keep`), until the caller lets go of it
(`finish`).  What is kept is the message that was written.  A later call may name a part
of it by a *path*, as what is called or as an argument: the part is what the peer would
have sent, had it waited for the answer, and so is read by the same policy.

What comes before the answer waits for it, in order.  A failed call leaves its error,
with which the later ones fail as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from pb_banana.extending import Path, Sent
from pb_broker.errors import Error, ProtocolError
from pb_jelly import JellyError

__all__ = [
    "KeptAnswer",
    "KeptAnswers",
    "PromisedPart",
    "followed",
    "number_of",
    "replaced",
]

#: The most bytes of an answer that is kept: it is read for each call that names it.
_MOST_OCTETS: Final = 65_536

#: Stands for a part that has not been read yet.
_UNREAD: Final[Any] = object()


class PromisedPart:
    """A part of an answer, in arguments that were read before it was known.

    Args:
        path: The path of the part.

    Attributes:
        error: Why there is no such part; None for no reason.
        kept: The answer, once it has been found.
        path: As above.
        value: The part, once it has been read.
    """

    __slots__ = ("error", "kept", "path", "value")

    def __init__(self, path: Path) -> None:
        self.kept: KeptAnswer
        self.path: Path = path
        self.value: Any = None
        self.error: Exception | None = None


class KeptAnswer:
    """An answer that is kept, or will be when it is known.

    Attributes:
        error: Writes the error of the failed call for another one, by its number; None
            for no error.
        is_finished: True if the caller has let go of it.
        is_known: True if the call has been answered.
        waiting: Functions to be called when it is known.
    """

    __slots__ = ("_data", "_parts", "error", "is_finished", "is_known", "waiting")

    def __init__(self) -> None:
        self._data = b""
        # The answer as objects, to find what is called; they are handed to no method.
        self._parts: Any = _UNREAD
        self.error: Callable[[int], list[bytes]] | None = None
        self.is_finished: bool = False
        self.is_known: bool = False
        self.waiting: list[Callable[[], None]] = []

    def known(self, data: bytes) -> None:
        """Learn of the answer.

        Args:
            data: The message; empty if it is too large to be kept.
        """
        self.is_known = True
        self._data = data

    def value(self, read: Callable[[bytes], Any]) -> Any:
        """Return the answer as a new object.

        Args:
            read: Reads the message.

        Raises:
            Error: It is too large.
        """
        if not self._data:
            raise Error(f"an answer over {_MOST_OCTETS} bytes is not kept")
        return read(self._data)

    def parts(self, read: Callable[[bytes], Any]) -> Any:
        """Return the answer, to find parts of it that are called.

        Args:
            read: As for :meth:`value`.
        """
        if self._parts is _UNREAD:
            self._parts = self.value(read)
        return self._parts

    @property
    def size(self) -> int:
        """The bytes of the message."""
        return len(self._data)


class Keeper(Protocol):
    """A connection, as far as answers are kept for it."""

    def read_kept(self, data: bytes) -> Any:
        """Read an answer that was sent, as if the peer had sent it.

        Args:
            data: The message.
        """

    def luid_of(self, value: Any) -> int | None:
        """Return the number of an object that the peer can call; None if it cannot."""
        ...

    def perspective_of(self, luid: int | bytes) -> Any:
        """Return the perspective of an object of a number."""

    def most_kept(self) -> int:
        """Return the most answers that are kept."""
        ...

    def most_kept_octets(self) -> int:
        """Return the most bytes of all of them."""
        ...


class KeptAnswers:
    """The answers of one connection that are kept.

    Args:
        keeper: The connection.

    Attributes:
        answers: They, by the numbers of their calls.
    """

    __slots__ = (
        "_keeper",
        "_octets",
        "answers",
    )

    def __init__(
        self,
        keeper: Keeper,
    ) -> None:
        self._keeper = keeper
        self.answers: dict[int, KeptAnswer] = {}
        self._octets = 0

    def __len__(self) -> int:
        """Return how many answers are kept, or will be."""
        return len(self.answers)

    def perspective_of(self, luid: int | bytes) -> Any:
        """Return the perspective of an object; see `Keeper.perspective_of`."""
        return self._keeper.perspective_of(luid)

    # Of calls that are served

    def begin(self, request: int) -> None:
        """Keep the answer of a call that begins.

        Args:
            request: The peer's number of the call.

        Raises:
            ProtocolError: There is one of that number.
            Error: There are as many as there may be.
        """
        if request in self.answers:
            raise ProtocolError("a second call of the same number")
        most = self._keeper.most_kept()
        self.answers[request] = kept = KeptAnswer()
        if len(self.answers) > most:
            kept.is_known = True
            raise Error(f"the peer may have {most} answers kept")

    def known(self, request: int, sent: Sent) -> None:
        """Keep an answer that has been written.

        Args:
            request: The peer's number of the call; it may be of none that is kept.
            sent: The message.
        """
        kept = self.answers.get(request)
        if kept is None or kept.is_known:
            return
        is_small = sent.size <= _MOST_OCTETS
        if is_small and self._octets + sent.size <= self._keeper.most_kept_octets():
            kept.known(b"".join(sent.parts))
            self._octets += kept.size
        else:
            kept.known(b"")

    def failed(self, request: int, write: Callable[[int], list[bytes]]) -> None:
        """Keep the error of a call.

        Args:
            request: The peer's number of the call; it may be of none that is kept.
            write: Writes the error, for the call of a number.
        """
        kept = self.answers.get(request)
        if kept is not None:
            kept.is_known = True
            kept.error = write

    def ended(self, request: int) -> None:
        """Have those that wait for an answer go on: it was sent.

        Args:
            request: The peer's number of the call.
        """
        kept = self.answers.get(request)
        if kept is None:
            return
        # A call that was served and wanted no answer, or could not be given one.
        kept.is_known = True
        waiting, kept.waiting = kept.waiting, []
        for go_on in waiting:
            go_on()
        if kept.is_finished:
            self._drop(request)

    def finish(self, request: int) -> None:
        """Let go of an answer.

        Args:
            request: The peer's number of the call.

        Raises:
            ProtocolError: There is none.
        """
        kept = self._find(request)
        kept.is_finished = True
        if kept.is_known and not kept.waiting:
            self._drop(request)

    def _drop(self, request: int) -> None:
        kept = self.answers.pop(request, None)
        if kept is not None:
            self._octets -= kept.size

    # Paths

    def find(self, path: Path) -> KeptAnswer:
        """Return the answer that a path leads into.

        A call that waits holds it: it may be let go of before the call is made.

        Args:
            path: The path.

        Raises:
            ProtocolError: There is none.
        """
        return self._find(number_of(path))

    def _find(self, request: int) -> KeptAnswer:
        kept = self.answers.get(request)
        if kept is None or kept.is_finished:
            raise ProtocolError("no answer is kept of a call of that number")
        return kept

    def target(self, kept: KeptAnswer, path: Path) -> int:
        """Return the number of an object that a path leads to.

        Args:
            kept: The answer, which is known.
            path: The path into it.

        Raises:
            Error: It leads to no object that the peer can call.
        """
        found = followed(kept.parts(self._keeper.read_kept), path[1:])
        luid = self._keeper.luid_of(found)
        if luid is None:
            raise Error("that part of the answer is no object that can be called")
        return luid

    def read(self, part: PromisedPart) -> None:
        """Read a part of an answer, as a new object.

        It is read as soon as the answer is known: the peer may let go of objects in it
        before the call is made.

        Args:
            part: The part; its answer is known.
        """
        if part.kept.error is None:
            try:
                part.value = followed(
                    part.kept.value(self._keeper.read_kept), part.path[1:]
                )
            except (Error, JellyError) as error:
                part.error = error

    def perspective(self, path: Path) -> Any:
        """Return the perspective of what a path leads to; None if it is not known.

        Args:
            path: The path.
        """
        kept = self.answers.get(number_of(path))
        if kept is None or not kept.is_known or kept.error is not None:
            return None
        try:
            return self._keeper.perspective_of(self.target(kept, path))
        except (Error, JellyError):
            # The call itself fails with it.
            return None


def number_of(path: Path) -> int:
    """Return the number of the call that a path begins with."""
    number = path[0]
    assert isinstance(number, int)
    return number


def followed(value: Any, keys: Path) -> Any:
    """Return the part of a value that indexes and keys lead to.

    Args:
        value: The value.
        keys: Indexes of lists and tuples, and keys of dicts.

    Raises:
        Error: There is no such part.
    """
    for place, key in enumerate(keys):
        kind = type(value)
        try:
            if kind is dict or (kind in (list, tuple) and type(key) is int):
                value = value[key]
                continue
        except (LookupError, TypeError):
            pass
        shown = "".join(f"[{each!r}]" for each in keys[: place + 1])
        raise Error(f"the answer has no part {shown[:200]}")
    return value


def replaced(value: Any, put: Callable[[Any], Any], seen: set[int]) -> Any:
    """Return a value with others in the place of some in it.

    Lists, tuples and dicts are looked into.  Lists and dicts are changed themselves.

    Args:
        value: The value.
        put: Returns what goes in the place of a value of another kind; or itself.
        seen: The ids of lists and dicts that were looked into.
    """
    kind = type(value)
    if kind is tuple:
        parts = [replaced(each, put, seen) for each in value]
        is_same = all(new is old for new, old in zip(parts, value, strict=True))
        return value if is_same else tuple(parts)
    if kind is not list and kind is not dict:
        return put(value)
    if id(value) not in seen:
        seen.add(id(value))
        for key, each in list(value.items() if kind is dict else enumerate(value)):
            value[key] = replaced(each, put, seen)
    return value
