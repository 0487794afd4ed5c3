"""An OTLP/gRPC trace receiver for one machine: the embedded trace store's door, and a test's sink."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import grpc.aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from libs.telemetry import names
from libs.telemetry.span import Attributes, AttributeValue, EndedSpan, SpanEvent, SpanKind, SpanLink, SpanStatus

# A batch of 512 spans with many events passes gRPC's 4 MiB.
_MAX_MESSAGE_BYTES = 16 << 20
_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
_KINDS = {
    Span.SPAN_KIND_SERVER: SpanKind.SERVER,
    Span.SPAN_KIND_CLIENT: SpanKind.CLIENT,
    Span.SPAN_KIND_PRODUCER: SpanKind.PRODUCER,
    Span.SPAN_KIND_CONSUMER: SpanKind.CONSUMER,
}
_STATUSES = {Status.STATUS_CODE_OK: SpanStatus.OK, Status.STATUS_CODE_ERROR: SpanStatus.ERROR}


class SpanSink(Protocol):
    """Takes ended spans, in no particular order; a span may come twice, and its parent later or never.

    An exception loses the batch: the sender is told, and goes on.
    """

    async def take(self, spans: Sequence[EndedSpan]) -> None:
        """Returns once the spans are the sink's: what is lost afterwards is its fault."""
        ...


@asynccontextmanager
async def otlp_receiver(
    address: str,
    *,
    sink: SpanSink,
    drain_seconds: float = 1.0,
    credentials: grpc.ServerCredentials | None = None,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
) -> AsyncIterator[str]:
    """Receives at `address`, yields the bound one. Without credentials it is plaintext and open: for loopback and unix
    sockets alone.

    OSError when the address is taken.
    """
    # Without this option two processes would share the port, and each would see half of a trace.
    server = grpc.aio.server(
        interceptors=tuple(interceptors),
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES)],
    )
    add_TraceServiceServicer_to_server(_Receiver(sink), server)  # type: ignore[no-untyped-call] # generated, untyped
    try:
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"traces: cannot listen on {address}: {error}") from error
    await server.start()
    try:
        yield address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
    finally:
        await server.stop(drain_seconds)


class _Receiver(TraceServiceServicer):
    def __init__(self, sink: SpanSink) -> None:
        self._sink = sink

    async def Export(
        self, request: ExportTraceServiceRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> ExportTraceServiceResponse:
        spans = list(ended_spans(request))
        rejected = _count(request) - len(spans)
        await self._sink.take(spans)
        if not rejected:
            return ExportTraceServiceResponse()
        message = f"{rejected} spans without a whole trace id or span id"
        return ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
        )


def ended_spans(request: ExportTraceServiceRequest) -> Iterator[EndedSpan]:
    """The spans of an export, but for those that nobody could find again: whose ids are not whole."""
    for resource_spans in request.resource_spans:
        service = str(_attributes(resource_spans.resource.attributes).get(names.SERVICE_NAME, ""))
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                if len(span.trace_id) == _TRACE_ID_BYTES and len(span.span_id) == _SPAN_ID_BYTES:
                    yield _ended_span(span, service)


def _count(request: ExportTraceServiceRequest) -> int:
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


def _ended_span(span: Span, service: str) -> EndedSpan:
    return EndedSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        name=span.name,
        service=service,
        kind=_KINDS.get(span.kind, SpanKind.INTERNAL),
        start_unix_nanos=span.start_time_unix_nano,
        end_unix_nanos=span.end_time_unix_nano,
        status=_STATUSES.get(span.status.code, SpanStatus.UNSET),
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=tuple(SpanEvent(each.name, each.time_unix_nano, _attributes(each.attributes)) for each in span.events),
        links=tuple(SpanLink(each.trace_id.hex(), each.span_id.hex()) for each in span.links),
    )


def _attributes(pairs: Iterable[KeyValue]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> AttributeValue:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(str(_value(each)) for each in value.array_value.values)
    if kind in ("string_value", "bool_value", "int_value", "double_value"):
        plain: AttributeValue = getattr(value, kind)
        return plain
    # Bytes and maps: legal, never sent by us, shown as they are.
    return str(value).strip()
