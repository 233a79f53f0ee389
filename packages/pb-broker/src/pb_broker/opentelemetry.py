"""This module makes OpenTelemetry spans of calls.

It needs ``opentelemetry-api``: install ``pb-broker[opentelemetry]``.  Give an observer
to a factory, and each call that is made over its connections has a span of the kind
*client*, and each call that is taken one of the kind *server*, which is the current
span for the method and its awaits::

    factory = pb.PBServerFactory(root, observer=OpenTelemetryObserver())

Where both ends speak "pb2", a call takes the context of its span along (W3C
``traceparent``), so that the span of the one end is the parent of that of the other.
In "pb", which has no place for it, the spans of the two ends are not linked.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import (
    TraceContextTextMapPropagator,
)

from ._session.observers import ObservedCall

__all__ = ["OpenTelemetryObserver"]

#: Baggage is not taken from a peer, nor given to one.
_trace_context: Final = TraceContextTextMapPropagator()

_SYSTEM = "perspective_broker"
#: Name, by the conventions of OpenTelemetry, for all methods that the server does not
#: have: a peer chooses those names, and could make up any number of them.
_UNKNOWN = "_OTHER"


class OpenTelemetryObserver:
    """An observer that makes spans of calls.

    Attributes of a span: ``rpc.system`` is ``"perspective_broker"``, ``rpc.method`` the
    method's name without its prefix, ``network.peer.address`` and ``network.peer.port``
    the other end, if it has them.  The span has the method's name too; both are
    ``_OTHER`` for a call that comes in and has no method here.  A call that fails sets
    the span's status to *error*, with ``error.type``; the text of the error is not
    recorded, since it may be the peer's to choose.

    Args:
        tracer_provider: The provider of the tracer; None for the global one.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("pb_broker", tracer_provider=tracer_provider)

    def on_call(self, call: ObservedCall, /) -> None:
        """Begin a span."""
        kind = SpanKind.CLIENT if call.is_outgoing else SpanKind.SERVER
        name = _name(call)
        parent = None
        if call.metadata and not call.is_outgoing:
            parent = _trace_context.extract(call.metadata)
        span = self._tracer.start_span(
            name, context=parent, kind=kind, attributes=_attributes(call, name)
        )
        call.state = span
        if call.is_outgoing:
            _trace_context.inject(call.metadata, trace.set_span_in_context(span))
        else:
            # The method runs in a context of its own, which this is called in.
            context.attach(trace.set_span_in_context(span, parent))

    def on_answer(self, call: ObservedCall, error: Exception | None, /) -> None:
        """End the span."""
        span: Span = call.state
        if error is not None:
            kind = type(error).__qualname__
            span.set_attribute("error.type", kind)
            span.set_status(Status(StatusCode.ERROR, kind))
        span.end()


def _name(call: ObservedCall) -> str:
    """Return the method's name, or one name for all that the program does not have."""
    return call.method if call.is_exposed else _UNKNOWN


def _attributes(call: ObservedCall, name: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {"rpc.system": _SYSTEM, "rpc.method": name}
    peer = call.broker.transport.getPeer()
    for name, attribute in (
        ("host", "network.peer.address"),
        ("port", "network.peer.port"),
    ):
        value = getattr(peer, name, None)
        if value is not None:
            attributes[attribute] = value
    return attributes
