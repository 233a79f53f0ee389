"""This module sends one call to many observers, and serializes it once if it can."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.python.failure import Failure

from pb_broker._dialects.pb.messages import encoded_name
from pb_broker._event_loops.answers import Answer
from pb_broker._objects.cacheable import RemoteCacheObserver
from pb_broker._objects.identity import process_unique_id
from pb_broker._objects.remote_reference import RemoteReference
from pb_broker.errors import DeadReferenceError, ProtocolError

__all__ = ["FanOut", "call_observers"]


class FanOut:
    """One call to many observers, and the bytes that they share.

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
        # The bytes, and the settings they depend on; None before the first observer.
        self._sharing: tuple[object, ...] | None = None
        self._body: bytes | None = None
        # The original of the last observer, and its process-unique id.
        self._cached: Any = None
        self._identity: Any = None

    def send(
        self, observer: RemoteCacheObserver | RemoteReference
    ) -> Answer[Any] | None:
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
        session = broker.session
        luid: Any
        to_copy = isinstance(observer, RemoteCacheObserver)
        if isinstance(observer, RemoteCacheObserver):
            cached = observer.cached
            if cached is not self._cached:
                # The next one's is the same, in nearly all programs.
                self._cached = cached
                self._identity = process_unique_id(cached)
            luid = session.caches.luids.get(self._identity)
            if luid is None:
                raise ProtocolError("the peer has no cached copy of this object")
        else:
            luid = observer.luid
        codec = session.codec
        if not codec.shares(self._sharing):
            self._sharing = codec.sharing()
            self._body = codec.call_body(self.name, self.args, self.kw, self.wanted)
        answer: Answer[Any] | None
        outgoing = session.outgoing
        if self._body is None or type(luid) is not int:
            answer = outgoing.call(
                luid,
                to_copy,
                self.name,
                self.wanted,
                self.args,
                self.kw,
                observer.perspective,
            )
        else:
            answer = outgoing.call_shared(
                luid, to_copy, self.name, self._body, self.wanted
            )
        return answer


def call_observers(
    observers: Iterable[RemoteCacheObserver | RemoteReference],
    _name: str | bytes,
    /,
    *args: Any,
    **kw: Any,
) -> list[Answer[Any]]:
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
        All answers, in the order of the observers.  One whose connection is gone, or
        whose peer has no copy any more, has failed: the others are called all the
        same.  Without answers, an empty list.

    Raises:
        WrongThread: This is another thread than that of an observer's event loop.
        TypeError: The name is no text.
    """
    name = encoded_name(_name)
    wanted = bool(kw.pop("pbanswer", True))
    call = FanOut(name, args, kw, wanted)
    answers: list[Answer[Any]] = []
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
            # callRemote without an answer reports no error either.
            observer.broker.shell.ignore(answer)
    return answers
