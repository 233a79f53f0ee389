"""This module has one way to serialize per system, all called alike.

A codec is made for one payload. ``send`` returns its bytes, ``receive`` the value in
such bytes, and ``pieces`` takes them cut up. What a program makes once, such as an
encoder, is made before; what it makes for each message is made each time.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from ._payloads import NODE_NAME, Payload, PlainNode, node_class

__all__ = ["BASE", "CODECS", "Codec", "Unable", "available"]

#: What the others are compared with.
BASE: Final = "twisted.spread"

#: A call message but for its arguments: the number of the call, the object, the
#: method, and that an answer is wanted.
_CALL: Final = [b"message", 17, b"root", b"add", 1]


class Unable(Exception):
    """A system has no form for a payload."""


class Codec:
    """A payload as one system sends and receives it.

    Args:
        payload: What to send.

    Attributes:
        value: The value to send.
        is_pb: Whether the bytes are PB's wire format, and so the same as the others'.
    """

    is_pb = False

    def __init__(self, payload: Payload) -> None:
        self.payload = payload
        self.value = payload.make(self.node())

    @staticmethod
    def node() -> Any:
        """Return the class of instances to send."""
        return PlainNode

    def send(self) -> bytes:
        """Return the payload as bytes."""
        raise NotImplementedError

    def receive(self, data: bytes) -> object:
        """Return the value in what `send` returned."""
        raise NotImplementedError

    def pieces(self, pieces: Sequence[bytes]) -> object:
        """Decode what arrives in pieces, as far as it can be without building objects.

        Returns:
            The one thing that was in them.
        """
        raise NotImplementedError


_twisted_node: Any = None
_our_node: Any = None


class TwistedCodec(Codec):
    """The original: twisted.spread.jelly and .banana."""

    is_pb = True

    def __init__(self, payload: Payload) -> None:
        from twisted.spread import banana, jelly

        # Else more than 640 KiB is refused.
        banana.SIZE_LIMIT = 2**30
        super().__init__(payload)
        self._jelly: Any = jelly.jelly
        self._unjelly: Any = jelly.unjelly
        self._policy = jelly.globalSecurity
        self._call = payload.name == "P1"
        written: list[bytes] = []
        self._written = written
        self._received: list[Any] = []
        # They are given no connection; the dialect is what they would agree on.
        banana_end: Any = banana.Banana
        self._encoder = banana_end()
        self._encoder.transport = _Transport(written)
        self._decoder = banana_end()
        self._decoder.expressionReceived = self._received.append
        for end in (self._encoder, self._decoder):
            end.setPrefixLimit(64)
            end._selectDialect(b"pb")

    @staticmethod
    def node() -> Any:
        """Return a class that jelly knows."""
        global _twisted_node
        if _twisted_node is None:
            from twisted.spread import jelly

            _twisted_node = node_class(jelly.Jellyable, jelly.Unjellyable)
            jelly.setUnjellyableForClass(NODE_NAME, _twisted_node)
        return _twisted_node

    def send(self) -> bytes:
        """Return the payload as bytes."""
        value: Any = self.value
        if self._call:
            args, kw = value
            expression = [
                *_CALL,
                self._jelly(args, self._policy),
                self._jelly(kw, self._policy),
            ]
        else:
            expression = self._jelly(value, self._policy)
        self._encoder.sendEncoded(expression)
        return self._written.pop()

    def receive(self, data: bytes) -> object:
        """Return the value in some bytes."""
        self._decoder.dataReceived(data)
        expression = self._received.pop()
        if self._call:
            return tuple(self._unjelly(each, self._policy) for each in expression[5:])
        result: object = self._unjelly(expression, self._policy)
        return result

    def pieces(self, pieces: Sequence[bytes]) -> object:
        """Decode pieces into an s-expression."""
        for piece in pieces:
            self._decoder.dataReceived(piece)
        return self._received.pop()


class _Transport:
    """As much of a transport as an encoder of Twisted's needs.

    Args:
        written: Where what is written goes.
    """

    def __init__(self, written: list[bytes]) -> None:
        self.write = written.append


class OurCodec(Codec):
    """Ours, in the two steps that a broker can see: s-expressions, then bytes."""

    is_pb = True

    def __init__(self, payload: Payload) -> None:
        import pb_banana
        import pb_jelly

        super().__init__(payload)
        limits = _wide_limits()
        words = pb_banana.PB_VOCABULARY
        self._limits = limits
        self._encoder = pb_banana.Encoder(limits, vocabulary=words)
        self._decoder = pb_banana.Decoder(limits, vocabulary=words)
        self._jelly = pb_jelly.jelly
        self._unjelly = pb_jelly.unjelly
        self._policy = pb_jelly.globalSecurity
        self._call = payload.name == "P1"

    @staticmethod
    def node() -> Any:
        """Return a class that jelly knows."""
        global _our_node
        if _our_node is None:
            import pb_jelly

            _our_node = node_class(pb_jelly.Jellyable, pb_jelly.Unjellyable)
            pb_jelly.setUnjellyableForClass(NODE_NAME, _our_node)
        return _our_node

    def send(self) -> bytes:
        """Return the payload as bytes."""
        value: Any = self.value
        policy, limits = self._policy, self._limits
        if self._call:
            args, kw = value
            return self._encoder.encode(
                [
                    *_CALL,
                    self._jelly(args, policy, limits=limits),
                    self._jelly(kw, policy, limits=limits),
                ]
            )
        return self._encoder.encode(self._jelly(value, policy, limits=limits))

    def receive(self, data: bytes) -> object:
        """Return the value in some bytes."""
        expression: Any = self._decoder.feed(data)[0]
        policy, limits = self._policy, self._limits
        if self._call:
            return tuple(
                self._unjelly(each, policy, limits=limits) for each in expression[5:]
            )
        return self._unjelly(expression, policy, limits=limits)

    def pieces(self, pieces: Sequence[bytes]) -> object:
        """Decode pieces into an s-expression."""
        received: list[Any] = []
        for piece in pieces:
            received += self._decoder.feed(piece)
        return received[0]


class OurDumps(Codec):
    """Ours, in one call each way: `pb_banana.dumps` and `pb_banana.loads`."""

    def __init__(self, payload: Payload) -> None:
        import pb_banana

        super().__init__(payload)
        self._dumps = pb_banana.dumps
        self._loads = pb_banana.loads
        self._limits = _wide_limits()

    node = staticmethod(OurCodec.node)

    def send(self) -> bytes:
        """Return the payload as bytes."""
        return self._dumps(self.value, limits=self._limits)

    def receive(self, data: bytes) -> object:
        """Return the value in some bytes."""
        return self._loads(data, limits=self._limits)


class OurValues(Codec):
    """Ours, as values of the dialect "pb2": CBOR, in one step each way."""

    def __init__(self, payload: Payload) -> None:
        from pb_banana._pb2.reader import Reader
        from pb_banana._pb2.writer import Writer
        from pb_jelly import globalSecurity
        from pb_jelly.codec import current_tables

        super().__init__(payload)
        limits = _wide_limits()
        tables = current_tables(globalSecurity, modern=True).current()
        self._writer = Writer()
        self._writer.use(tables.sending, globalSecurity, limits)
        self._reader = Reader()
        self._reader.use(tables.reading, globalSecurity, limits)
        self._call = payload.name == "P1"

    node = staticmethod(OurCodec.node)

    def send(self) -> bytes:
        """Return the payload as bytes."""
        writer = self._writer
        value: Any = self.value
        if self._call:
            args, kw = value
            writer.begin()
            writer.array(2)
            writer.arguments(args)
            writer.keywords(kw)
            writer.end()
            return b"".join(writer.take())
        parts = writer.message(self.value)
        return parts[0] if len(parts) == 1 else b"".join(parts)  # type: ignore[return-value]

    def receive(self, data: bytes) -> object:
        """Return the value in some bytes."""
        result: object = self._reader.message(data, 0, len(data))
        return result


class Cbor2Codec(Codec):
    """cbor2, the CBOR of the field: no instances, no tuples."""

    def __init__(self, payload: Payload) -> None:
        if payload.instances:
            raise Unable("cbor2 has no instances")
        super().__init__(payload)
        cbor2 = import_module("cbor2")
        self._dumps: Callable[[object], bytes] = cbor2.dumps
        self._loads: Callable[[bytes], object] = cbor2.loads
        try:
            self._loads(self._dumps(self.value))
        except cbor2.CBORError as error:
            raise Unable(f"cbor2 refuses it: {error}") from error

    def send(self) -> bytes:
        """Return the payload as bytes."""
        return self._dumps(self.value)

    def receive(self, data: bytes) -> object:
        """Return the value in some bytes."""
        return self._loads(data)


class PickleCodec(Codec):
    """pickle, protocol 5: fast, and safe only among friends."""

    def send(self) -> bytes:
        """Return the payload as bytes."""
        return pickle.dumps(self.value, 5)

    def receive(self, data: bytes) -> object:
        """Return the value in some bytes."""
        result: object = pickle.loads(data)
        return result


class MsgpackCodec(Codec):
    """msgpack, in C: no instances, no sharing, no tuples; a mark for speed."""

    def __init__(self, payload: Payload) -> None:
        if payload.instances:
            raise Unable("msgpack has no instances")
        super().__init__(payload)
        msgpack = import_module("msgpack")
        self._pack: Callable[[object], bytes] = msgpack.Packer().pack
        self._unpack: Callable[[bytes], object] = msgpack.unpackb
        self._unpacker: Callable[[], Any] = msgpack.Unpacker

    def send(self) -> bytes:
        """Return the payload as bytes."""
        return self._pack(self.value)

    def receive(self, data: bytes) -> object:
        """Return the value in some bytes."""
        return self._unpack(data)

    def pieces(self, pieces: Sequence[bytes]) -> object:
        """Decode pieces."""
        unpacker = self._unpacker()
        received: list[object] = []
        for piece in pieces:
            unpacker.feed(piece)
            received += unpacker
        return received[0]


def _wide_limits() -> Any:
    """Return limits that no payload meets."""
    from pb_banana import Limits

    return Limits(
        message_bytes=2**30,
        string_bytes=2**30,
        list_items=2**30,
        nodes=2**30,
        depth=5000,
    )


CODECS: Final[dict[str, type[Codec]]] = {
    BASE: TwistedCodec,
    "ours": OurCodec,
    "ours, dumps": OurDumps,
    "ours, pb2": OurValues,
    "pickle 5": PickleCodec,
    "msgpack": MsgpackCodec,
    "cbor2": Cbor2Codec,
}

#: The systems that are modules of their own.
_MODULES: Final = {"msgpack": "msgpack", "cbor2": "cbor2"}


def available() -> list[str]:
    """Return the names of the codecs that this interpreter has."""
    return [
        name
        for name in CODECS
        if name not in _MODULES or find_spec(_MODULES[name]) is not None
    ]
