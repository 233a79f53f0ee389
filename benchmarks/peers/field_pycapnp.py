"""This module is Cap'n Proto's RPC by pycapnp, with the schema beside this file.

In W3 the client makes a struct of the dict for each call, and the server copies it into
its answer: no dict is made of it at the server's, nor of the answer at the client's.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from ._styles import HOST, AsyncioPeer, Work
from ._workloads import main

_capnp: Any = import_module("capnp")
_capnp.remove_import_hook()
_schema: Any = _capnp.load(str(Path(__file__).with_suffix(".capnp")))
_ItemServer: Any = _schema.Item.Server
_RootServer: Any = _schema.Root.Server

#: Else W4b reads more than a message may have by default.
_OPTIONS: Final = {"traversal_limit_in_words": 2**40}


class _Item(_ItemServer):  # type: ignore[misc]
    async def ping(self, **context: Any) -> int:
        return 1


class _Root(_RootServer):  # type: ignore[misc]
    async def add(self, a: int, b: int, **context: Any) -> int:
        return a + b

    async def echo(self, value: Any, **context: Any) -> Any:
        return value

    async def blob(self, data: bytes, **context: Any) -> bytes:
        return data

    async def sink(self, data: bytes, **context: Any) -> int:
        return len(data)

    async def callback(self, item: Any, **context: Any) -> Any:
        return (await item.ping()).result

    async def references(self, count: int, _context: Any, **context: Any) -> None:
        items = _context.results.init("result", count)
        for index in range(count):
            items[index] = _Item()


class _Connection:
    """The client's end.

    Args:
        stream: The connection.
    """

    def __init__(self, stream: Any) -> None:
        self._client = _capnp.TwoPartyClient(stream, **_OPTIONS)
        self._root = self._client.bootstrap().cast_as(_schema.Root)

    async def add(self, a: int, b: int) -> Any:
        return (await self._root.add(a, b)).result

    async def echo(self, value: Any) -> Any:
        return (await self._root.echo(value)).result

    async def blob(self, data: bytes) -> Any:
        return (await self._root.blob(data)).result

    async def sink(self, data: bytes) -> Any:
        return (await self._root.sink(data)).result

    async def callback(self) -> Any:
        return (await self._root.callback(_Item())).result

    async def references(self, count: int) -> Any:
        return list((await self._root.references(count)).result)

    async def poke(self, reference: Any) -> Any:
        return (await reference.ping()).result


class PycapnpPeer(AsyncioPeer):
    """pycapnp on asyncio."""

    works = frozenset({"W1", "W2", "W2k", "W3", "W4", "W4b", "W5", "W6", "W7"})

    def run(self, work: Work, *, forever: bool) -> None:
        """Run a coroutine with Cap'n Proto's own loop inside asyncio's."""

        async def main() -> None:
            async with _capnp.kj_loop():
                await work()
                if forever:
                    await self._server.serve_forever()

        asyncio.run(main())

    async def serve(self) -> str:
        """Serve the root object."""

        async def accept(stream: Any) -> None:
            server = _capnp.TwoPartyServer(stream, bootstrap=_Root(), **_OPTIONS)
            await server.on_disconnect()

        self._server = await _capnp.AsyncIoStream.create_server(
            accept, HOST, 0, backlog=1000
        )
        return str(self._server.sockets[0].getsockname()[1])

    async def connect(self, address: str) -> _Connection:
        """Connect."""
        stream = await _capnp.AsyncIoStream.create_connection(HOST, int(address))
        return _Connection(stream)


if __name__ == "__main__":
    main(PycapnpPeer)
