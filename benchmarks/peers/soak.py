"""This module is a server and a client that talk for long, to see what stays behind.

``server`` prints its port. ``client`` does everything that leaves something to be
tidied up: references both ways, caches, failures, calls that are cancelled or late,
connections that are closed or cut. From time to time it stops, when both ends have
nothing to keep, and both say what they have. It prints that, one line for each time.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections import Counter
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

from twisted.internet import reactor as _module
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import globalLogBeginner

from benchmarks import _machine
from pb_cred import pb

from ._styles import HOST

__all__ = ["main"]

reactor: Any = _module

_SHARED: Final = "benchmark.soak.Shared"

#: How often there is each kind of call on one connection, and how many together.
_ROUNDS: Final = 20
_BATCH: Final = 50

#: How many references and caches are held at once.
_HELD: Final = 20

#: How many seconds a call has that is to be late.
_LATE: Final = 0.001

#: What tables a broker has, by the names that are published of them.
_TABLES: Final = (
    "waitingForAnswers",
    "remotelyCachedObjects",
    "locallyCachedObjects",
    "luids",
)


class _Shared(pb.Cacheable):
    def __init__(self) -> None:
        self.observers: list[Any] = []

    def getTypeToCopy(self) -> str:
        return _SHARED

    def getStateToCacheAndObserveFor(self, perspective: Any, observer: Any) -> Any:
        self.observers.append(observer)
        return {"seen": 0}

    def stoppedObserving(self, perspective: Any, observer: Any) -> None:
        self.observers.remove(observer)


class _Seen(pb.RemoteCache):
    def observe_show(self, number: int) -> None:
        self.seen = number


pb.setUnjellyableForClass(_SHARED, _Seen)


class _Item(pb.Referenceable):
    def remote_poke(self, value: Any) -> Any:
        return value


class _Root(pb.Root):
    def __init__(self, brokers: list[Any]) -> None:
        self._brokers = brokers

    def remote_echo(self, value: Any) -> Any:
        return value

    def remote_items(self, count: int) -> list[_Item]:
        return [_Item() for _ in range(count)]

    def remote_ask(self, item: Any) -> Any:
        return item.callRemote("poke", 1)

    def remote_shared(self, count: int) -> list[_Shared]:
        made = [_Shared() for _ in range(count)]
        for each in made:
            reactor.callLater(0, self._show, each)
        return made

    def _show(self, shared: _Shared) -> None:
        for call in pb.call_observers(shared.observers, "show", 1):
            pb.as_deferred(call).addErrback(lambda _: None)

    def remote_raise(self) -> None:
        raise ValueError("on purpose")

    def remote_later(self, seconds: float) -> Any:
        return deferLater(reactor, seconds, lambda: None)

    def remote_wait(self) -> Deferred[Any]:
        return Deferred()

    def remote_state(self) -> Any:
        return _state(self._brokers)


def _tables_of(brokers: list[Any]) -> int:
    """Return how much there is in the tables of connections that have nothing to do."""
    kept = 0
    for broker in brokers:
        kept += sum(len(getattr(broker, table)) for table in _TABLES)
        kept += broker.session.imports.count + len(broker.session.releases.queue)
    return kept


def _state(brokers: list[Any]) -> dict[str, Any]:
    """Return what this process has, as far as it is of interest."""
    for _ in range(3):
        gc.collect()
    types = Counter(
        f"{type(each).__module__}.{type(each).__qualname__}"
        for each in gc.get_objects()
    )
    return {
        "resident": _machine.resident_bytes(),
        "tables": _tables_of(brokers),
        "connections": len(brokers),
        "timers": len(reactor.getDelayedCalls()),
        "types": dict(types),
    }


class _Server(pb.PBServerFactory):
    """Knows the connections that it has."""

    def __init__(self) -> None:
        self.brokers: list[Any] = []
        super().__init__(_Root(self.brokers))

    def clientConnectionMade(self, protocol: Any) -> None:
        """Note a connection, for as long as there is one."""
        self.brokers.append(protocol)
        protocol.notifyOnDisconnect(lambda: self.brokers.remove(protocol))
        super().clientConnectionMade(protocol)


class _Client:
    """Makes all kinds of calls.

    Args:
        port: Of the server.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.calls = 0
        self.connections = 0

    async def connect(self) -> Any:
        """Connect anew, and return the server's root object."""
        factory = pb.PBClientFactory(call_timeout=30)
        reactor.connectTCP(HOST, self._port, factory)
        root = await factory.getRootObject()
        self.connections += 1
        return root

    async def round(self, number: int) -> None:
        """Make a connection, many calls, and an end in one way or another."""
        root = await self.connect()
        gone: Deferred[None] = Deferred()
        root.broker.notifyOnDisconnect(lambda: gone.callback(None))
        for _ in range(_ROUNDS):
            await self._batch(root)
        await self._special(root)
        if number % 3 == 0:
            # With calls under way.
            waiting = [root.callRemote("wait") for _ in range(_BATCH)]
            self.calls += _BATCH
            reactor.callLater(0, root.broker.transport.abortConnection)
            for call in waiting:
                with suppress(pb.PBConnectionLost):
                    await call
        else:
            root.broker.transport.loseConnection()
        await gone

    async def _batch(self, root: Any) -> None:
        self.calls += 4 * _BATCH
        value = {"a": [1, 2.5, "three"], "b": (None, True)}
        call = root.callRemote
        wanted = [call("echo", value) for _ in range(2 * _BATCH)]
        wanted += [call("ask", _Item()) for _ in range(_BATCH)]
        wanted += [
            call("raise").addErrback(lambda failure: failure.trap(ValueError))
            for _ in range(_BATCH)
        ]
        await gatherResults(wanted)

    async def _special(self, root: Any) -> None:
        items = await root.callRemote("items", _HELD)
        for item in items:
            await item.callRemote("poke", 1)
        shared = await root.callRemote("shared", _HELD)
        self.calls += len(items) + len(shared) + 2
        calls = [root.callRemote("later", 0.01) for _ in range(_BATCH)]
        for call in calls:
            pb.as_deferred(call).addErrback(lambda _: None)
            call.cancel()
        quick = root.with_timeout(_LATE)
        late = [quick.callRemote("later", 0.01) for _ in range(_BATCH)]
        self.calls += 2 * _BATCH
        for call in late:
            with suppress(pb.CallTimeout):
                await call

    async def state(self) -> dict[str, Any]:
        """Return what both ends have, while nothing is under way."""
        await deferLater(reactor, 0.2, lambda: None)
        root = await self.connect()
        server = await root.callRemote("state")
        client = _state([])
        client["tables"] = _tables_of([root.broker])
        gone: Deferred[None] = Deferred()
        root.broker.notifyOnDisconnect(lambda: gone.callback(None))
        root.broker.transport.loseConnection()
        await gone
        return {"client": client, "server": server}


async def _work(port: int, seconds: float, stops: int) -> None:
    client = _Client(port)
    begun = perf_counter()
    number = 0
    for stop in range(stops + 1):
        end = begun + seconds * stop / stops
        # At least one, and before the first stop one of each kind.
        least = max(3, number + 1)
        while number < least or perf_counter() < end:
            await client.round(number)
            number += 1
        found = await client.state()
        found |= {
            "calls": client.calls,
            "connections": client.connections,
            "seconds": perf_counter() - begun,
        }
        print(json.dumps(found), flush=True)


def main() -> None:
    """Be one of the two, as the command line says."""
    parser = argparse.ArgumentParser(description="One end of a long conversation.")
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--stops", type=int, default=10)
    chosen = parser.parse_args()
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    failures: list[Any] = []

    def ended(result: Any) -> None:
        if result is not None:
            failures.append(result)
        reactor.stop()

    def begin() -> None:
        work = _work(chosen.port, chosen.seconds, chosen.stops)
        Deferred.fromCoroutine(work).addBoth(ended)

    if chosen.role == "server":
        port = reactor.listenTCP(0, _Server(), interface=HOST)
        print(port.getHost().port, flush=True)
    else:
        reactor.callWhenRunning(begin)
    reactor.run()
    for failure in failures:
        failure.raiseException()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
