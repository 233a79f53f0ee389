"""Names of methods, and of keyword arguments, as programs give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pytest
from twisted.internet.defer import Deferred, succeed
from zope.interface import Interface, implementer

import pb_broker as pb
from pb_broker._endpoints.client_service import PBClientService
from pb_broker.local import LocalAsRemote, LocalAsyncForwarder
from pb_broker.testing import Pair

from .support import connected, result_of, root_of

#: Names of arguments of what a call passes through, in this package and in others.
NAMES = {
    name: number
    for number, name in enumerate(
        (
            *("self", "_name", "name", "method", "message", "args", "kw", "key"),
            *("cls", "broker", "obj", "f", "func", "callback", "function", "observers"),
            *("perspective", "object", "request", "luid", "target", "wanted", "what"),
        )
    )
}


class Doc(pb.Cacheable):
    observer: Any = None

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observer = observer
        return {}


class DocCopy(pb.RemoteCache):
    noted: Any = None

    def observe_note(this, **kw: Any) -> Any:
        return kw


pb.setUnjellyableForClass(Doc, DocCopy)


class Seen(pb.Viewable):
    def view_echo(this, perspective_: Any, **kw: Any) -> Any:
        return kw


class Api(Protocol):
    async def echo(
        this,
        *,
        self: int,
        name: int,
        method: int,
    ) -> dict[str, int]: ...
    async def anything(this, **kw: int) -> dict[str, int]: ...


@pb.exposes(Api)
class Root(pb.Root):
    def __init__(self) -> None:
        self.doc = Doc()

    def remote_echo(this, **kw: Any) -> Any:
        return kw

    remote_anything = remote_echo

    @pb.remote
    async def marked(this, **kw: Any) -> Any:
        return kw

    async def remote_rows(this, **kw: Any) -> Any:
        yield kw

    def remote_doc(self) -> Any:
        return self.doc

    def remote_seen(self) -> Any:
        return Seen()


class Local(LocalAsRemote):
    def sync_echo(this, **kw: Any) -> Any:
        return succeed(kw)

    def async_plain(this, **kw: Any) -> Any:
        return kw


class IEcho(Interface):
    def echo(**kw: Any) -> Any:
        """Return the keywords."""


@implementer(IEcho)
class Forwarded:
    def echo(this, **kw: Any) -> Any:
        return kw


def _observed(pair: Pair) -> Any:
    pair.copies = result_of(root_of(pair).callRemote("doc"), pair)  # type: ignore[attr-defined]
    return pair.server_factory.root.doc.observer


def _service(pair: Pair) -> Any:
    service = PBClientService.__new__(PBClientService)
    service._shell = pair.client.shell
    service.current = root_of(pair)
    return service.reference()


async def _only(stream: Any) -> Any:
    (item,) = [item async for item in stream]
    return item


CALLS: dict[str, Callable[[Pair], Any]] = {
    "callRemote": lambda pair: root_of(pair).callRemote("echo", **NAMES),
    "marked": lambda pair: root_of(pair).callRemote("marked", **NAMES),
    "remoteMethod": lambda pair: root_of(pair).remoteMethod("echo")(**NAMES),
    "with_timeout": lambda pair: (
        root_of(pair).with_timeout(5).callRemote("echo", **NAMES)
    ),
    "stream": lambda pair: Deferred.fromCoroutine(
        _only(root_of(pair).stream("rows", **NAMES))
    ),
    "stub": lambda pair: root_of(pair).stub(Api).anything(**NAMES),
    "observer": lambda pair: _observed(pair).callRemote("note", **NAMES),
    "observer's method": lambda pair: _observed(pair).remoteMethod("note")(**NAMES),
    "call_observers": lambda pair: pb.call_observers(
        [_observed(pair)], "note", **NAMES
    )[0],
    "view": lambda pair: result_of(root_of(pair).callRemote("seen"), pair).callRemote(
        "echo", **NAMES
    ),
    "service": lambda pair: _service(pair).callRemote("echo", **NAMES),
    "local": lambda pair: Root().callRemote("echo", **NAMES),
    "local stub": lambda pair: pb.Referenceable.callRemote(Root(), "anything", **NAMES),
    "local as remote": lambda pair: Local().callRemote("echo", **NAMES),
    "local as remote, plain": lambda pair: Local().callRemote("plain", **NAMES),
    "local method": lambda pair: Local().remoteMethod("echo")(**NAMES),
    "forwarded": lambda pair: LocalAsyncForwarder(Forwarded(), IEcho).callRemote(
        "echo", **NAMES
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_keyword_arguments_of_any_name(call: Callable[[Pair], Any]) -> None:
    with connected(Root()) as pair:
        assert result_of(call(pair), pair) == NAMES


@pytest.mark.parametrize("validate", [False, True])
def test_keyword_arguments_with_names_of_an_interface(validate: bool) -> None:
    @pb.exposes(Api, validate=validate)
    class Served(pb.Root):
        def remote_echo(this, *, self: int, name: int, method: int) -> Any:
            return {"self": self, "name": name, "method": method}

        def remote_anything(self, **kw: Any) -> Any:
            return kw

    with connected(Served()) as pair:
        call: Any = root_of(pair).stub(Api).echo(self=1, name=2, method=3)
        assert result_of(call, pair) == {"self": 1, "name": 2, "method": 3}


MISTAKES: dict[str, Callable[[Pair, Any], Any]] = {
    "callRemote": lambda pair, name: root_of(pair).callRemote(name),
    "remoteMethod": lambda pair, name: root_of(pair).remoteMethod(name)(),
    "with_timeout": lambda pair, name: root_of(pair).with_timeout(5).callRemote(name),
    "stream": lambda pair, name: root_of(pair).stream(name),
    "observer": lambda pair, name: _observed(pair).callRemote(name),
    "call_observers": lambda pair, name: pb.call_observers([_observed(pair)], name),
    "service": lambda pair, name: _service(pair).callRemote(name),
    "local": lambda pair, name: Root().callRemote(name),
    "local as remote": lambda pair, name: Local().callRemote(name),
    "forwarded": lambda pair, name: LocalAsyncForwarder(Forwarded(), IEcho).callRemote(
        name
    ),
}


@pytest.mark.parametrize("name", [5, None, Root().remote_doc, ["echo"]])
@pytest.mark.parametrize("call", MISTAKES.values(), ids=MISTAKES)
def test_name_that_is_no_text_is_refused(
    call: Callable[[Pair, Any], Any], name: Any
) -> None:
    with connected(Root()) as pair:
        with pytest.raises(TypeError, match="the name of a method is text, not "):
            call(pair, name)
        assert pair.client_transport.written == []
        assert not pair.client.waitingForAnswers


def test_name_as_bytes() -> None:
    class Text(str):
        __slots__ = ()

    with connected(Root()) as pair:
        for name in (b"echo", Text("echo")):
            for callee in (root_of(pair), Root()):
                assert result_of(callee.callRemote(name, a=1), pair) == {"a": 1}
