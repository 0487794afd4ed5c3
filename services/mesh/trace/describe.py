"""What a span says of itself in one line: the most telling of its attributes and events. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from libs.telemetry import names
from libs.telemetry.span import Attributes, AttributeValue, EndedSpan, SpanEvent, SpanStatus
from services.mesh.trace.tree import Node

# In the order in which they are shown. What is not here is in the store, and in Jaeger.
_TELLING: Mapping[str, str] = {
    names.OUTCOME: "outcome",
    names.GEN_AI_RESPONSE_MODEL: "model",
    names.ATTEMPT: "attempt",
    names.HEDGE: "hedge",
    names.ROUTE_MODEL: "model",
    names.ROUTE_REASON: "why",
    names.CACHE_VERDICT: "verdict",
    names.CACHE_KIND: "kind",
    names.CACHE_SIMILARITY: "similarity",
    names.CACHE_THRESHOLD: "threshold",
    names.CACHE_AGE_SECONDS: "age_s",
    names.CACHE_BYPASS_REASON: "bypass",
    names.CACHE_SEMANTIC_MISS: "semantic_miss",
    names.CACHE_GUARD: "guard",
    names.CACHE_FILL_RESULT: "fill",
    names.BUDGET_DECISION: "decision",
    names.BUDGET_SCOPES: "scopes",
    names.BUDGET_RESERVED_MICRO_USD: "reserved_micro_usd",
    names.COST_MICRO_USD: "cost_micro_usd",
    names.GEN_AI_USAGE_INPUT_TOKENS: "input_tokens",
    names.GEN_AI_USAGE_OUTPUT_TOKENS: "output_tokens",
    # vLLM still writes the old names.
    "gen_ai.usage.prompt_tokens": "input_tokens",
    "gen_ai.usage.completion_tokens": "output_tokens",
    names.GEN_AI_RESPONSE_FINISH_REASONS: "finish",
    names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: "first_token_s",
    names.ENGINE_QUEUE_SECONDS: "queue_s",
    names.ENGINE_PREFILL_SECONDS: "prefill_s",
    names.ENGINE_DECODE_SECONDS: "decode_s",
    "gen_ai.latency.time_in_queue": "queue_s",
    "gen_ai.latency.time_in_model_prefill": "prefill_s",
    "gen_ai.latency.time_in_model_decode": "decode_s",
    "gen_ai.latency.time_to_first_token": "first_token_s",
    names.GUARD_RULE: "rule",
    names.GUARD_VERDICT: "verdict",
    names.ERROR_TYPE: "error",
}
_EVENTS_SHOWN = 6
_MESSAGE_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Line:
    """A node's line, in parts, so that a terminal may colour them."""

    name: str
    service: str
    duration: str
    offset: str
    failed: bool
    details: tuple[str, ...]


def describe(node: Node, *, origin_unix_nanos: int) -> Line:
    """The line of a node; offsets count from the origin, usually the start of the whole tree."""
    span = node.span
    return Line(
        name=_one_line(span.name),
        service=_one_line(span.service),
        duration=f"{span.duration_ms:.1f} ms",
        offset=_offset(span.start_unix_nanos, origin_unix_nanos),
        failed=span.status is SpanStatus.ERROR,
        details=tuple(_details(node)),
    )


def _details(node: Node) -> Iterator[str]:
    span = node.span
    if node.orphan:
        yield f"(its parent {span.parent_span_id} did not come)"
    if span.status is SpanStatus.ERROR:
        yield f"FAILED: {_one_line(span.status_message)}" if span.status_message else "FAILED"
    code = span.attributes.get(names.RPC_RESPONSE_STATUS_CODE, "OK")
    if code != "OK":
        yield str(code)
    yield from _telling(span.attributes)
    yield from _events(span)
    yield from (f"→ span {link.span_id} of trace {link.trace_id}" for link in span.links)


def _telling(attributes: Attributes) -> Iterator[str]:
    for name, label in _TELLING.items():
        if name in attributes:
            yield f"{label}={_plain(attributes[name])}"


def _events(span: EndedSpan) -> Iterator[str]:
    for event in span.events[:_EVENTS_SHOWN]:
        yield f"• {event.name} {_offset(event.at_unix_nanos, span.start_unix_nanos)}{_event_values(event)}"
    if (hidden := len(span.events) - _EVENTS_SHOWN) > 0:
        yield f"• and {hidden} more events"


def _event_values(event: SpanEvent) -> str:
    """Telling ones alone: an `exception` event carries a whole stack, and says nothing that the status does not."""
    said = " ".join(_telling(event.attributes))
    return f" ({said})" if said else ""


def _offset(at_unix_nanos: int, origin_unix_nanos: int) -> str:
    # Negative where the clocks of two machines disagree.
    return f"{(at_unix_nanos - origin_unix_nanos) / 1e6:+.1f} ms"


def _plain(value: AttributeValue) -> str:
    if isinstance(value, tuple):
        return ",".join(str(each) for each in value)
    return f"{value:.4g}" if isinstance(value, float) else _one_line(str(value))


def _one_line(text: str) -> str:
    """Callers choose some of these texts (a model's name): none may steer the terminal."""
    text = "".join(each if each.isprintable() else "�" for each in " ".join(text.split()))
    return text if len(text) <= _MESSAGE_SHOWN else f"{text[: _MESSAGE_SHOWN - 1]}…"
