"""This module is another implementation of "pb2": on cbor2, with no code of ours.

It has been written from ``docs/protocol-pb2-messages.md``, and does as little as a peer
can: it calls, serves one object, gives references back, and cuts large messages.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import cbor2

MINE, YOURS, TUPLE, FAILURE = 47543, 47544, 47536, 47549
FRAME = 16_384


class Failed(Exception):
    """A call has failed at the other end."""


class Peer:
    """A client.

    Attributes:
        serve: Called with the name of a method and its arguments, for each call of the
            object 1; returns the answer.
        messages: All messages that have come, as bytes.
        lanes: The numbers of the lanes on which pieces have come.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._pieces: dict[int, bytes] = {}
        self._greeted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.serve: Callable[[str, list[Any]], Any] = lambda name, args: None
        self.messages: list[bytes] = []
        self.lanes: set[int] = set()
        #: The bytes and the calls that may have been begun in all.
        self.credit: list[int] = []
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, host: str, port: int) -> Peer:
        reader, writer = await asyncio.open_connection(host, port)
        # The server's offer: a list of strings, each with its length before 0x82.
        (count,) = await reader.readexactly(1)
        assert await reader.readexactly(1) == b"\x80"
        names = []
        for _ in range(count):
            (length,) = await reader.readexactly(1)
            assert await reader.readexactly(1) == b"\x82"
            names.append(await reader.readexactly(length))
        assert b"pb2" in names
        writer.write(b"\x03\x82pb2")
        peer = cls(reader, writer)
        limits = {"calls": 100, "bytes": 10**6, "lanes": 3, "other": None}
        terms = {"version": [1, 1], "features": [], "max_frame": FRAME}
        peer.send([0, {**terms, "limits": limits}])
        await peer._greeted
        return peer

    def send(self, message: list[Any]) -> None:
        data = cbor2.dumps(message)
        if len(data) <= FRAME:
            self._frame(0, data)
            return
        data = struct.pack(">Q", len(data)) + data
        for place in range(0, len(data), FRAME):
            is_last = place + FRAME >= len(data)
            self._frame(129 if is_last else 1, data[place : place + FRAME])

    def _frame(self, lane: int, payload: bytes) -> None:
        self._writer.write(struct.pack(">I", len(payload) << 8 | lane) + payload)

    async def call(self, target: Any, name: str, *args: Any, **options: Any) -> Any:
        number = len(self._calls) + 1
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        self.send([1, number, target, name, list(args), {}, options.get("options", {})])
        return await answer

    async def ping(self) -> None:
        pong = self._calls[0] = asyncio.get_running_loop().create_future()
        self.send([13, 7])
        await pong

    async def _read(self) -> None:
        while True:
            try:
                (head,) = struct.unpack(">I", await self._reader.readexactly(4))
            except asyncio.IncompleteReadError:
                return
            lane, payload = head & 255, await self._reader.readexactly(head >> 8)
            if lane:
                self.lanes.add(lane & 127)
                payload = self._pieces.pop(lane & 127, b"") + payload
                if lane < 128:
                    self._pieces[lane] = payload
                    continue
                (length,) = struct.unpack(">Q", payload[:8])
                payload = payload[8:]
                assert len(payload) == length
            while payload:
                message = cbor2.loads(payload)
                data = payload[: _size(payload)]
                payload = payload[len(data) :]
                self.messages.append(data)
                self._take(*message)

    def _take(self, number: int, *fields: Any) -> None:
        if number == 0:
            self._greeted.set_result(fields[0])
        elif number == 1:
            request, target, name, args = fields[:4]
            assert target == 1
            self.send([2, request, self.serve(name, args)])
        elif number == 2:
            self._calls.pop(fields[0]).set_result(fields[1])
        elif number == 3:
            error = fields[1].value
            self._calls.pop(fields[0]).set_exception(Failed(*error[:2]))
        elif number == 12:
            self.credit = list(fields[1:])
        elif number == 13:
            self.send([14, fields[0]])
        elif number == 14:
            self._calls.pop(0).set_result(None)

    async def close(self) -> None:
        self._writer.close()
        await self._task


def _size(data: bytes) -> int:
    """Return how many bytes the first item takes."""
    from io import BytesIO

    source = BytesIO(data)
    decoder = cbor2.CBORDecoder(source, read_size=1)
    decoder.decode()
    return source.tell()
