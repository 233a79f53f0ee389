"""This module is a bare Twisted echo: what the transport allows, with no RPC at all.

Its messages are as long as PB's are for the same workload. There is nothing in them.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol

from ._styles import HOST, TwistedPeer
from ._workloads import main

#: A call of add, with its answer, as PB writes them.
_CALL: Final = b"c" * 32
_ANSWER: Final = b"a" * 9

_BLOB: Final = b"b" * 2**19


class _Server(Protocol):
    """Answers: the first byte that comes says whether to calls or with what came."""

    _rest = 0
    _echoes: bool | None = None

    def dataReceived(self, data: bytes) -> None:
        write: Any = self.transport.write  # type: ignore[union-attr]
        if self._echoes is None:
            self._echoes = data.startswith(b"b")
        if self._echoes:
            write(data)
            return
        calls, self._rest = divmod(self._rest + len(data), len(_CALL))
        for _ in range(calls):
            write(_ANSWER)


class _Client(Protocol):
    """Sends, and waits for as many bytes as make the answers."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Any, Deferred[Any]]] = deque()
        self._received = 0

    def _call(self, data: bytes, length: int, result: Any) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self._waiting.append((length, result, answer))
        self.transport.write(data)  # type: ignore[union-attr]
        return answer

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        waiting = self._waiting
        while waiting and self._received >= waiting[0][0]:
            length, result, answer = waiting.popleft()
            self._received -= length
            answer.callback(result)

    def add(self, a: int, b: int) -> Deferred[Any]:
        return self._call(_CALL, len(_ANSWER), a + b)

    def blob(self, data: bytes) -> Deferred[Any]:
        return self._call(_BLOB, len(_BLOB), data)


class RawTwistedPeer(TwistedPeer):
    """A bare echo over Twisted's transports."""

    works = frozenset({"W1", "W2", "W2k", "W4", "W6"})

    def serve(self) -> str:
        """Echo."""
        from twisted.internet import reactor as module

        reactor: Any = module
        factory = Factory.forProtocol(_Server)
        port = reactor.listenTCP(0, factory, interface=HOST, backlog=1000)
        return str(port.getHost().port)

    def connect(self, address: str) -> Any:
        """Return a Deferred of a connection."""
        from twisted.internet import reactor as module

        reactor: Any = module
        endpoint = TCP4ClientEndpoint(reactor, HOST, int(address))
        return connectProtocol(endpoint, _Client())


if __name__ == "__main__":
    main(RawTwistedPeer)
