"""This module is RPyC: a thread per connection, and calls that the client pipelines.

RPyC passes a dict by reference, and each look at it is a call; so that its W3 does what
the others' do, both ends pickle the dict by hand, which is the fastest that it has.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Final

from ._styles import HOST, BlockingPeer
from ._workloads import main

_rpyc: Any = import_module("rpyc")
_Service: Any = _rpyc.Service

_CONFIG: Final = {"sync_request_timeout": None}


class _Item:
    def exposed_ping(self) -> int:
        return 1


class _Root(_Service):  # type: ignore[misc]
    def exposed_add(self, a: int, b: int) -> int:
        return a + b

    def exposed_echo(self, data: bytes) -> bytes:
        return pickle.dumps(pickle.loads(data), 5)

    def exposed_blob(self, data: bytes) -> bytes:
        return data

    def exposed_sink(self, data: bytes) -> int:
        return len(data)

    def exposed_callback(self, callback: Any) -> Any:
        return callback()

    def exposed_references(self, count: int) -> tuple[_Item, ...]:
        return tuple(_Item() for _ in range(count))


class _Connection:
    """The client's end.

    Args:
        connection: RPyC's.
    """

    def __init__(self, connection: Any) -> None:
        self.serve = connection.serve
        root = connection.root
        self.add, self.blob, self.sink = root.add, root.blob, root.sink
        self.references = root.references
        self._echo = root.echo
        self._callback = root.callback
        self._later = {
            name: _rpyc.async_(getattr(root, name))
            for name in ("add", "blob", "echo", "callback")
        }

    def echo(self, value: object) -> object:
        result: object = pickle.loads(self._echo(pickle.dumps(value, 5)))
        return result

    def callback(self) -> Any:
        return self._callback(lambda: 1)

    def poke(self, reference: Any) -> Any:
        return reference.ping()

    def begin(self, name: str, args: tuple[Any, ...], ended: Callable[[], None]) -> Any:
        """Begin a call, and say when it has ended."""
        if name == "echo":
            args = (pickle.dumps(args[0], 5),)
        elif name == "callback":
            args = (lambda: 1,)

        def finish(answer: Any) -> None:
            # Raises what the server raised.
            value = answer.value
            if name == "echo":
                pickle.loads(value)
            ended()

        return self._later[name](*args).add_callback(finish)


class RpycPeer(BlockingPeer):
    """RPyC's ThreadedServer, and its asynchronous calls."""

    works = frozenset({"W1", "W2", "W2k", "W3", "W4", "W4b", "W5", "W6", "W7"})

    def serve(self) -> str:
        """Listen; `loop` accepts."""
        self._server = import_module("rpyc.utils.server").ThreadedServer(
            _Root, hostname=HOST, port=0, backlog=1000, protocol_config=_CONFIG
        )
        self._server._listen()
        return str(self._server.port)

    def loop(self) -> None:
        """Serve."""
        self._server.start()

    def connect(self, address: str) -> _Connection:
        """Connect."""
        return _Connection(_rpyc.connect(HOST, int(address), config=_CONFIG))

    def caller(self, connection: Any, name: str, args: tuple[Any, ...]) -> Any:
        """Return a call that does not wait, with the connection to wait on."""
        return partial(_pipelined, connection, name, args)

    def keep(
        self,
        call: Any,
        depth: int,
        more: Callable[[], bool],
        latencies: list[float] | None = None,
    ) -> int:
        """Keep calls outstanding; one at a time if they cannot be more."""
        if getattr(call, "func", None) is not _pipelined:
            return super().keep(call, depth, more, latencies)
        connection, name, args = call.args
        count = outstanding = 0

        def ended() -> None:
            nonlocal outstanding
            outstanding -= 1

        wanted = True
        while True:
            while wanted and outstanding < depth:
                wanted = more()
                if wanted:
                    count += 1
                    outstanding += 1
                    connection.begin(name, args, ended)
            if not outstanding:
                return count
            connection.serve(1)


def _pipelined(connection: _Connection, name: str, args: tuple[Any, ...]) -> None:
    raise NotImplementedError("what keeps calls outstanding looks inside")


if __name__ == "__main__":
    main(RpycPeer)
