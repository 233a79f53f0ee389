"""This module is gRPC on asyncio, with protobuf messages.

The messages' classes are made from an example of each here, not by a compiler from a
.proto file; they are the same. Of W3's dict there is a typed message, made by the
client for each call and sent back by the server as it came.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from ._styles import HOST, AsyncioPeer
from ._workloads import document, main

_grpc: Any = import_module("grpc")
_aio: Any = import_module("grpc.aio")

#: No limits on messages, and a connection of its own for each channel.
_OPTIONS: Final = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


def _message_classes(**examples: dict[str, Any]) -> dict[str, Any]:
    """Return a message class for each name, with the fields of its example."""
    descriptors: Any = import_module("google.protobuf.descriptor_pb2")
    pools: Any = import_module("google.protobuf.descriptor_pool")
    factory: Any = import_module("google.protobuf.message_factory")
    field = descriptors.FieldDescriptorProto
    scalars = {
        bool: field.TYPE_BOOL,
        int: field.TYPE_INT64,
        float: field.TYPE_DOUBLE,
        str: field.TYPE_STRING,
        bytes: field.TYPE_BYTES,
    }
    file = descriptors.FileDescriptorProto(
        name="benchmark.proto", package="benchmark", syntax="proto3"
    )

    def define(name: str, example: dict[str, Any]) -> None:
        message = file.message_type.add(name=name)
        for position, (key, value) in enumerate(example.items(), 1):
            entry = message.field.add(
                name=key, number=position, label=field.LABEL_OPTIONAL
            )
            if isinstance(value, list):
                entry.label, value = field.LABEL_REPEATED, value[0]
            if isinstance(value, dict):
                define(key.title(), value)
                entry.type = field.TYPE_MESSAGE
                entry.type_name = f".benchmark.{key.title()}"
            else:
                entry.type = scalars[type(value)]

    for name, example in examples.items():
        define(name, example)
    pool = pools.DescriptorPool()
    pool.Add(file)
    return {
        name: factory.GetMessageClass(pool.FindMessageTypeByName(f"benchmark.{name}"))
        for name in examples
    }


_messages = _message_classes(
    Pair={"a": 1, "b": 1},
    Number={"value": 1},
    Blob={"data": b""},
    Document=document(),
)
_Pair, _Number = _messages["Pair"], _messages["Number"]
_Blob, _Document = _messages["Blob"], _messages["Document"]


async def _add(request: Any, context: Any) -> Any:
    return _Number(value=request.a + request.b)


async def _same(request: Any, context: Any) -> Any:
    return request


async def _sink(request: Any, context: Any) -> Any:
    return _Number(value=len(request.data))


#: The methods: what runs, what it takes, what it gives.
_METHODS: Final = {
    "Add": (_add, _Pair, _Number),
    "Echo": (_same, _Document, _Document),
    "Blob": (_same, _Blob, _Blob),
    "Sink": (_sink, _Blob, _Number),
}


class _Connection:
    """The client's end.

    Args:
        channel: The connection.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._add, self._echo, self._blob, self._sink = (
            channel.unary_unary(
                f"/benchmark.Benchmark/{name}",
                request_serializer=takes.SerializeToString,
                response_deserializer=gives.FromString,
            )
            for name, (_, takes, gives) in _METHODS.items()
        )

    async def add(self, a: int, b: int) -> Any:
        return (await self._add(_Pair(a=a, b=b))).value

    async def echo(self, value: dict[str, Any]) -> Any:
        return await self._echo(_Document(**value))

    async def blob(self, data: bytes) -> Any:
        return (await self._blob(_Blob(data=data))).data

    async def sink(self, data: bytes) -> Any:
        return (await self._sink(_Blob(data=data))).value


class GrpcPeer(AsyncioPeer):
    """gRPC on asyncio."""

    works = frozenset({"W1", "W2", "W2k", "W3", "W4", "W4b", "W6"})

    async def serve(self) -> str:
        """Serve the methods."""
        handlers = {
            name: _grpc.unary_unary_rpc_method_handler(
                runs, takes.FromString, gives.SerializeToString
            )
            for name, (runs, takes, gives) in _METHODS.items()
        }
        self._server = _aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers(
            [_grpc.method_handlers_generic_handler("benchmark.Benchmark", handlers)]
        )
        port = self._server.add_insecure_port(f"{HOST}:0")
        await self._server.start()
        return str(port)

    async def connect(self, address: str) -> _Connection:
        """Make a channel, which connects at its first call."""
        return _Connection(_aio.insecure_channel(f"{HOST}:{address}", options=_OPTIONS))


if __name__ == "__main__":
    main(GrpcPeer)
