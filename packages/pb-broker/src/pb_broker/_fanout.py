"""This module sends one call to many observers, and serializes it once if it can."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, fail

from pb_jelly import Jellier, JellyError

from ._cacheable import RemoteCacheObserver
from ._remote import RemoteReference
from .errors import DeadReferenceError, ProtocolError

__all__ = ["call_observers"]

#: The names in a call's head are a few hundred bytes; longer ones leave no room.
_HEAD_BYTES = 2048


class _NotSharedError(JellyError):
    """The arguments are not the same bytes for everybody."""


def _no_jellier() -> Jellier:
    raise _NotSharedError("what has a hook is serialized for each peer")


class _Arguments:
    """The arguments of one call, and their bytes for those who get the same."""

    def __init__(self, args: tuple[Any, ...], kw: dict[str, Any]) -> None:
        self.args = args
        self.kw = kw
        # What the bytes depend on, and the bytes.
        self._policy: Any = None
        self._limits: Any = None
        self._profile: Any = None
        self._body: bytes | None = None

    def for_broker(self, broker: Any) -> bytes | None:
        """Return the bytes for a connection; None if they are not to be shared."""
        limits = broker._connection.send_limits
        if not (
            self._policy is broker.security
            and self._limits is limits
            and self._profile is broker.profile
        ):
            if not broker._speaks_pb():
                return None
            parts = broker._write_message((), (self.args, self.kw), _no_jellier)
            body = b"" if parts is None else b"".join(parts)
            # What comes before it has to be in the same message.
            is_small = 0 < len(body) <= limits.message_bytes - _HEAD_BYTES
            self._body = body if is_small else None
            self._policy = broker.security
            self._limits = limits
            self._profile = broker.profile
        return self._body if broker._speaks_pb() else None


def call_observers(
    observers: Iterable[RemoteCacheObserver | RemoteReference],
    _name: str | bytes,
    /,
    *args: Any,
    **kw: Any,
) -> list[Deferred[Any]]:
    """Call the same method of many objects, each at the other end of a connection.

    It does what calling ``callRemote`` of each does, but serializes arguments that
    are the same for everybody only once: those of nothing but scalars, bytes and str
    in builtin containers.

    Args:
        observers: What ``getStateToCacheAndObserveFor`` was given, or references.
        _name: The method's name, without the prefix that it has over there.
        *args: Its positional arguments.
        **kw: Its keyword arguments, and ``pbanswer=False`` if no answers are wanted.

    Returns:
        The Deferreds of all answers, in the order of the observers.  One whose
        connection is gone, or whose peer has no copy any more, has a Deferred that has
        failed: the others are called all the same.  Without answers, an empty list.
    """
    name = _name if isinstance(_name, bytes) else _name.encode()
    wanted = bool(kw.pop("pbanswer", True))
    arguments = _Arguments(args, kw)
    answers: list[Deferred[Any]] = []
    for observer in observers:
        try:
            answer = _call(observer, name, arguments, wanted)
        except (DeadReferenceError, ProtocolError) as error:
            answer = fail(error)
        if answer is None:
            continue
        if wanted:
            answers.append(answer)
        else:
            # As callRemote without an answer, which says nothing of this either.
            answer.addErrback(_ignore)
    return answers


def _call(
    observer: RemoteCacheObserver | RemoteReference,
    name: bytes,
    arguments: _Arguments,
    wanted: bool,
) -> Deferred[Any] | None:
    broker = observer.broker
    prefix, luid = observer._address()
    answer: Deferred[Any] | None = broker._call_with(
        prefix,
        observer.perspective,
        luid,
        name,
        arguments.args,
        arguments.kw,
        wanted,
        arguments.for_broker(broker),
    )
    return answer


def _ignore(_: object) -> None:
    """Take note of a failure that nobody asked for."""
