"""This module is a server that is attacked, those who attack it, and a client of it.

``server`` prints its two ports: of an object for all, and of one that needs a login.
``attacker`` goes on until it is ended. ``client`` makes a small call again and again,
and prints how long they took. Each is a process of its own, which `benchmarks.hostile`
starts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import socket
import statistics
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

from benchmarks import _machine
from pb_banana import PB_VOCABULARY, Encoder, encode

from ._styles import HOST

__all__ = ["ATTACKS", "main"]

#: How many calls an attacker has waiting.
_QUEUED: Final = 100_000

#: How many connections an attacker has that does nothing but connect.
_HELD: Final = 500

#: Seconds between two calls of the client.
_PAUSE: Final = 0.002

_encode: Final = Encoder(vocabulary=PB_VOCABULARY).encode
_BEGINNING: Final = encode(b"pb") + _encode([b"version", 6])


def _call(method: bytes, *args: Any) -> bytes:
    arguments = [b"tuple", *args]
    head = [b"message", 1, b"root", method, 1]
    return _encode([*head, arguments, [b"dictionary"]])


def _connect(port: int) -> socket.socket:
    made = socket.create_connection((HOST, port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _queue(ports: list[int]) -> None:
    """Have very many calls waiting, and more when half of them have been answered."""
    connection = _connect(ports[0])
    connection.sendall(_BEGINNING)
    connection.setblocking(False)
    some = _call(b"add", 1, 2)
    answer = len(_encode([b"answer", 1, 3]))
    waiting = 0
    unsent = memoryview(b"")
    while True:
        if not unsent and waiting <= _QUEUED // 2:
            unsent = memoryview(some * (_QUEUED // 2))
            waiting += _QUEUED // 2
        readable, writable, _ = select.select(
            [connection], [connection] if unsent else [], []
        )
        if writable:
            unsent = unsent[connection.send(unsent) :]
        if readable:
            data = connection.recv(2**20)
            if not data:
                raise ConnectionError("the server has ended the connection")
            waiting -= len(data) // answer


def _never_read(ports: list[int]) -> None:
    """Ask for much, and take nothing in."""
    call = _call(b"much", 60_000)
    while True:
        # Until it is given up; and once more.
        with suppress(OSError), _connect(ports[0]) as connection:
            connection.sendall(_BEGINNING)
            while True:
                connection.sendall(call * 100)


def _connecting(which: int) -> Callable[[list[int]], None]:
    def attack(ports: list[int]) -> None:
        """Open connections without waiting for any, and have some hundred of them."""
        held: deque[socket.socket] = deque()
        while True:
            made = socket.socket()
            made.setblocking(False)
            made.connect_ex((HOST, ports[which]))
            held.append(made)
            if len(held) > _HELD // 2:
                # That one should be there by now.
                with suppress(OSError):
                    held[_HELD // 4].send(_BEGINNING)
            if len(held) > _HELD:
                held.popleft().close()

    return attack


def _garbage(ports: list[int]) -> None:
    """Send what means nothing, each time on a new connection."""
    chance = random.Random(1)
    while True:
        for beginning in (b"", _BEGINNING):
            # It is refused at some point, and then written to in vain.
            with suppress(OSError), _connect(ports[0]) as connection:
                connection.sendall(beginning)
                for _ in range(16):
                    connection.sendall(chance.randbytes(65536))


#: What attackers do, by name.
ATTACKS: Final[dict[str, Callable[[list[int]], None]]] = {
    "100,000 calls queued": _queue,
    "connections, without a login": _connecting(0),
    "connections, where a login is needed": _connecting(1),
    "garbage": _garbage,
    "answers never read": _never_read,
}


def _serve() -> None:
    from twisted.cred.checkers import AllowAnonymousAccess
    from twisted.cred.portal import IRealm, Portal
    from twisted.internet import reactor as module
    from twisted.logger import globalLogBeginner, textFileLogObserver
    from zope.interface import implementer

    from pb_cred import pb

    class Root(pb.Root):
        def remote_add(self, a: int, b: int) -> int:
            return a + b

        def remote_much(self, size: Any) -> bytes:
            return bytes(size) if type(size) is int else b""

    @implementer(IRealm)
    class Realm:
        def requestAvatar(self, avatar: Any, mind: Any, *interfaces: Any) -> Any:
            return pb.IPerspective, pb.Avatar(), lambda: None

    # What a server logs costs it time, as it would anywhere.
    null = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    globalLogBeginner.beginLoggingTo(
        [textFileLogObserver(null)], redirectStandardIO=False, discardBuffer=True
    )
    reactor: Any = module
    portal: Any = Portal(Realm(), [AllowAnonymousAccess()])
    ports = [
        reactor.listenTCP(0, factory, interface=HOST).getHost().port
        for factory in (pb.PBServerFactory(Root()), pb.PBServerFactory(portal))
    ]
    print(*ports, flush=True)
    reactor.run()


def _measure(ports: list[int], seconds: float, server: int) -> None:
    from twisted.internet import reactor as module
    from twisted.internet.defer import Deferred
    from twisted.internet.task import deferLater

    from pb_cred import pb

    reactor: Any = module
    failures: list[Any] = []

    async def work() -> None:
        factory = pb.PBClientFactory()
        reactor.connectTCP(HOST, ports[0], factory)
        root: Any = await factory.getRootObject()
        await root.callRemote("add", 1, 2)
        print("connected", flush=True)
        sys.stdin.readline()
        latencies: list[float] = []
        with _machine.Meter(server) as meter:
            end = perf_counter() + seconds
            while perf_counter() < end:
                begun = perf_counter()
                if await root.callRemote("add", 1, 2) != 3:
                    raise ValueError("a wrong answer")
                latencies.append((perf_counter() - begun) * 1000)
                await deferLater(reactor, _PAUSE, lambda: None)
        cuts = statistics.quantiles(latencies, n=100, method="inclusive")
        row = {
            "calls": len(latencies),
            "p50": cuts[49],
            "p99": cuts[98],
            "max": max(latencies),
            "server busy": meter.others / meter.seconds,
        }
        print(json.dumps(row), flush=True)

    def ended(result: Any) -> None:
        if result is not None:
            failures.append(result)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(work()).addBoth(ended))
    reactor.run()
    for failure in failures:
        failure.raiseException()


def main() -> None:
    """Be a server, an attacker or a client, as the command line says."""
    parser = argparse.ArgumentParser(description="A part of a siege.")
    parser.add_argument("role", choices=["server", "attacker", "client"])
    parser.add_argument("--ports", type=int, nargs=2, default=[0, 0])
    parser.add_argument("--attack", choices=list(ATTACKS))
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--server", type=int, default=0, help="the server's process")
    chosen = parser.parse_args()
    if chosen.role == "server":
        _serve()
    elif chosen.role == "attacker":
        ATTACKS[chosen.attack](chosen.ports)
    else:
        _measure(chosen.ports, chosen.seconds, chosen.server)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
