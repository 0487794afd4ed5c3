"""Ended spans for tests, short to write."""

from __future__ import annotations

from libs.telemetry.span import AttributeValue, EndedSpan, SpanEvent, SpanKind, SpanLink, SpanStatus

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def ended_span(
    span_id: str,
    *,
    parent: str = "",
    trace_id: str = TRACE_ID,
    name: str = "",
    service: str = "router",
    kind: SpanKind = SpanKind.INTERNAL,
    start_ms: float = 0,
    duration_ms: float = 1,
    status: SpanStatus = SpanStatus.UNSET,
    status_message: str = "",
    events: tuple[SpanEvent, ...] = (),
    links: tuple[SpanLink, ...] = (),
    attributes: dict[str, AttributeValue] | None = None,
) -> EndedSpan:
    """A span by a short id, which is padded to sixteen digits; its times count from 1970."""
    return EndedSpan(
        trace_id=trace_id,
        span_id=span_id.zfill(16),
        parent_span_id=parent and parent.zfill(16),
        name=name or f"span {span_id}",
        service=service,
        kind=kind,
        start_unix_nanos=int(start_ms * 1e6),
        end_unix_nanos=int((start_ms + duration_ms) * 1e6),
        status=status,
        status_message=status_message,
        attributes=attributes or {},
        events=events,
        links=links,
    )
