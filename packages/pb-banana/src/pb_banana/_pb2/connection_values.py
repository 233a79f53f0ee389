"""This module declares the protocols of a connection's values, sent and received.

References, cached copies, promises, streams and failures have tags here and no meaning:
the writer and the reader hand them to the two protocols below.
"""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Path", "ReceivedValues", "SentValues"]

#: A part of an answer that may be on its way: the number of its call, and the indexes
#: and keys that lead to the part.
Path = tuple["int | str", ...]


class SentValues(Protocol):
    """The answers of a connection about values that are sent."""

    def context(self) -> Any:
        """Return the context that hooks of the message's values are handed."""
        ...

    def tag_of(self, cls: type[Any], /) -> int:
        """Return the tag that instances of a class may have.

        It is asked once for each class in a message.

        Returns:
            One of `tags.CONNECTION_TAGS`; 0 for a class that is none of the
            connection's.
        """
        ...

    def content(self, value: Any, tag: int, /) -> tuple[int, Any]:
        """Return the tag and the content of a value.

        Args:
            value: The value.
            tag: What `tag_of` returned for its class.

        Returns:
            The tag, which may be another one for this value, and the content: a number,
            or a list of values, which is new and kept until the message is complete.

        Raises:
            JellyError: It cannot be sent.
        """
        ...


class ReceivedValues(Protocol):
    """The answers of a connection about values that are received."""

    def context(self) -> Any:
        """Return the context that hooks of the message's values are handed."""
        ...

    def begin(self, tag: int, first: list[Any], target: Any, /) -> Any:
        """Return the blank object of a cached copy, before its state is read.

        Args:
            tag: `tags.CACHED`.
            first: The items before the state: its number, and the name of its class.
            target: The `pb_jelly.codec.Target` of that class, which the policy allows.
        """
        ...

    def arrived(self, tag: int, content: Any, blank: Any, /) -> Any:
        """Return the object of some content.

        Args:
            tag: One of `tags.CONNECTION_TAGS`, as the sender has written it.
            content: A number or a list.
            blank: What `begin` returned; None where it was not asked.

        Raises:
            JellyError: There is none.
        """
        ...
