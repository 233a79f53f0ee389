"""This module is calls written by hand over asyncio's streams, with msgpack.

A frame is its length in four bytes, then ``[id, method, arguments]`` or
``[id, result]`` as msgpack. No references, no errors, no limits: a floor for what an
RPC system in Python costs.
"""

from __future__ import annotations

import asyncio
from asyncio import Future, StreamReader, StreamWriter
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from ._styles import HOST, AsyncioPeer
from ._workloads import main

_msgpack: Any = import_module("msgpack")

_METHODS: Final[dict[str, Callable[..., object]]] = {
    "add": lambda a, b: a + b,
    "echo": lambda value: value,
    "sink": len,
}

#: Above this much unsent the server waits.
_HIGH_WATER: Final = 2**16


def _frame(message: object) -> bytes:
    body: bytes = _msgpack.packb(message)
    return len(body).to_bytes(4, "big") + body


async def _message(reader: StreamReader) -> Any:
    length = int.from_bytes(await reader.readexactly(4), "big")
    return _msgpack.unpackb(await reader.readexactly(length))


async def _serve(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while True:
            number, method, args = await _message(reader)
            writer.write(_frame((number, _METHODS[method](*args))))
            if writer.transport.get_write_buffer_size() > _HIGH_WATER:
                await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()


class _Connection:
    """The client's end.

    Args:
        reader: For answers.
        writer: For calls.
    """

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, Future[Any]] = {}
        self._number = 0
        self._task = self._loop.create_task(self._receive())

    async def _receive(self) -> None:
        while True:
            number, result = await _message(self._reader)
            self._waiting.pop(number).set_result(result)

    def _call(self, method: str, *args: object) -> Future[Any]:
        self._number += 1
        answer = self._waiting[self._number] = self._loop.create_future()
        self._writer.write(_frame((self._number, method, args)))
        return answer

    def add(self, a: int, b: int) -> Future[Any]:
        return self._call("add", a, b)

    def echo(self, value: object) -> Future[Any]:
        return self._call("echo", value)

    blob = echo

    def sink(self, data: bytes) -> Future[Any]:
        return self._call("sink", data)


class MsgpackPeer(AsyncioPeer):
    """asyncio streams and msgpack, by hand."""

    works = frozenset({"W1", "W2", "W2k", "W3", "W4", "W4b", "W6"})

    async def serve(self) -> str:
        """Serve the methods."""
        self._server = await asyncio.start_server(_serve, HOST, 0, backlog=1000)
        return str(self._server.sockets[0].getsockname()[1])

    async def connect(self, address: str) -> _Connection:
        """Connect."""
        return _Connection(*await asyncio.open_connection(HOST, int(address)))


if __name__ == "__main__":
    main(MsgpackPeer)
