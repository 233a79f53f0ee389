"""This module is another implementation of "pb2": on cbor2, with no code of ours.

It has been written from ``docs/protocol-pb2-messages.md``, and does as little as a peer
can: it calls, serves one object, gives references back, cuts large messages, and reads
and sends streams.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from io import BytesIO
from typing import Any

import cbor2

TUPLE = 47536
MINE, YOURS, CACHED, MENTION = 47543, 47544, 47545, 47546
PROMISE, STREAM, FAILURE = 47547, 47548, 47549
FRAME = 16_384

#: The credit of a stream at first, and what lets a message of any size through.
FIRST = (64, 16_384)
WHOLE = 262_144

#: The calls, and the bytes of calls, that the other end may have begun at once.
CALLS, OCTETS = 100, 10**6

#: Numbers of the messages that are not counted.
UNCOUNTED = (0, 12, 13, 14, 18)


class Failed(Exception):
    """A call, or a stream, has failed at the other end.

    The arguments are the items of the failure: names of classes, a text, a traceback or
    None, and perhaps other parts by name.
    """


class Closed(Exception):
    """The connection has ended."""


class Peer:
    """A client.

    Attributes:
        serve: Called with the name of a method and its arguments, for each call of the
            object 1; returns the answer. A `Failed` that it raises is sent as an error.
        messages: All messages that have come, as bytes.
        sent: All messages that were sent, as bytes.
        lanes: The numbers of the lanes on which pieces have come.
        credit: The bytes and the calls that may have been begun in all.
        called: Names, arguments by place and arguments by name, of calls and updates.
        cancelled: The numbers of calls that the other end has cancelled.
        items: The items of the other end's streams, by its number, as they have come.
        ends: The streams that have ended, with a failure or None.
        waiting: The streams that have asked for credit.
        stopped: This end's streams that are not wanted any more.
        allowed: The items and bytes that this end's streams may send in all.
        is_silent: True if calls are not answered.
        goaway: The messages received and the reason that were told; None at first.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._pieces: dict[int, bytes] = {}
        self._news = asyncio.Event()
        self._is_over = False
        self._received = self._ended = self._octets = 0
        self.terms: dict[str, Any] = {}
        self.serve: Callable[[str, list[Any]], Any] = lambda name, args: None
        self.messages: list[bytes] = []
        self.sent: list[bytes] = []
        self.lanes: set[int] = set()
        self.credit: list[int] = []
        self.called: list[tuple[str, list[Any], dict[str, Any]]] = []
        self.cancelled: set[int] = set()
        self.items: dict[int, list[Any]] = {}
        self.ends: dict[int, Any] = {}
        self.waiting: set[int] = set()
        self.stopped: set[int] = set()
        self.allowed: dict[int, tuple[int, int]] = {}
        self.is_silent = False
        self.goaway: tuple[int, str] | None = None
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
        limits = {"calls": CALLS, "bytes": OCTETS, "lanes": 3, "streams": 8}
        terms = {"version": [1, 1], "features": [], "max_frame": FRAME}
        peer.send([0, {**terms, "limits": {**limits, "later": [{}]}, "later": None}])
        await peer.until(lambda: peer.terms)
        return peer

    async def until(self, is_so: Callable[[], Any]) -> None:
        """Wait until a condition holds, which is checked after each message."""
        while not is_so():
            await self.next_message()

    async def next_message(self) -> None:
        """Wait for the next message."""
        if self._is_over:
            raise Closed
        self._news.clear()
        await self._news.wait()

    # Messages out

    def send(self, message: list[Any]) -> int:
        """Send a message, in pieces if it is large; return its size."""
        data = cbor2.dumps(message)
        self.sent.append(data)
        if len(data) <= FRAME:
            self.frame(0, data)
            return len(data)
        pieces = struct.pack(">Q", len(data)) + data
        for place in range(0, len(pieces), FRAME):
            is_last = place + FRAME >= len(pieces)
            self.frame(129 if is_last else 1, pieces[place : place + FRAME])
        return len(data)

    def frame(self, lane: int, payload: bytes) -> None:
        self._writer.write(struct.pack(">I", len(payload) << 8 | lane) + payload)

    def begin(
        self,
        target: Any,
        name: str,
        *args: Any,
        options: Any = None,
        **kw: Any,
    ) -> tuple[int, asyncio.Future[Any]]:
        """Begin a call; return its number, which rises each time, and its answer."""
        self._number += 1
        answer = asyncio.get_running_loop().create_future()
        self._calls[self._number] = answer
        message = [1, self._number, target, name, list(args)]
        if kw or options:
            message.append(kw)
        if options:
            message.append(options)
        self.send(message)
        return self._number, answer

    async def call(self, target: Any, name: str, *args: Any, **options: Any) -> Any:
        return await self.begin(target, name, *args, **options)[1]

    async def ping(self) -> None:
        pong = self._calls[0] = asyncio.get_running_loop().create_future()
        self.send([13, 7])
        await pong

    # Streams

    async def produce(self, number: int, items: Iterable[Any]) -> None:
        """Send the items of a stream one by one, as there is credit, until `stop`."""
        octets = 0

        def is_allowed(count: int, size: int) -> bool:
            most_items, most_octets = self.allowed.get(number, FIRST)
            is_whole = most_octets - octets >= WHOLE
            return count <= most_items and (octets + size <= most_octets or is_whole)

        for count, item in enumerate(items, 1):
            message = [9, number, [item]]
            room = partial(is_allowed, count, len(cbor2.dumps(message)))
            if not room():
                self.send([9, number, []])
                while not (room() or number in self.stopped):
                    await self.next_message()
            if number in self.stopped:
                break
            octets += self.send(message)
        self.send([10, number])

    async def consume(self, number: int) -> AsyncIterator[Any]:
        """Yield the items of a stream, and give credit for ten at a time."""
        taken = 0
        while True:
            come = self.items.get(number, [])
            if len(come) > taken:
                yield come[taken]
                taken += 1
            elif number in self.ends:
                break
            elif number in self.waiting:
                self.waiting.discard(number)
                self.send([11, number, taken + 10, 2**40])
            else:
                await self.next_message()
        if self.ends[number] is not None:
            raise Failed(*self.ends[number].value)

    # Messages in

    async def _read(self) -> None:
        while True:
            try:
                (head,) = struct.unpack(">I", await self._reader.readexactly(4))
                payload = await self._reader.readexactly(head >> 8)
            except (asyncio.IncompleteReadError, ConnectionError):
                self._is_over = True
                self._news.set()
                for call in self._calls.values():
                    call.cancel()
                return
            lane = head & 255
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
                source = BytesIO(payload)
                message = cbor2.CBORDecoder(source, read_size=1).decode()
                data = payload[: source.tell()]
                payload = payload[len(data) :]
                self.messages.append(data)
                self._received += message[0] not in UNCOUNTED
                self._take(len(data), *message)
                self._news.set()

    def _take(self, size: int, number: int, *fields: Any) -> None:  # noqa: C901
        if number == 0:
            self.terms = fields[0]
        elif number in (1, 7):
            self._serve(size, *fields)
        elif number == 2:
            self._calls.pop(fields[0]).set_result(fields[1])
        elif number == 3:
            self._calls.pop(fields[0]).set_exception(Failed(*fields[1].value))
        elif number == 4:
            self.cancelled.add(fields[0])
        elif number == 9 and fields[1]:
            self.items.setdefault(fields[0], []).extend(fields[1])
        elif number == 9:
            self.waiting.add(fields[0])
        elif number == 10:
            (self.ends[fields[0]],) = fields[1:] or [None]
        elif number == 11:
            self.allowed[fields[0]] = fields[1:]
        elif number == 12:
            self.credit = list(fields[1:])
        elif number == 13:
            self.send([14, fields[0]])
        elif number == 14:
            self._calls.pop(0).set_result(None)
        elif number == 15:
            self.goaway = fields[0], fields[1]
        elif number == 19:
            self.stopped.add(fields[0])

    def _serve(
        self, size: int, request: int, target: Any, name: str, args: Any, *more: Any
    ) -> None:
        """Answer a call at once, and give its credit back."""
        self.called.append((name, args, more[0] if more else {}))
        if self.is_silent:
            return
        try:
            reply = [2, request, self.serve(name, args)]
        except Failed as error:
            reply = [3, request, cbor2.CBORTag(FAILURE, list(error.args))]
        if request:
            self.send(reply)
        self._ended += 1
        self._octets += size
        given = (OCTETS + self._octets, CALLS + self._ended)
        self.send([12, self._received, *given])

    async def ended(self) -> None:
        """Wait for the other end to close the connection."""
        await self._task

    async def close(self) -> None:
        self._writer.close()
        await self._task
