"""This module tells the peer of releases: references that were let go of here.

References are let go of at any moment and in any thread, by finalizers.  So a release
is only put in a queue, which is sent when nothing else is being written.
"""

from __future__ import annotations

from threading import get_ident

from pb_broker._dialects.message_codec import REFERENCE, MessageCodec

from .host import Host, Outbox
from .session_hooks import SessionHooks

__all__ = ["Releases"]


class Releases:
    """References and cached copies that were let go of here.

    Args:
        codec: Writes what the peer is told.
        outbox: Where that goes.
        host: The broker, for its event loop.

    Attributes:
        codec: As above; it is replaced when a dialect is agreed on.
        hooks: The session's hooks; None for none.
        is_over: Whether nobody is left to be told.
        outbox: As above.
        queue: What the peer has yet to be told: a luid, and the kind of object that it
            is of.  A list, because finalizers may add to it at any time.
        thread: The identifier of the event loop's thread.
    """

    __slots__ = ("_host", "codec", "hooks", "is_over", "outbox", "queue", "thread")

    def __init__(self, codec: MessageCodec, outbox: Outbox, host: Host) -> None:
        self.codec: MessageCodec = codec
        self._host = host
        self.outbox: Outbox = outbox
        self.hooks: SessionHooks | None = None
        self.is_over: bool = False
        self.queue: list[tuple[int | bytes, int]] = []
        self.thread: int = get_ident()

    def add(self, luid: int | bytes, kind: int) -> None:
        """Let go of one object of the peer's, now or soon.

        Safe to call at any moment and in any thread.

        Args:
            luid: The peer's number of the object.
            kind: `REFERENCE`, or another kind of object.
        """
        if self.is_over:
            return
        # First in the queue, then the question: a step under way looks afterwards.
        self.queue.append((luid, kind))
        if self.codec.busy and get_ident() == self.thread:
            return
        self._host.shell.call_in_thread(self.flush)

    def flush(self) -> None:
        """Tell the peer of everything that was let go of, in one write."""
        queue, codec = self.queue, self.codec
        if not queue or codec.busy or self.is_over or not codec.is_ready:
            return
        parts: list[bytes] = []
        # Finalizers that run meanwhile add to the queue and leave it to this loop.
        codec.busy += 1
        try:
            while queue:
                some = queue[:]
                for luid, kind in some:
                    if self.hooks is not None and kind == REFERENCE:
                        self.hooks.import_ended(luid)
                    parts.append(codec.release(luid, kind))
                del queue[: len(some)]
        finally:
            codec.busy -= 1
        self.outbox.send([b"".join(parts)])

    def close(self) -> None:
        """Forget everything: the peer is gone."""
        self.is_over = True
        self.queue.clear()
