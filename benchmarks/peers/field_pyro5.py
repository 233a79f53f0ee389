"""This module is Pyro5, with msgpack: one call at a time on each connection.

It has no pipelining, and so no W2, W2k, W3 and W4; its batches are one message for
many calls, which is another thing. For W5 there are as many connections, each with a
thread, as there are to be calls outstanding, and the server connects back for each.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from queue import SimpleQueue
from threading import Lock, Thread, local
from typing import Any

from ._styles import HOST, BlockingPeer
from ._workloads import main

_pyro: Any = import_module("Pyro5.api")

_pyro.config.SERIALIZER = "msgpack"
_pyro.config.THREADPOOL_SIZE = 3000
_pyro.config.MAX_MESSAGE_SIZE = 2**30


class _Item:
    @_pyro.expose  # type: ignore[untyped-decorator]
    def ping(self) -> int:
        return 1


class _Root:
    @_pyro.expose  # type: ignore[untyped-decorator]
    def add(self, a: int, b: int) -> int:
        return a + b

    @_pyro.expose  # type: ignore[untyped-decorator]
    def sink(self, data: bytes) -> int:
        return len(data)

    @_pyro.expose  # type: ignore[untyped-decorator]
    def callback(self, callback: Any) -> Any:
        with callback:
            return callback.ping()

    @_pyro.expose  # type: ignore[untyped-decorator]
    def references(self, count: int) -> list[_Item]:
        items = [_Item() for _ in range(count)]
        for item in items:
            self._pyroDaemon.register(item)  # type: ignore[attr-defined]
        return items


class _Connection:
    """The client's end.

    Args:
        address: The server's root object.
        daemon: Gives the client's own daemon, for callbacks.
    """

    def __init__(self, address: str, daemon: Callable[[], Any]) -> None:
        proxy = _pyro.Proxy(address)
        self._proxy = proxy
        self._daemon = daemon
        self.add, self.sink, self.references = proxy.add, proxy.sink, proxy.references

    def callback(self) -> Any:
        item = _Item()
        daemon = self._daemon()
        daemon.register(item)
        try:
            return self._proxy.callback(item)
        finally:
            daemon.unregister(item)

    def poke(self, reference: Any) -> Any:
        return reference.ping()


class Pyro5Peer(BlockingPeer):
    """Pyro5 with its thread-pool server."""

    works = frozenset({"W1", "W4b", "W5", "W6", "W7"})

    def __init__(self, variant: str) -> None:
        super().__init__(variant)
        self._own: Any = None
        self._lock = Lock()
        self._address = ""

    def serve(self) -> str:
        """Register the root object; `loop` serves it."""
        self._server = _pyro.Daemon(HOST, 0)
        return str(self._server.register(_Root(), "root"))

    def loop(self) -> None:
        """Serve."""
        self._server.requestLoop()

    def connect(self, address: str) -> _Connection:
        """Make a proxy, which connects at its first call."""
        self._address = address
        return _Connection(address, self._daemon)

    def _daemon(self) -> Any:
        """Return the daemon that the server calls back, made when first wanted."""
        with self._lock:
            if self._own is None:
                self._own = _pyro.Daemon(HOST, 0)
                Thread(target=self._own.requestLoop, daemon=True).start()
            return self._own

    def caller(self, connection: Any, name: str, args: tuple[Any, ...]) -> Any:
        """Return a call on a connection of its thread's own."""
        mine = local()

        def call() -> Any:
            if not hasattr(mine, "connection"):
                mine.connection = self.connect(self._address)
            return getattr(mine.connection, name)(*args)

        call.threads = True  # type: ignore[attr-defined]
        return call

    def keep(
        self,
        call: Callable[[], Any],
        depth: int,
        more: Callable[[], bool],
        latencies: list[float] | None = None,
    ) -> int:
        """Keep calls outstanding, those of `caller` each in a thread."""
        if not hasattr(call, "threads"):
            return super().keep(call, depth, more, latencies)
        made: SimpleQueue[int | Exception] = SimpleQueue()

        def work() -> None:
            try:
                made.put(BlockingPeer.keep(self, call, 1, more))
            except Exception as error:
                made.put(error)

        for _ in range(depth):
            Thread(target=work, daemon=True).start()
        total = 0
        for _ in range(depth):
            count = made.get()
            if isinstance(count, Exception):
                raise count
            total += count
        return total


if __name__ == "__main__":
    main(Pyro5Peer)
