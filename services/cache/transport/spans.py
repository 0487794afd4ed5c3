"""What the cache says on the span of the call that it serves."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.trace import Span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from libs.telemetry import names
from services.cache.domain.flight import Follow, Lead
from services.cache.domain.found import Bypass, Found, Hit, LookupEvent, Miss, SemanticMiss
from services.cache.domain.model import Tier
from services.cache.domain.stats import FillResult

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACEPARENT = "traceparent"
_VERDICTS = {Hit: "hit", Miss: "miss", Bypass: "bypass", Lead: "miss", Follow: "shared"}


def current_traceparent() -> str:
    """The current span, to be found again from the answer that it stores; empty outside of one."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(_TRACEPARENT, "")


def tell_tier(tier: Tier) -> None:
    """How far the lookup may go."""
    trace.get_current_span().set_attribute(names.CACHE_TIER, tier.name.lower())


def tell(event: LookupEvent) -> None:
    """Of the verdicts, the last one stands."""
    if isinstance(event, Found):
        span = trace.get_current_span()
        span.set_attribute(names.CACHE_VERDICT, _VERDICTS[type(event.verdict)])
        match event.verdict:
            case Hit():
                _tell_hit(span, event.verdict)
            case Lead() if not event.semantic_pending:
                span.set_attribute(names.CACHE_FLIGHT, "led")
            case Follow(_, leader) if not event.semantic_pending:
                # Linked to the one that leads, in the trace of the request that generates.
                span.set_attribute(names.CACHE_FLIGHT, "followed")
                _link(span, leader.traceparent)
            case Bypass(reason):
                span.set_attribute(names.CACHE_BYPASS_REASON, reason)
        if event.semantic is not None:
            _tell_miss(span, event.semantic)


def _tell_hit(span: Span, hit: Hit) -> None:
    """It also links to the span that stored the answer, in the trace of the request that made it."""
    span.set_attributes({names.CACHE_KIND: hit.kind, names.CACHE_SIMILARITY: hit.similarity})
    span.set_attribute(names.CACHE_AGE_SECONDS, hit.age_seconds)
    if hit.threshold:
        span.set_attribute(names.CACHE_THRESHOLD, hit.threshold)
    if hit.votes:
        span.set_attribute(names.CACHE_VOTES, hit.votes)
    _link(span, hit.answer.source_traceparent)


def _tell_miss(span: Span, miss: SemanticMiss) -> None:
    span.set_attribute(names.CACHE_SEMANTIC_MISS, miss.reason)
    if miss.threshold:
        span.set_attribute(names.CACHE_THRESHOLD, miss.threshold)
    if miss.objection:
        span.set_attribute(names.CACHE_GUARD, miss.objection)


def _link(span: Span, traceparent: str) -> None:
    source = trace.get_current_span(_PROPAGATOR.extract({_TRACEPARENT: traceparent}))
    if source.get_span_context().is_valid:
        span.add_link(source.get_span_context())


def tell_filled(result: FillResult) -> None:
    """What became of the answer."""
    trace.get_current_span().set_attribute(names.CACHE_FILL_RESULT, result)
