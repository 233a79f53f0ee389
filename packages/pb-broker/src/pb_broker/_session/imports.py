"""This module counts the imports of one connection: references to peer's objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pb_broker._dialects.pb.messages import ANSWER, MESSAGE
from pb_broker._objects.remote_reference import RemoteReference

from .exports import ExportTable
from .quotas import Quotas
from .session_hooks import SessionHooks

__all__ = ["Imports"]

#: The classes that stand for the peer's objects where a program has put no other.
_PLAIN: Final = (RemoteReference,)


class Imports:
    """References to the peer's objects that are held here.

    Args:
        broker: The broker that the references are of.
        quotas: How many there may be.
        exports: Our objects, whose perspectives the references in a call get.

    Attributes:
        count: The number of references that are held.
        hooks: The session's hooks; None for none.
    """

    __slots__ = ("_broker", "_exports", "_quotas", "count", "hooks")

    def __init__(self, broker: Any, quotas: Quotas, exports: ExportTable) -> None:
        self._broker = broker
        self._quotas = quotas
        self._exports = exports
        self.count: int = 0
        self.hooks: SessionHooks | None = None

    def add(self, luid: int) -> None:
        """Count one reference more.

        Args:
            luid: The peer's number of the object.

        Raises:
            Error: There are as many as there may be.
        """
        self._quotas.check_imports(self.count)
        self.count += 1
        if self.hooks is not None:
            self.hooks.imported(luid, None, None)

    def reader(self) -> Callable[[int, list[Any]], RemoteReference | None] | None:
        """Return the function that makes references in messages read in one step.

        None where a class of the program's stands for them, which takes two steps.
        """
        if self._broker.pb_types.get(b"remote") not in _PLAIN:
            return None
        return self.read

    def read(self, luid: int, message: list[Any]) -> RemoteReference | None:
        """Return a reference in a message that is being read; None at the limit.

        Args:
            luid: The peer's number of the object.
            message: What has been read of the message: its verb and some fields.
        """
        if self.count >= self._quotas.of_peer.imported_references:
            return None
        perspective = None
        if message[0] == MESSAGE:
            target = self._exports.find(message[2])
            perspective = getattr(target, "perspective", None)
        called = message[2] if message[0] == MESSAGE else None
        answered = message[1] if message[0] == ANSWER else None
        return self._made(luid, perspective, called, answered)

    def make(
        self,
        luid: int,
        perspective: Any,
        called: int | bytes | None,
        answered: int | None,
        stream: int | None = None,
    ) -> RemoteReference:
        """Return a reference that came in a message, and count it.

        Args:
            luid: The peer's number of the object.
            perspective: The perspective that is served when it is used.
            called: The object of the call that it is an argument of; None for none.
            answered: The number of the call that it is the answer of; None for none.
            stream: The number of the stream that it is an item of; None for none.

        Raises:
            Error: There are as many as there may be.
        """
        self._quotas.check_imports(self.count)
        return self._made(luid, perspective, called, answered, stream)

    def _made(
        self,
        luid: int,
        perspective: Any,
        called: int | bytes | None,
        answered: int | None,
        stream: int | None = None,
    ) -> RemoteReference:
        """Return a reference, and count it."""
        self.count += 1
        reference: RemoteReference = RemoteReference(perspective, self._broker, luid, 1)
        if self.hooks is not None:
            self.hooks.imported(luid, called, answered, stream)
        return reference

    def discard(self, references: list[RemoteReference]) -> None:
        """Forget references that will be made anew from the same message."""
        for reference in references:
            reference.doRefCount = 0
            if self.hooks is not None:
                self.hooks.import_ended(reference.luid)
        self.count -= len(references)
