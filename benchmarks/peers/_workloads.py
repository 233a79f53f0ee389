"""This module runs workloads between a client and a server, the same for every system.

A peer's module ends with ``main(Peer)``. ``server`` on its command line starts the
server, which prints its address; ``client`` connects to it, does workloads, and prints
a row for each. `benchmarks.rpc` starts both.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import resource
import statistics
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Final

from benchmarks import _machine

from ._styles import Peer, settled

__all__ = ["WORKLOADS", "Workload", "document", "main"]

_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class Workload:
    """What a client does.

    Args:
        name: As the tables have it.
        about: What it is; ``{size}`` stands for the number.
        unit: Of the value.
        more_is_better: Whether the value is a rate, and not a time.
        size: How many of whatever it makes many of; 0 if it goes by time.
        method: The method that is called over and over, if one is.
        depth: How many of those calls are outstanding.
    """

    name: str
    about: str
    unit: str = "calls/s"
    more_is_better: bool = True
    size: int = 0
    method: str = ""
    depth: int = 1

    def title(self, size: float | None) -> str:
        """Return a heading for what was measured.

        Args:
            size: How many there were; None for as many as usual.
        """
        return f"{self.name}: {self.about.format(size=int(size or self.size))}"


WORKLOADS: Final = {
    workload.name: workload
    for workload in [
        Workload("W1", "add(int, int), one call outstanding", method="add"),
        Workload("W2", "add, 100 calls outstanding", method="add", depth=100),
        Workload("W2k", "add, 1,000 calls outstanding", method="add", depth=1000),
        Workload("W3", "echo of a dict, 1 KB, 50 outstanding", method="echo", depth=50),
        Workload(
            "W4", "echo of 512 KiB, 4 outstanding", "MB/s", method="blob", depth=4
        ),
        Workload(
            "W4b", "one argument of {size} MiB", "s", more_is_better=False, size=64
        ),
        Workload(
            "W5",
            "the server calls back an object passed to it, 50 outstanding",
            method="callback",
            depth=50,
        ),
        Workload(
            "W6",
            "{size:,} connections, one call each",
            "connections/s",
            size=2000,
        ),
        Workload(
            "W7",
            "{size:,} references are passed",
            "references/s",
            size=100_000,
        ),
        Workload("W8", "{size:,} observers, each answers", "updates/s", size=500),
        Workload("W8n", "{size:,} observers, unanswered", "updates/s", size=500),
    ]
}

#: How many updates the observers get, and references come in one answer.
_UPDATES: Final = 20
_BATCH: Final = 1000

#: How many connections are being made at a time.
_CONNECTING: Final = 50


def document() -> dict[str, Any]:
    """Return the dict of W3: 20 keys, about 1 KB as JSON."""
    return {
        "id": 918_273_645,
        "kind": 3,
        "copies": 12,
        "shift": -40,
        "length": 524_288,
        "mask": 254,
        "file": "survey-of-the-northern-channel.tif",
        "surveyor": "first.lastname@harbour.example",
        "folder": "/var/lib/surveys/2023/spring/northern-channel/final",
        "type": "image/tiff",
        "remark": "Sounded twice at low water, by two crews and in calm weather. " * 3,
        "quality": 0.96875,
        "north": 53.8671250,
        "east": 8.7035625,
        "final": True,
        "crews": ["anna", "bela", "cora", "dora", "ella", "fine", "gesa", "hela"],
        "depths": [3.5, 4.25, 6.75, 5.5, 9.125, 2.0625, 7.5, 8.875, 1.75, 6.5],
        "marks": list(range(2000, 2016)),
        "office": {"street": "Quay", "city": "Cuxhaven", "zip": "27472", "number": 7},
        "limits": {"tide": 1.5, "wind": 14, "vessels": ["small", "middle", "large"]},
    }


class _Client:
    """Does workloads on a server.

    Args:
        peer: The client's end.
        server: The id of the server's process.
        address: Where it is.
        seconds: How long to measure what goes by time.
        calls: Measure so many calls instead, if not 0.
        scale: By how much to shrink what has a size.
    """

    def __init__(
        self,
        peer: Peer,
        server: int,
        address: str,
        seconds: float,
        calls: int,
        scale: float,
    ) -> None:
        self.peer = peer
        self.server = server
        self.address = address
        self.seconds = seconds
        self.calls = calls
        self.scale = scale

    async def run(self, workload: Workload) -> dict[str, Any]:
        """Do a workload and return what it measured."""
        if workload.method:
            return await self._rate(workload)
        size = max(1, int(workload.size * self.scale))
        special: dict[str, Callable[[int], Awaitable[dict[str, Any]]]] = {
            "W4b": self._large_argument,
            "W6": self._connections,
            "W7": self._references,
            "W8": partial(self._observers, answered=True),
            "W8n": partial(self._observers, answered=False),
        }
        return await special[workload.name](size)

    async def _connect(self) -> Any:
        return await settled(self.peer.connect(self.address))

    def _meter(self) -> _machine.Meter:
        return _machine.Meter(self.server)

    def _until(self, share: float) -> Callable[[], bool]:
        """Return what says that there is more to do, for a share of the time."""
        if self.calls:
            return _times(max(1, int(self.calls * share)))
        end = perf_counter() + self.seconds * share
        return lambda: perf_counter() < end

    async def _keep(
        self,
        call: Callable[[], Any],
        depth: int,
        more: Callable[[], bool],
        latencies: list[float] | None = None,
    ) -> int:
        made: int = await settled(self.peer.keep(call, depth, more, latencies))
        return made

    async def _rate(self, workload: Workload) -> dict[str, Any]:
        """Call one method over and over."""
        connection = await self._connect()
        method, depth = workload.method, workload.depth
        args: tuple[Any, ...] = ()
        expected: Any = 1
        if method == "add":
            args, expected = (2, 40), 42
        elif method == "echo":
            args = (document(),)
            # A system may give its own form of it, which equals no dict.
            expected = args[0]
        elif method == "blob":
            expected = random.Random(4).randbytes(_MIB // 2)
            args = (expected,)
        answer = await settled(getattr(connection, method)(*args))
        if type(answer) is type(expected) and answer != expected:
            raise ValueError(f"{method} gave a wrong answer")
        call: Callable[[], Any] = partial(getattr(connection, method), *args)
        if depth > 1:
            call = self.peer.caller(connection, method, args)
        await self._keep(call, depth, self._until(0.25))
        latencies: list[float] | None = [] if depth == 1 else None
        with self._meter() as meter:
            made = await self._keep(call, depth, self._until(1), latencies)
        row = {
            "value": made / meter.seconds,
            "noise": meter.noise,
            "client CPU µs": meter.own / made * 1e6,
            "server CPU µs": meter.others / made * 1e6,
        }
        if method == "blob":
            row["value"] *= len(expected) / 1e6
        if latencies is not None and len(latencies) > 1:
            cuts = statistics.quantiles(latencies, n=100, method="inclusive")
            row["p50 µs"], row["p99 µs"] = cuts[49] * 1e6, cuts[98] * 1e6
        return row

    async def _large_argument(self, size: int) -> dict[str, Any]:
        """Send one argument of so many MiB."""
        connection = await self._connect()
        await settled(connection.sink(b"a small one first"))
        data = random.Random(6).randbytes(size * _MIB)
        server, client = self._residents()
        with self._meter() as meter:
            answer = await settled(connection.sink(data))
        if answer != len(data):
            raise ValueError("the server received another number of bytes")
        return {
            "value": meter.seconds,
            "noise": meter.noise,
            "size": size,
            "server peak MiB": (_machine.peak_bytes(self.server) - server) / _MIB,
            "client peak MiB": (_machine.peak_bytes() - client) / _MIB,
        }

    async def _connections(self, size: int) -> dict[str, Any]:
        """Make many connections, with a call on each."""
        size = min(size, self.peer.most_connections)
        warm = max(1, size // 4)
        connections: list[Any] = []

        def then(connection: Any) -> Any:
            connections.append(connection)
            return connection.add(1, 1)

        join = self.peer.joiner(self.address, then)
        # What was freed since the start is filled first, so that growth is counted.
        await self._keep(join, _CONNECTING, _times(warm))
        server, client = self._residents()
        with self._meter() as meter:
            await self._keep(join, _CONNECTING, _times(size))
        # Each has been answered, so the server's ends are complete.
        server_after, client_after = self._residents()
        for connection in (connections[0], connections[-1]):
            if await settled(connection.add(1, 1)) != 2:
                raise ValueError("a connection gave a wrong answer")
        return {
            "value": size / meter.seconds,
            "noise": meter.noise,
            "size": size,
            "server KiB each": (server_after - server) / size / 1024,
            "client KiB each": (client_after - client) / size / 1024,
            "server CPU µs each": meter.others / size * 1e6,
            "client CPU µs each": meter.own / size * 1e6,
        }

    async def _references(self, size: int) -> dict[str, Any]:
        """Have many references passed, and keep them."""
        connection = await self._connect()
        batch = min(_BATCH, size)
        held = [await settled(connection.references(batch))]
        gc.collect()
        server, client = self._residents()
        with self._meter() as meter:
            for _ in range(size // batch):
                held.append(await settled(connection.references(batch)))
        server_after, client_after = self._residents()
        size = size // batch * batch
        if sum(map(len, held)) != size + batch:
            raise ValueError("another number of references came")
        if await settled(connection.poke(held[-1][-1])) != 1:
            raise ValueError("a reference gave a wrong answer")
        return {
            "value": size / meter.seconds,
            "noise": meter.noise,
            "size": size,
            "server B each": (server_after - server) / size,
            "client B each": (client_after - client) / size,
            "server CPU µs each": meter.others / size * 1e6,
            "client CPU µs each": meter.own / size * 1e6,
        }

    async def _observers(self, size: int, *, answered: bool) -> dict[str, Any]:
        """Have an object changed that many connections observe."""
        connections = []
        for _ in range(size):
            connections.append(await self._connect())
            await settled(connections[-1].observe())
        await settled(connections[0].update(2, answered))
        with self._meter() as meter:
            await settled(connections[0].update(_UPDATES, answered))
        if {each.observed() for each in connections} != {2 + _UPDATES}:
            raise ValueError("an observer has not seen every update")
        updates = size * _UPDATES
        return {
            "value": updates / meter.seconds,
            "noise": meter.noise,
            "size": size,
            "server CPU µs each": meter.others / updates * 1e6,
            "client CPU µs each": meter.own / updates * 1e6,
        }

    def _residents(self) -> tuple[int, int]:
        return _machine.resident_bytes(self.server), _machine.resident_bytes()


def _times(count: int) -> Callable[[], bool]:
    """Return what says a number of times that there is more to do."""
    left = iter(range(count))
    return lambda: next(left, None) is not None


def main(kind: type[Peer]) -> None:
    """Be one end of a system, as the command line says.

    Args:
        kind: The system.
    """
    parser = argparse.ArgumentParser(description="One end of an RPC system.")
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--variant", default="")
    parser.add_argument("--address", default="", help="what the server printed")
    parser.add_argument("--server", type=int, default=0, help="the server's process")
    parser.add_argument("--works", default="W1")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0)
    chosen = parser.parse_args()
    peer = kind(chosen.variant)

    async def serve() -> None:
        print(await settled(peer.serve()), flush=True)

    async def measure() -> None:
        client = _Client(
            peer,
            chosen.server,
            chosen.address,
            chosen.seconds,
            chosen.calls,
            chosen.scale,
        )
        for name in chosen.works.split(","):
            try:
                row = await client.run(WORKLOADS[name])
            except Exception as error:
                row = {"error": f"{type(error).__name__}: {error}"[:200]}
            print(json.dumps({"work": name, **row}), flush=True)

    _allow_many_files()
    serving = chosen.role == "server"
    peer.run(serve if serving else measure, forever=serving)
    sys.stdout.flush()
    # Not even a garbage collection: some have thousands of connections to take down.
    os._exit(0)


def _allow_many_files() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
