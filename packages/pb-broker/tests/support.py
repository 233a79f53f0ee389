"""Objects that several tests send about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

import pb_broker as pb
from pb_broker.testing import Pair, connected_pair


class Echo(pb.Root):
    """Root object that returns its argument, or keeps it."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.child = Child()
        self.waiting: list[Deferred[Any]] = []

    def remote_echo(self, *args: Any, **kw: Any) -> Any:
        return (args, kw) if kw else args

    def remote_keep(self, thing: Any) -> None:
        self.kept.append(thing)

    def remote_lookup(self, key: str) -> Any:
        none: dict[str, Any] = {}
        return none[key]

    def remote_child(self) -> Any:
        return self.child

    def remote_wait(self) -> Deferred[Any]:
        waiting: Deferred[Any] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def remote_raise(self, kind: str) -> None:
        raise {"pb": pb.Error, "value": ValueError}[kind](f"a {kind} error")

    async def remote_call_back(self, other: Any, *args: Any) -> Any:
        return await other.callRemote("called_back", *args)

    def remote_unsendable(self) -> Any:
        return [0, {"x": object()}]


class Child(pb.Referenceable):
    """An object to refer to."""

    def remote_called_back(self, *args: Any) -> Any:
        return ["got", *args]


def result_of(call: pb.Answer[Any], pair: Pair) -> Any:
    """Return the answer of a call, or raise its failure."""
    got: list[Any] = []
    pb.as_deferred(call).addBoth(got.append)
    pair.flush()
    assert got, "it did not answer"
    if isinstance(got[0], Failure):
        got[0].raiseException()
    return got[0]


def failure_of(call: pb.Answer[Any], pair: Pair) -> Any:
    """Return the Failure that a call ends with."""
    got: list[Any] = []
    pb.as_deferred(call).addBoth(got.append)
    pair.flush()
    assert got, "it did not answer"
    assert isinstance(got[0], Failure), f"it answered {got[0]!r}"
    return got[0]


def outcome(call: pb.Answer[Any]) -> list[Any]:
    """Return a list that gets the answer of a call, or its exception."""
    ends: list[Any] = []
    pb.as_deferred(call).addCallbacks(
        ends.append, lambda failure: ends.append(failure.value)
    )
    return ends


async def listed(stream: Any) -> list[Any]:
    """Return the items of a stream, when it has ended."""
    return [item async for item in stream]


def all_of(stream: Any, pair: Pair) -> Any:
    """Return the items of a stream, or raise its failure."""
    return result_of(ensureDeferred(listed(stream)), pair)


def root_of(pair: Pair) -> Any:
    """Return the client's reference to the server's root object."""
    return pair.client.remoteForName("root")


@contextmanager
def connected(root: Any = None, **factories: Any) -> Iterator[Pair]:
    """Connect two brokers for as long as a test needs them."""
    pair = connected_pair(Echo() if root is None else root, **factories)
    try:
        yield pair
    finally:
        pair.close()


@contextmanager
def speaking(
    root: Any = None,
    server: Sequence[str] | None = ("pb2",),
    client: Sequence[str] = ("pb2",),
    **options: Any,
) -> Iterator[Pair]:
    """Connect two brokers that speak given dialects, for as long as a test needs them.

    Args:
        root: The server's root object; None for an `Echo`.
        server: The dialects that the server offers; None for the default ones.
        client: The dialects that the client takes.
        **options: Further options of the server.
    """
    factory = pb.PBServerFactory(root or Echo(), dialects=server, **options)
    with connected(
        server_factory=factory, client_factory=pb.PBClientFactory(dialects=client)
    ) as pair:
        yield pair


@contextmanager
def logged() -> Iterator[list[LogEvent]]:
    """Collect the events that are logged meanwhile."""
    events: list[LogEvent] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(observer)
