"""This module sends one call to many observers, and serializes it once if it can."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pb_banana import encode
from pb_broker._dialects.pb.messages import CACHEMESSAGE, HEADS, MESSAGE, encoded_name
from pb_broker._objects.cacheable import RemoteCacheObserver
from pb_broker._objects.identity import process_unique_id
from pb_broker._objects.remote_reference import RemoteReference
from pb_broker.errors import DeadReferenceError, ProtocolError
from pb_jelly import Jellier, JellyError

__all__ = ["call_observers"]

#: How a call begins with the greatest numbers that there may ever be.
_WIDEST: Final = (HEADS[MESSAGE], *[encode(2**62)] * 2)
_WIDEST_SIZE: Final = sum(map(len, _WIDEST))


class _NotSharedError(JellyError):
    """The arguments are not the same bytes for everybody."""


def _no_jellier() -> Jellier:
    raise _NotSharedError("what has a hook is serialized for each peer")


class _Call:
    """One call of many, and the bytes of it for those who get the same.

    Args:
        name: The method.
        args: Positional arguments.
        kw: Keyword arguments.
        wanted: Whether answers are.
    """

    def __init__(
        self, name: bytes, args: tuple[Any, ...], kw: dict[str, Any], wanted: bool
    ) -> None:
        self.name = name
        self.args = args
        self.kw = kw
        self.wanted = wanted
        # What the bytes depend on, and the bytes.
        self._encoder: Any = None
        self._policy: Any = None
        self._profile: Any = None
        self._body: bytes | None = None
        # What the last observer observes, and by what that is known.
        self._cached: Any = None
        self._identity: Any = None

    def send(
        self, observer: RemoteCacheObserver | RemoteReference
    ) -> Deferred[Any] | None:
        """Send it to one observer.

        Returns:
            A Deferred with the answer, or of why it could not be sent; None if no
            answer is wanted.

        Raises:
            DeadReferenceError: The connection is gone, or the peer has no copy.
        """
        broker = observer.broker
        if broker.disconnected:
            raise broker.gone()
        session = broker._session
        luid: Any
        if isinstance(observer, RemoteCacheObserver):
            verb = CACHEMESSAGE
            cached = observer.cached
            if cached is not self._cached:
                # The next one's is the same, in nearly all programs.
                self._cached = cached
                self._identity = process_unique_id(cached)
            caches = session._caches
            luid = None if caches is None else caches.luids.get(self._identity)
            if luid is None:
                raise ProtocolError("the peer has no cached copy of this object")
        else:
            verb = MESSAGE
            luid = observer.luid
        if (
            self._encoder is not broker._connection.encoder
            or self._policy is not broker.security
            or self._profile is not broker.profile
        ):
            self._body = self._body_for(broker)
        answer: Deferred[Any] | None
        if self._body is None or type(luid) is not int:
            who = observer.perspective
            answer = session.call(
                verb, who, luid, self.name, self.args, self.kw, self.wanted
            )
        else:
            answer = session.call_shared(verb, luid, self.name, self._body, self.wanted)
        return answer

    def _body_for(self, broker: Any) -> bytes | None:
        """Return what follows the luid; None if it is not to be shared."""
        self._encoder = broker._connection.encoder
        self._policy = broker.security
        self._profile = broker.profile
        if not broker._speaks_pb():
            return None
        # With the greatest numbers, so that no limit needs a look later.
        head = (*_WIDEST, broker._encode(self.name), 1 if self.wanted else 0)
        parts = broker._write_message(head, (self.args, self.kw), _no_jellier)
        return None if parts is None else b"".join(parts)[_WIDEST_SIZE:]


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

    Raises:
        WrongThread: This is another thread than that of an observer's event loop.
        TypeError: The name is no text.
    """
    name = encoded_name(_name)
    wanted = bool(kw.pop("pbanswer", True))
    call = _Call(name, args, kw, wanted)
    answers: list[Deferred[Any]] = []
    for observer in observers:
        try:
            answer = call.send(observer)
        except (DeadReferenceError, ProtocolError) as error:
            answer = observer.broker.shell.failed(Failure(error))
        if answer is None:
            continue
        if wanted:
            answers.append(answer)
        else:
            # As callRemote without an answer, which says nothing of this either.
            observer.broker.shell.ignore(answer)
    return answers
