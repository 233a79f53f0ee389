"""This module is a server that users log in to, those users, and those who guess.

``server`` prints its port; told ``watch`` it begins to note how long its event loop
lets what is due wait, and told ``tell`` it prints that. ``attacker`` tries wrong
passwords from many addresses. ``honest`` calls and logs in again and again until it is
told to stop. ``crowd`` connects many times, and logs in many times when it is told to.
``cost`` is both ends in one process. Each is a process of its own, which
`benchmarks.logins` starts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import Any, Final

from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import globalLogBeginner, textFileLogObserver

from pb_cred import asyncio as pb_asyncio
from pb_cred import pb
from pb_cred._mechanisms.scram.key_cache import CLIENT_KEYS
from pb_cred.tickets import request_ticket

from . import _login_ends as ends
from ._styles import HOST

__all__ = ["LOOPS", "main"]

LOOPS: Final = ("twisted", "asyncio", "uvloop")

#: Seconds between two calls of an honest client, and between two logins.
_PAUSE: Final = 0.002
_BETWEEN_LOGINS: Final = 0.02

#: Seconds from one look at the event loop to the next.
_TICK: Final = 0.001

#: After so many refused logins a server ends a connection.
_TRIES: Final = 6


class _Watch:
    """Notes how long an event loop lets what is due wait.

    Args:
        later: Calls a function in the loop, after some seconds.
    """

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._later = later
        self._worst = (0.0, 0.0, 0.0)
        self._ticks = 0
        self._due = 0.0
        self._before = (0.0, 0.0)
        self._scheduled = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")

    def begin(self) -> None:
        """Forget what was noted, and go on."""
        is_new = not self._due
        self._worst, self._ticks = (0.0, 0.0, 0.0), 0
        if is_new:
            self._tick_later()
        print("watching", flush=True)

    def tell(self) -> None:
        """Print the longest wait in milliseconds, and what the loop did meanwhile."""
        late, ran, waited = self._worst
        row = {"longest": late, "ran": ran, "waited": waited, "ticks": self._ticks}
        print(json.dumps(row), flush=True)

    def _times(self) -> tuple[float, float]:
        """Return how long this thread has run, and waited for a processor."""
        waited = int(self._scheduled.read_text("ascii").split()[1])
        return thread_time() * 1000, waited / 1e6

    def _tick_later(self) -> None:
        self._before = self._times()
        self._due = perf_counter() + _TICK
        self._later(_TICK, self._tick)

    def _tick(self) -> None:
        late = (perf_counter() - self._due) * 1000
        self._ticks += 1
        if late > self._worst[0]:
            (ran, waited), (ran_before, waited_before) = self._times(), self._before
            self._worst = (late, ran - ran_before, waited - waited_before)
        self._tick_later()


def _listen(obey: Callable[[Callable[[], object]], object], **orders: Any) -> None:
    """Do what standard input says, in the event loop."""

    def read() -> None:
        for line in sys.stdin:
            obey(orders[line.strip()])

    threading.Thread(target=read, daemon=True).start()


def _keep_log() -> None:
    """Log to nowhere: what that costs is part of what is measured."""
    null = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    globalLogBeginner.beginLoggingTo(
        [textFileLogObserver(null)], redirectStandardIO=False, discardBuffer=True
    )


def _serve(chosen: argparse.Namespace) -> None:
    options: dict[str, Any] = {}
    if not chosen.delays:
        options["login_delays"] = pb.LoginDelays(longest=0)
    if chosen.crowded:
        # Nobody is turned away, however long it takes.
        options |= {"login_backlog": (100_000, 200_000), "login_timeout": 3600}
    factory = ends.server_factory(chosen.folder, chosen.way, **options)
    if chosen.loop != "twisted":
        main = _serve_on_asyncio(chosen.folder, factory)
        if chosen.loop == "uvloop":
            import uvloop

            uvloop.run(main)
        else:
            asyncio.run(main)
        return
    from twisted.internet import reactor as module

    reactor: Any = module
    tls = ends.server_tls(chosen.folder)
    port = reactor.listenSSL(0, factory, tls, backlog=1000, interface=HOST)
    watch = _Watch(reactor.callLater)
    _listen(reactor.callFromThread, watch=watch.begin, tell=watch.tell)
    print(port.getHost().port, flush=True)
    reactor.run()


async def _serve_on_asyncio(folder: Path, factory: pb.PBServerFactory) -> None:
    loop = asyncio.get_running_loop()
    context = ends.server_context(folder)
    serving = pb_asyncio.serve(
        f"tcp:0:interface={HOST}", factory, ssl=context, backlog=1000
    )
    async with serving as server:
        watch = _Watch(loop.call_later)
        _listen(loop.call_soon_threadsafe, watch=watch.begin, tell=watch.tell)
        print(server.port, flush=True)
        await asyncio.Event().wait()


class _Client:
    """One end of many connections, on Twisted's reactor.

    Args:
        chosen: What the command line says.
        reactor: The reactor.
    """

    def __init__(self, chosen: argparse.Namespace, reactor: Any) -> None:
        self.chosen = chosen
        self.reactor = reactor
        self.tls = ends.client_tls(chosen.folder)
        self.credentials = ends.credentials_for(chosen.folder, chosen.way)
        name = ends.MECHANISMS[chosen.way][0]
        self.mechanisms = [name] if name else []
        self.is_told = False

    def connect(self, host: str = HOST) -> pb.PBClientFactory:
        """Begin to connect, from some address."""
        factory = pb.PBClientFactory(
            mechanisms=self.mechanisms, allow_legacy_md5=self.chosen.way == "MD5"
        )
        self.reactor.connectSSL(
            HOST, self.chosen.port, factory, self.tls, bindAddress=(host, 0)
        )
        return factory

    def told(self) -> None:
        """Learn that it is time."""
        self.is_told = True

    def pause(self, seconds: float) -> Deferred[None]:
        """Wait."""
        return deferLater(self.reactor, seconds, lambda: None)

    async def attack(self) -> None:
        """Try wrong passwords, known names and unknown ones in turn."""
        chosen = self.chosen
        counts: Counter[str] = Counter()
        answered: Counter[str] = Counter()
        end = perf_counter() + chosen.seconds

        def is_over() -> bool:
            return counts["begun"] >= int(chosen.tries) or perf_counter() > end

        async def one(host: str) -> None:
            try:
                factory = self.connect(host)
                await factory.getRootObject()
                for _ in range(_TRIES):
                    if is_over():
                        break
                    counts["begun"] += 1
                    known = counts["begun"] % 2
                    name = ends.NAME if known else b"user%d" % counts["begun"]
                    try:
                        await factory.login(UsernamePassword(name, b"wrong"))
                        counts["let in"] += 1
                    except UnauthorizedLogin:
                        counts["refused"] += 1
                        answered[host] += 1
                factory.disconnect()
            except Exception as error:
                counts[type(error).__name__] += 1

        async def on_and_on(number: int) -> None:
            host = f"127.0.0.{2 + number % chosen.hosts}"
            while not is_over():
                await one(host)

        began = perf_counter()
        attackers = [
            Deferred.fromCoroutine(on_and_on(number)) for number in range(chosen.count)
        ]
        ended = gatherResults(attackers)
        # Those that wait for their turn would do so for long.
        while not ended.called and perf_counter() < end + 1:
            await self.pause(0.05)
        ended.addErrback(lambda _: None)
        row = {
            **counts,
            "seconds": perf_counter() - began,
            "from one": max(answered.values(), default=0),
        }
        print(json.dumps(row), flush=True)

    async def be_honest(self) -> None:
        """Call and log in, until told to stop."""
        counts: Counter[str] = Counter()
        calls: list[float] = []
        logins: list[float] = []

        async def visit() -> None:
            while not self.is_told:
                began = perf_counter()
                factory = self.connect()
                try:
                    await factory.login(self.credentials)
                    logins.append((perf_counter() - began) * 1000)
                except UnauthorizedLogin:
                    counts["refused"] += 1
                except Exception as error:
                    counts[type(error).__name__] += 1
                factory.disconnect()
                await self.pause(_BETWEEN_LOGINS)

        avatar: Any = await self.connect().login(self.credentials)
        print("logged in", flush=True)
        visiting = Deferred.fromCoroutine(visit())
        while not self.is_told:
            began = perf_counter()
            if await avatar.callRemote("add", 1, 2) != 3:
                raise ValueError("a wrong answer")
            calls.append((perf_counter() - began) * 1000)
            await self.pause(_PAUSE)
        await visiting
        row = {"calls": _summed(calls), "logins": _summed(logins), **counts}
        print(json.dumps(row), flush=True)

    async def crowd(self) -> None:
        """Connect many times at once, and then log in so."""
        # The users of a server have machines of their own.
        os.nice(10)
        factories = [self.connect() for _ in range(self.chosen.count)]
        for factory in factories:
            await factory.getRootObject()
        print("connected", flush=True)
        while not self.is_told:
            await self.pause(0.01)
        began = perf_counter()
        logins = [factory.login(self.credentials) for factory in factories]
        avatars = await gatherResults(logins)
        row = {"seconds": perf_counter() - began, "logins": len(avatars)}
        print(json.dumps(row), flush=True)

    async def cost(self) -> None:
        """Log in many times to a server in this process."""
        chosen = self.chosen
        server = ends.server_factory(
            chosen.folder, chosen.way, login_backlog=(100_000, 200_000)
        )
        tls = ends.server_tls(chosen.folder)
        port = self.reactor.listenSSL(0, server, tls, backlog=1000, interface=HOST)
        chosen.port = port.getHost().port
        if chosen.way == "PB-TICKET":
            self.mechanisms = ["SCRAM-SHA-256"]
            avatar: Any = await self.connect().login(self.credentials)
            self.credentials = await request_ticket(avatar)
            self.mechanisms = ["PB-TICKET"]
        factories = []
        for _ in range(chosen.count + 1):
            factories.append(self.connect())
            await factories[-1].getRootObject()
        # The first one imports what it needs.
        await factories.pop().login(self.credentials)
        before, began = process_time(), perf_counter()
        for factory in factories:
            # Each login is that of a process of its own.
            CLIENT_KEYS.clear()
            await factory.login(self.credentials)
        row = {
            "value": (process_time() - before) * 1000 / chosen.count,
            "took": (perf_counter() - began) * 1000 / chosen.count,
        }
        print(json.dumps(row), flush=True)


def _summed(latencies: list[float]) -> dict[str, float]:
    """Return what there is to say of some milliseconds."""
    if not latencies:
        return {"count": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}
    cuts = statistics.quantiles(latencies * 2, n=100, method="inclusive")
    return {
        "count": len(latencies),
        "p50": cuts[49],
        "p99": cuts[98],
        "max": max(latencies),
    }


def _run(chosen: argparse.Namespace) -> None:
    """Be one of the clients, on Twisted's reactor."""
    from twisted.internet import reactor as module

    reactor: Any = module
    client = _Client(chosen, reactor)
    work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "attacker": client.attack,
        "honest": client.be_honest,
        "crowd": client.crowd,
        "cost": client.cost,
    }
    failures: list[Any] = []

    def ended(result: Any) -> None:
        if result is not None:
            failures.append(result)
        reactor.stop()

    _listen(reactor.callFromThread, go=client.told)
    reactor.callWhenRunning(
        lambda: Deferred.fromCoroutine(work[chosen.role]()).addBoth(ended)
    )
    reactor.run()
    for failure in failures:
        failure.raiseException()


def main() -> None:
    """Be a server or a client, as the command line says."""
    parser = argparse.ArgumentParser(description="A part of a crowd at a login.")
    roles = ["server", "attacker", "honest", "crowd", "cost"]
    parser.add_argument("role", choices=roles)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--way", choices=list(ends.MECHANISMS), required=True)
    parser.add_argument("--loop", choices=LOOPS, default="twisted")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delays", action="store_true")
    parser.add_argument("--crowded", action="store_true")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--tries", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3600.0)
    chosen = parser.parse_args()
    _keep_log()
    if chosen.role == "server":
        _serve(chosen)
    else:
        _run(chosen)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
