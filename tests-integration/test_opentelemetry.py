"""Spans of calls, as OpenTelemetry's own SDK collects them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from twisted.internet.defer import Deferred

import pb_broker as pb
from pb_broker import asyncio as pb_asyncio
from pb_broker.opentelemetry import OpenTelemetryObserver
from pb_broker.testing import Pair, connected_pair


class Spans:
    """A provider, with its collected spans."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")
        self.observer = OpenTelemetryObserver(self.provider)

    def named(self, name: str, kind: SpanKind) -> Any:
        """Return the one span of a name and a kind."""
        (span,) = (
            span
            for span in self.exporter.get_finished_spans()
            if (span.name, span.kind) == (name, kind)
        )
        return span


@pytest.fixture
def spans() -> Iterator[Spans]:
    spans = Spans()
    yield spans
    spans.provider.shutdown()


class Root(pb.Root):
    def __init__(self, spans: Spans) -> None:
        self.spans = spans
        self.waiting: Deferred[None] = Deferred()

    async def remote_work(self) -> str:
        await self.waiting
        with self.spans.tracer.start_as_current_span("inner"):
            return "done"

    def remote_fail(self) -> None:
        raise ValueError("secret")


def connected(spans: Spans) -> Pair:
    return connected_pair(
        server_factory=pb.PBServerFactory(Root(spans), observer=spans.observer),
        client_factory=pb.PBClientFactory(observer=spans.observer),
    )


def test_spans_of_a_call(spans: Spans) -> None:
    pair = connected(spans)
    root = pair.client.remoteForName("root")
    with spans.tracer.start_as_current_span("outer"):
        call = root.callRemote("work")
    pair.flush()
    assert spans.exporter.get_finished_spans()[-1].name == "outer"
    pair.server.factory.root.waiting.callback(None)
    pair.flush()
    assert call.result == "done"
    client = spans.named("work", SpanKind.CLIENT)
    server = spans.named("work", SpanKind.SERVER)
    inner = spans.named("inner", SpanKind.INTERNAL)
    outer = spans.named("outer", SpanKind.INTERNAL)
    assert client.parent.span_id == outer.context.span_id
    assert inner.parent.span_id == server.context.span_id
    assert server.parent is None
    assert client.attributes["rpc.system"] == "perspective_broker"
    assert client.attributes["rpc.method"] == "work"
    assert client.attributes["network.peer.address"] == "127.0.0.1"
    assert client.status.status_code is StatusCode.UNSET
    # What was set for a method is gone with it.
    assert not trace.get_current_span().get_span_context().is_valid
    pair.close()


def test_spans_of_a_failing_call(spans: Spans) -> None:
    pair = connected(spans)
    call = pair.client.remoteForName("root").callRemote("fail")
    call.addErrback(lambda failure: failure.trap(pb.RemoteError))
    pair.flush()
    for kind, error in (
        (SpanKind.CLIENT, "RemoteValueError"),
        (SpanKind.SERVER, "ValueError"),
    ):
        span = spans.named("fail", kind)
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"] == error
        assert "secret" not in span.to_json()
    pair.close()


class Desk(pb.Viewable):
    def view_look(self, perspective: Any) -> str:
        return "a desk"

    @pb.remote
    def read(self, perspective: Any) -> str:
        return "a book"


class Avatar:
    """An object that is no flavor, behind a reference of its own."""

    def perspectiveMessageReceived(self, broker: Any, name: str, a: Any, k: Any) -> str:
        return "done"


class Objects(pb.Root):
    def remote_desk(self) -> Any:
        return Desk()

    def remote_avatar(self) -> Any:
        return pb.AsReferenceable(Avatar(), "perspective")

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("remote_any"):
            raise AttributeError(name)
        return lambda: name


def test_spans_have_names_of_exposed_methods_alone(spans: Spans) -> None:
    factory = pb.PBServerFactory(Objects(), observer=spans.observer)
    pair = connected_pair(server_factory=factory)
    root = pair.client.remoteForName("root")
    found: list[Any] = []
    for name in ("desk", "avatar"):
        root.callRemote(name).addCallback(found.append)
    pair.flush()
    desk, avatar = found
    calls: list[tuple[Any, str | bytes]] = [
        (desk, "look"),
        (desk, "read"),
        (desk, "remote_look"),
        (root, "any\n\x1b"),
        (root, "no_such_method"),
        (root, b"\xff"),
        (root, "__init__"),
        (avatar, "whatever"),
        (avatar, "__class__"),
    ]
    for target, called in calls:
        target.callRemote(called).addErrback(lambda _: None)
    pair.flush()
    finished: Any = spans.exporter.get_finished_spans()
    names = {span.name for span in finished}
    methods = {span.attributes["rpc.method"] for span in finished}
    assert names == methods == {"desk", "avatar", "look", "read", "_OTHER"}
    pair.close()


def test_spans_of_a_call_on_asyncio(spans: Spans) -> None:
    class Here(pb.Root):
        async def remote_work(self) -> str:
            await asyncio.sleep(0)
            with spans.tracer.start_as_current_span("inner"):
                return "done"

    async def main() -> None:
        server = pb.PBServerFactory(Here(), observer=spans.observer)
        client = pb.PBClientFactory(observer=spans.observer)
        async with (
            pb_asyncio.serve("tcp:0:interface=127.0.0.1", server) as serving,
            pb_asyncio.client(f"tcp:127.0.0.1:{serving.port}", factory=client) as root,
        ):
            with spans.tracer.start_as_current_span("outer"):
                assert await root.callRemote("work") == "done"

    asyncio.run(main())
    client = spans.named("work", SpanKind.CLIENT)
    server = spans.named("work", SpanKind.SERVER)
    assert (
        client.parent.span_id == spans.named("outer", SpanKind.INTERNAL).context.span_id
    )
    assert spans.named("inner", SpanKind.INTERNAL).parent.span_id == (
        server.context.span_id
    )


@pytest.mark.dialect("pb2")
def test_span_of_the_server_is_a_child_of_the_callers(spans: Spans) -> None:
    pair = connected(spans)
    pair.server.factory.root.waiting.callback(None)
    call = pair.client.remoteForName("root").callRemote("work")
    pair.flush()
    assert call.result == "done"
    client = spans.named("work", SpanKind.CLIENT)
    server = spans.named("work", SpanKind.SERVER)
    assert server.parent.span_id == client.context.span_id
    assert server.context.trace_id == client.context.trace_id
    assert spans.named("inner", SpanKind.INTERNAL).parent.span_id == (
        server.context.span_id
    )


@pytest.mark.dialect("pb2")
@pytest.mark.parametrize("text", ["", "nonsense", "00-" + "0" * 32 + "-1-01"])
def test_malformed_context_of_a_peers_begins_a_trace(spans: Spans, text: str) -> None:
    class Bad:
        def on_call(self, call: pb.ObservedCall, /) -> None:
            call.metadata["traceparent"] = text

        def on_answer(self, call: pb.ObservedCall, error: Any, /) -> None:
            """Do nothing."""

    pair = connected_pair(
        server_factory=pb.PBServerFactory(Root(spans), observer=spans.observer),
        client_factory=pb.PBClientFactory(observer=Bad()),
    )
    pair.server.factory.root.waiting.callback(None)
    call = pair.client.remoteForName("root").callRemote("work")
    pair.flush()
    assert call.result == "done"
    assert spans.named("work", SpanKind.SERVER).parent is None
