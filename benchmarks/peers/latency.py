"""This module is a server, and a client that makes small calls beside a large one.

``server`` prints its port. ``client`` makes small calls while nothing else goes on, and
then while one large argument is on its way to another object; it prints how long they
took. Each is a process of its own, which `benchmarks.latency` starts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Any, Final

from twisted.internet.defer import Deferred

import pb_broker as pb
from pb_banana import Limits
from pb_broker import asyncio as pb_asyncio

from ._styles import HOST

__all__ = ["LOOPS", "WORKS", "main"]

LOOPS: Final = ("twisted", "asyncio", "uvloop")

#: The large arguments: bytes, and objects that have to be written and read one by one.
WORKS: Final = ("bytes", "nodes")

#: Calls before the large one.
_IDLE: Final = 2_000
#: Seconds between two small calls.
_PAUSE: Final = 0.0002

_BYTES: Final = 2**30
_LIMITS: Final = pb.BrokerLimits(
    wire=Limits(
        message_bytes=_BYTES, string_bytes=_BYTES, list_items=2**24, nodes=2**26
    ),
    output_bytes=_BYTES,
)


class _Small(pb.Referenceable):
    def remote_ping(self) -> int:
        return 1


class _Root(pb.Root):
    def remote_small(self) -> _Small:
        return _Small()

    def remote_large(self, value: Any) -> int:
        return len(value)


def _large(work: str, size: int) -> Any:
    """Return a large argument.

    Args:
        work: One of `WORKS`.
        size: Its bytes, or its nodes.
    """
    if work == "bytes":
        return b"0123456789abcdef" * (size // 16)
    return [[number, "text", None, True] for number in range(size // 5)]


def _milliseconds(times: list[float], prefix: str = "") -> dict[str, float]:
    """Return the figures of some times."""
    ordered = sorted(times)
    return {
        f"{prefix}p50": 1000 * ordered[len(ordered) // 2],
        f"{prefix}p99": 1000 * ordered[int(len(ordered) * 0.99)],
        f"{prefix}max": 1000 * ordered[-1],
    }


async def _measure(
    root: Any,
    work: str,
    size: int,
    pause: Callable[[], Any],
    start: Callable[[Coroutine[Any, Any, None]], object],
) -> dict[str, Any]:
    """Call, first beside nothing and then beside a large call; return the figures.

    Args:
        root: A reference to the server's root object.
        work: The large argument, one of `WORKS`.
        size: Its bytes, or its nodes.
        pause: Returns an awaitable that ends after a short while.
        start: Runs a coroutine beside this one.
    """
    small = await root.callRemote("small")

    async def call() -> float:
        begun = perf_counter()
        await small.callRemote("ping")
        took = perf_counter() - begun
        await pause()
        return took

    idle = [await call() for _ in range(_IDLE)]
    # Kept to the end, as by most programs: freeing it would count as a delay.
    value = _large(work, size)
    ended: list[Any] = []

    async def call_with_large() -> None:
        try:
            ended.append(await root.callRemote("large", value))
        except pb.Error as error:
            ended.append(error)

    begun = perf_counter()
    # Without it the loop would drop the task.
    task = start(call_with_large())
    beside = [perf_counter() - begun]
    while not ended:
        beside.append(await call())
    seconds = perf_counter() - begun
    # The server gives the memory of the large argument back.
    beside += [await call() for _ in range(20)]
    del task
    if not isinstance(ended[0], int):
        raise SystemExit(f"the large call has failed: {ended[0]}")
    return {
        "value": _milliseconds(beside)["p99"],
        **_milliseconds(beside),
        **_milliseconds(idle, "idle "),
        "calls": len(beside),
        "seconds": seconds,
    }


async def _serve_asyncio(dialects: tuple[str, ...]) -> None:
    place = f"tcp:0:interface={HOST}"
    async with pb_asyncio.serve(
        place, _Root(), limits=_LIMITS, dialects=dialects
    ) as server:
        print(server.port, flush=True)
        await asyncio.Event().wait()


async def _call_asyncio(
    port: int, dialects: tuple[str, ...], work: str, size: int
) -> None:
    async with pb_asyncio.client(
        f"tcp:{HOST}:{port}", limits=_LIMITS, dialects=dialects
    ) as root:
        pause = partial(asyncio.sleep, _PAUSE)
        row = await _measure(root, work, size, pause, asyncio.ensure_future)
    print(json.dumps(row), flush=True)


def _run_asyncio(loop: str, work: Coroutine[Any, Any, None]) -> None:
    if loop == "uvloop":
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


def _run_twisted(chosen: argparse.Namespace, dialects: tuple[str, ...]) -> None:
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    running: Any = reactor
    if chosen.role == "server":
        factory = pb.PBServerFactory(_Root(), limits=_LIMITS, dialects=dialects)
        port = running.listenTCP(0, factory, interface=HOST)
        print(port.getHost().port, flush=True)
        running.run()
        return

    async def call() -> None:
        factory = pb.PBClientFactory(limits=_LIMITS, dialects=dialects)
        running.connectTCP(HOST, chosen.port, factory)
        root = await factory.getRootObject()
        pause = partial(deferLater, running, _PAUSE, lambda: None)
        start = Deferred.fromCoroutine
        row = await _measure(root, chosen.work, chosen.size, pause, start)
        print(json.dumps(row), flush=True)

    Deferred.fromCoroutine(call()).addErrback(
        lambda failure: failure.printTraceback(sys.stderr)
    ).addBoth(lambda _: running.stop())
    running.run()


def main() -> None:
    """Run one of the two ends as the command line says."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers.latency")
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--loop", choices=LOOPS, default="twisted")
    parser.add_argument("--dialect", default="pb2")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--work", choices=WORKS, default="bytes")
    parser.add_argument("--size", type=int, default=2**20)
    chosen = parser.parse_args()
    dialects = (chosen.dialect,)
    if chosen.loop == "twisted":
        _run_twisted(chosen, dialects)
    elif chosen.role == "server":
        _run_asyncio(chosen.loop, _serve_asyncio(dialects))
    else:
        _run_asyncio(
            chosen.loop, _call_asyncio(chosen.port, dialects, chosen.work, chosen.size)
        )


if __name__ == "__main__":
    main()
