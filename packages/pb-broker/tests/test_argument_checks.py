"""Mistakes in the arguments of the public entry points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.task import Clock

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio
from pb_broker._endpoints.argument_checks import client_endpoint, server_endpoint

from .support import Echo, connected, root_of


async def coroutine() -> Any:
    """Stand for a coroutine passed in place of its result."""


def unawaited(use: Callable[[Any], object]) -> None:
    """Use a coroutine that is never awaited."""
    value = coroutine()
    try:
        use(value)
    finally:
        value.close()


@pytest.mark.parametrize(
    "serve",
    [
        pb.PBServerFactory,
        lambda root: pb.serve("tcp:0", root),
        lambda root: pb_asyncio.serve("tcp:0", root),
    ],
    ids=["factory", "twisted", "asyncio"],
)
def test_error_names_an_object_that_is_no_root(serve: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"the class Echo and not .*: Echo\(\)"):
        serve(Echo)
    with pytest.raises(TypeError, match=r"what is served is a Root object.*not a dict"):
        serve({})
    with pytest.raises(TypeError, match=r"the function coroutine: call it"):
        serve(coroutine)
    with pytest.raises(TypeError, match=r"a coroutine: await it first"):
        unawaited(serve)
    with pytest.raises(TypeError, match="not a PBClientFactory"):
        serve(pb.PBClientFactory())


@pytest.mark.parametrize(
    "client",
    [
        lambda factory: pb.client("tcp:localhost:1", factory=factory),
        lambda factory: pb_asyncio.client("tcp:localhost:1", factory=factory),
        lambda factory: pb_asyncio.reconnecting("tcp:localhost:1", factory=factory),
        lambda factory: pb.PBClientService(
            TCP4ClientEndpoint(Clock(), "localhost", 1), factory
        ),
    ],
    ids=["twisted", "asyncio", "reconnecting", "service"],
)
def test_error_names_a_factory_of_the_wrong_kind(
    client: Callable[[Any], object],
) -> None:
    with pytest.raises(TypeError, match="not a PBServerFactory"):
        client(pb.PBServerFactory(Echo()))
    with pytest.raises(TypeError, match="the class PBClientFactory and not an inst"):
        client(pb.PBClientFactory)
    with pytest.raises(TypeError, match="a client's factory is a PBClientFactory"):
        client(Echo())


@pytest.mark.parametrize(
    ("description", "why"),
    [
        ("localhost:18721", "Unknown endpoint type: 'localhost'"),
        ("", "''"),
        ("tcp:localhost", "port"),
        ("tcp:localhost:http service", "http service"),
        ("tls:localhost", "argument"),
        ("tcp:host=a:nosuch=b:port=1", "nosuch"),
        ("x\n\x1b[31m:1", r"x\\n\\x1b\[31m"),
    ],
)
def test_malformed_description_of_an_endpoint_is_refused(
    description: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        client_endpoint(description, Clock)
    assert "does not describe an endpoint" in str(raised.value)
    assert '(one is "tls:example.org:8787")' in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=r"\(one is \"ssl:8787:privateKey="):
        server_endpoint("http", Clock)


@pytest.mark.parametrize(
    "wrong", [5, None, ("localhost", 1), Echo(), TCP4ClientEndpoint]
)
def test_object_that_is_no_endpoint_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="an endpoint is a description such as"):
        client_endpoint(wrong, Clock)
    with pytest.raises(TypeError, match="or an IStreamServerEndpoint"):
        server_endpoint(wrong, Clock)


def test_endpoint_of_the_wrong_end_is_refused() -> None:
    with pytest.raises(TypeError, match="not a TCP4ClientEndpoint"):
        server_endpoint(TCP4ClientEndpoint(Clock(), "localhost", 1), Clock)


def test_missing_trust_roots_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for directory, why in (
        (tmp_path / "none", "does not exist"),
        (file, "is a file"),
        (tmp_path, "has no file"),
    ):
        with pytest.raises(ValueError, match=f"trustRoots .* {why}"):
            client_endpoint(f"tls:localhost:1:trustRoots={directory}", Clock)


def test_service_refuses_a_description() -> None:
    with pytest.raises(TypeError, match="clientFromString"):
        pb.PBClientService("tcp:localhost:1", pb.PBClientFactory())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "connect", [pb_asyncio.connect, pb_asyncio.reconnecting, pb_asyncio.serve]
)
def test_places_of_asyncio_in_the_old_order(connect: Any) -> None:
    root = [Echo()] if connect is pb_asyncio.serve else []
    with pytest.raises(ValueError, match="describes an endpoint"):
        connect(*root, "tls:localhost", 8787)
    with pytest.raises(TypeError, match="a port is a number, not a float"):
        connect(*root, "localhost", 1.5)
    with pytest.raises(TypeError, match="is one argument"):
        connect(*root, "localhost", 1, 2)
    for place in (["localhost", 1], ["localhost"]) if root else (["localhost", 1],):
        with pytest.warns(DeprecationWarning, match="describe an endpoint") as warned:
            connect(*root, *place)
        assert warned[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="describe an endpoint"):
        connect(*root, path="/nowhere")


@pytest.mark.parametrize(
    "connect", [pb_asyncio.client, pb_asyncio.connect, pb_asyncio.reconnecting]
)
def test_place_to_connect_to_on_asyncio(connect: Any) -> None:
    connect("tcp:localhost:1")
    connect(where="tcp:localhost:1", family=2)
    connect(sock=object())
    with pytest.raises(TypeError, match="an endpoint is a description"):
        connect(8787)
    with pytest.raises(ValueError, match="there is no prefix 'localhost'"):
        connect("localhost")
    with pytest.raises(TypeError, match="TCP4ClientEndpoint needs Twisted's reactor"):
        connect(TCP4ClientEndpoint(Clock(), "localhost", 1))


def test_place_to_listen_on_asyncio() -> None:
    pb_asyncio.serve("tcp:0", Echo())
    pb_asyncio.serve(where="tcp:0", root=Echo())
    pb_asyncio.serve(None, Echo(), sock=object())
    with pytest.raises(TypeError, match="where to listen, and a root object"):
        pb_asyncio.serve("tcp:0")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="where to listen, and a root object"):
        pb_asyncio.serve("tcp:0", Echo(), 0)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="TCP4ServerEndpoint needs Twisted's reactor"):
        pb_asyncio.serve(TCP4ServerEndpoint(Clock(), 0), Echo())
    with pytest.warns(DeprecationWarning, match="describe an endpoint"):
        pb_asyncio.serve(root=Echo(), host="localhost", port=0)


@pytest.mark.parametrize(
    "use",
    [
        lambda **options: pb.client("tcp:localhost:1", **options),
        lambda **options: pb.reconnecting("tcp:localhost:1", **options),
        lambda **options: pb.serve("tcp:0", Echo(), **options),
        lambda **options: pb_asyncio.client("tcp:localhost:1", **options),
        lambda **options: pb_asyncio.connect("tcp:localhost:1", **options),
        lambda **options: pb_asyncio.reconnecting("tcp:localhost:1", **options),
        lambda **options: pb_asyncio.serve("tcp:0", Echo(), **options),
    ],
)
def test_options_of_the_wrong_type_at_entry_points_are_refused(use: Any) -> None:
    use(call_timeout=3, security=None, unsafeTracebacks=True)
    with pytest.raises(TypeError, match="'timeout'"):
        use(timeout=3)
    with pytest.raises(TypeError, match="call_timeout is a number of seconds"):
        use(call_timeout="3")
    with pytest.raises(TypeError, match=r"options of PB\w+Factory are"):
        use(options=3)


def test_options_besides_a_factory_are_refused() -> None:
    for options in ({"call_timeout": 3}, {"options": pb.ClientOptions()}):
        given: Any = options
        with pytest.raises(TypeError, match="a factory is given"):
            pb.client("tcp:localhost:1", factory=pb.PBClientFactory(), **given)
    with pytest.raises(TypeError, match="call_timeout: a factory is given"):
        pb.serve("tcp:0", pb.PBServerFactory(Echo()), call_timeout=3)


def test_old_name_of_an_argument_is_deprecated() -> None:
    client: Any = pb.client
    with pytest.warns(DeprecationWarning, match=r"client\(endpoint=...\)"):
        assert client(endpoint="tcp:localhost:1")._where == "tcp:localhost:1"


@pytest.mark.parametrize(
    "make",
    [pb.PBClientFactory, lambda **options: pb.PBServerFactory(Echo(), **options)],
)
def test_options_of_the_wrong_type_at_factories_are_refused(make: Any) -> None:
    for options, why in (
        ({"limits": 5}, "limits is a BrokerLimits, not a int"),
        ({"call_timeout": "5"}, "call_timeout is a number of seconds, not a str"),
        ({"call_timeout": True}, "not a bool"),
        ({"handshake_timeout": [5]}, "handshake_timeout is a number of seconds"),
        ({"heartbeat": 30}, r"a heartbeat is True or Heartbeat\(idle, answer\)"),
    ):
        with pytest.raises(TypeError, match=why):
            make(**options)
    for seconds in -1, float("nan"):
        with pytest.raises(ValueError, match="call_timeout is a number of seconds"):
            make(call_timeout=seconds)


@pytest.mark.parametrize("name", [5, None, Echo.remote_echo])
def test_name_that_is_no_text_is_refused(name: Any) -> None:
    with connected() as pair:
        root = root_of(pair)
        with pytest.raises(TypeError, match="the name of a method is text, not "):
            root.callRemote(name)
        with pytest.raises(TypeError, match="the name of a method is text, not "):
            root.with_timeout(5).callRemote(name)
        with pytest.raises(TypeError, match="the name of a method is text, not "):
            pb.call_observers([root], name)


def test_awaiting_a_context_manager_is_refused() -> None:
    for use in pb.client("tcp:localhost:1"), pb.serve("tcp:0", Echo()):
        with pytest.raises(TypeError, match="is used with `async with`"):
            use.__await__()
