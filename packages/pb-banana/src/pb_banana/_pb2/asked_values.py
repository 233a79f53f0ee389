"""This module asks a connection about its values in one message, if there are any.

Theory of operation
-------------------
Most messages have no reference, no copy and no object with a hook in them, and what is
to be known of a message for those is not prepared for the others.  A writer and a
reader ask an `AskedSent` and an `AskedReceived`, which open the message at the
connection with the first question, and close it when it has been written or read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, final

if TYPE_CHECKING:
    from mypy_extensions import i64

    from .connection_values import Path

__all__ = ["AskedReceived", "AskedSent", "Journal", "MessageValues"]

#: What was noted while a message was written; the connection knows its shape.
Journal = Any


class MessageValues(Protocol):
    """The values of a connection, by the message that they are in.

    Its other methods are those of `SentValues` and `ReceivedValues`.
    """

    def begin_writing(self, served: Any, /) -> Any:
        """Go on to the values of a message that is written.

        Args:
            served: On whose behalf it is written; as `AskedSent.open` was given it.

        Returns:
            The argument for `end_writing`.
        """
        ...

    def end_writing(self, before: Any, /) -> Journal:
        """Go back to the message before; return what was noted for this one.

        Args:
            before: What `begin_writing` has returned.
        """
        ...

    def abandon_writing(self, before: Any, /) -> None:
        """Go back to the message before, and take back what was noted for this one."""
        ...

    def begin_reading(
        self, number: int, request: int, target: int | bytes | Path | None, /
    ) -> Any:
        """Go on to the values of a message that is read.

        Args:
            number: The number of the kind of message.
            request: The number of the call, or of the stream.
            target: The object that is called; None for a message of another kind.

        Returns:
            The argument for `end_reading`.
        """
        ...

    def end_reading(self, before: Any, /) -> None:
        """Go back to the message before.

        Args:
            before: What `begin_reading` has returned.
        """
        ...

    def context(self) -> Any: ...
    def tag_of(self, cls: type[Any], /) -> int: ...
    def content(self, value: Any, tag: int, /) -> tuple[int, Any]: ...
    def begin(self, tag: int, first: list[Any], target: Any, /) -> Any: ...
    def arrived(self, tag: int, content: Any, blank: Any, /) -> Any: ...


@final
class AskedSent:
    """The values of one connection that are sent: the `SentValues` of its messages.

    Args:
        values: The connection's values.

    Attributes:
        is_open: True while a message is written.
    """

    __slots__ = ("_before", "_is_asked", "_served", "_values", "is_open")

    def __init__(self, values: MessageValues) -> None:
        self._values = values
        self._served: Any = None
        self._before: Any = None
        self._is_asked: bool = False
        self.is_open: bool = False

    def open(self, served: Any) -> Any:
        """Go on to a message.

        Args:
            served: On whose behalf it is written.

        Returns:
            The argument for `close`.
        """
        outer = None
        if self.is_open:
            # A hook of a value of that message sends another one.
            outer = self._served, self._is_asked, self._before
            self._is_asked = False
            self._before = None
        self.is_open = True
        self._served = served
        return outer

    def close(self, outer: Any) -> None:
        """Go back to the message before; take back what `take` has not taken.

        Args:
            outer: What `open` has returned.
        """
        if self._is_asked:
            self._is_asked = False
            self._values.abandon_writing(self._before)
        if outer is None:
            self.is_open = False
            self._served = None
            self._before = None
        else:
            self._served, self._is_asked, self._before = outer

    def take(self) -> Journal:
        """Return what was noted for a complete message; None for nothing."""
        if not self._is_asked:
            return None
        self._is_asked = False
        before, self._before = self._before, None
        return self._values.end_writing(before)

    def _ask(self) -> None:
        if not self._is_asked:
            self._before = self._values.begin_writing(self._served)
            self._is_asked = True

    def context(self) -> Any:
        """Return the context of the message; see `SentValues.context`."""
        self._ask()
        return self._values.context()

    def tag_of(self, cls: type[Any], /) -> int:
        """Return the tag of a class; see `SentValues.tag_of`."""
        return self._values.tag_of(cls)

    def content(self, value: Any, tag: int, /) -> tuple[int, Any]:
        """Return the tag and the content of a value; see `SentValues.content`."""
        self._ask()
        return self._values.content(value, tag)


@final
class AskedReceived:
    """The values of one connection that come: the `ReceivedValues` of its messages.

    Args:
        values: The connection's values.

    Attributes:
        is_asked: True if the message that is read has values of the connection.
        is_open: True while a message is read.
        number: The number of the kind of message that is read.
        request: The number of the call, or of the stream.
        target: The object that is called; None for a message of another kind.
    """

    __slots__ = (
        *("_before", "_values", "is_asked", "is_open"),
        *("number", "request", "target"),
    )

    def __init__(self, values: MessageValues) -> None:
        self._values = values
        self.number: i64 = 0
        self.request: Any = 0
        self.target: Any = None
        self._before: Any = None
        self.is_asked: bool = False
        self.is_open: bool = False

    def open(self) -> None:
        """Go on to a message.

        Raises:
            RuntimeError: Another one has not been closed.
        """
        if self.is_open:
            raise RuntimeError("a message is open and not closed")
        self.is_open = True

    def close(self) -> bool:
        """Go back; return True if the message has values of the connection."""
        self.is_open = False
        self.target = None
        if not self.is_asked:
            return False
        self.is_asked = False
        before, self._before = self._before, None
        self._values.end_reading(before)
        return True

    def opened(
        self, number: int, request: int, target: int | bytes | Path | None, /
    ) -> None:
        """Learn which message is read.

        Args:
            number: As for `MessageValues.begin_reading`, and so are the others.
            request: The number of the call, or of the stream.
            target: The object that is called; None for a message of another kind.
        """
        self.number = number
        self.request = request
        self.target = target

    def _ask(self) -> None:
        if not self.is_asked:
            self._before = self._values.begin_reading(
                self.number, self.request, self.target
            )
            self.is_asked = True

    def context(self) -> Any:
        """Return the context of the message; see `ReceivedValues.context`."""
        self._ask()
        return self._values.context()

    def begin(self, tag: int, first: list[Any], target: Any, /) -> Any:
        """Return the blank of a cached copy; see `ReceivedValues.begin`."""
        self._ask()
        return self._values.begin(tag, first, target)

    def arrived(self, tag: int, content: Any, blank: Any, /) -> Any:
        """Return the object of some content; see `ReceivedValues.arrived`."""
        self._ask()
        return self._values.arrived(tag, content, blank)
