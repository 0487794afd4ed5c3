"""What the cache says on the span of the call that it serves."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from libs.telemetry import names
from services.cache.domain.lookup import Bypass, Found, Hit
from services.cache.domain.stats import FillResult

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACEPARENT = "traceparent"


def current_traceparent() -> str:
    """The current span, to be found again from the answer that it stores; empty outside of one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(_TRACEPARENT, "")


def tell_found(found: Found) -> None:
    """A hit also links to the span that stored the answer, in the trace of the request that made it."""
    span = trace.get_current_span()
    span.set_attribute(names.CACHE_VERDICT, type(found).__name__.lower())
    match found:
        case Hit(answer, age_seconds):
            span.set_attributes({names.CACHE_KIND: "exact", names.CACHE_SIMILARITY: 1.0})
            span.set_attribute(names.CACHE_AGE_SECONDS, age_seconds)
            source = trace.get_current_span(_PROPAGATOR.extract({_TRACEPARENT: answer.source_traceparent}))
            if source.get_span_context().is_valid:
                span.add_link(source.get_span_context())
        case Bypass(reason):
            span.set_attribute(names.CACHE_BYPASS_REASON, reason)


def tell_filled(result: FillResult) -> None:
    """What became of the answer."""
    trace.get_current_span().set_attribute(names.CACHE_FILL_RESULT, result)
