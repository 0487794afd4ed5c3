"""What the router decides, as spans and metrics; soft limits that are passed as lines of the log, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Tracer
from opentelemetry.util.types import AttributeValue
from prometheus_client import CollectorRegistry

from libs.errors import Reason
from libs.telemetry import names
from libs.telemetry.metrics import RequestMetrics
from services.router.adapters.attempt_metrics import AttemptMetrics
from services.router.adapters.guard_metrics import GuardMetrics
from services.router.domain.answer import Outcome, Receipt
from services.router.domain.guards.policy import Direction, Verdict
from services.router.domain.ports import PassedLimit
from services.router.domain.principal import Principal
from services.router.domain.route import Plan

# A caller that leaves got what it wanted until then; that is nobody's error.
_ERRORS = frozenset({Outcome.FAILED, Outcome.DEADLINE})
# The result of an attempt that gave its first token.
_BEGUN = "begun"
_GUARD_SPANS = {Direction.INPUT: names.SPAN_GUARD_INPUT, Direction.OUTPUT: names.SPAN_GUARD_OUTPUT}


class OtelWatcher:
    """Describes the current span, the RPC's, and counts."""

    def __init__(self, *, tracer: Tracer, registry: CollectorRegistry) -> None:
        self._tracer = tracer
        self._metrics = RequestMetrics(registry)
        self._tries, self._guards = AttemptMetrics(registry), GuardMetrics(registry)
        self._log = structlog.get_logger("budget")

    def refused(self, reason: Reason) -> None:
        self._tries.refused(reason)

    def routed(self, plan: Plan) -> None:
        with self._tracer.start_as_current_span(names.SPAN_ROUTE, kind=SpanKind.INTERNAL) as span:
            for verdict in plan.verdicts:
                attributes: dict[str, AttributeValue] = {
                    names.ROUTE_MODEL: verdict.model.name,
                    names.ROUTE_SCORE: verdict.expected_cost_micro_usd,
                    names.ROUTE_REASON: "; ".join(verdict.reasons) or "qualifies",
                }
                span.add_event(names.EVENT_CANDIDATE, attributes)
            if plan.candidates:
                span.set_attribute(names.ROUTE_MODEL, plan.candidates[0].name)
            span.set_attribute(names.ROUTE_REASON, plan.why)

    @contextmanager
    def guarding(self, direction: Direction) -> Iterator[Callable[[Verdict], None]]:
        # Not the current span: an answer's is open while other things happen.
        with self._tracer.start_span(
            _GUARD_SPANS[direction], kind=SpanKind.INTERNAL, record_exception=False, set_status_on_exception=False
        ) as span:

            def judged(verdict: Verdict) -> None:
                self._guards.judged(direction, verdict)
                attributes = {names.GUARD_RULE: verdict.rule, names.GUARD_VERDICT: verdict.action}
                span.add_event(names.EVENT_GUARD_VERDICT, attributes)

            yield judged

    def held(self, *, seconds: float, characters: int) -> None:
        self._guards.held(seconds=seconds, characters=characters)

    def first_token(self, model: str, *, after_seconds: float) -> None:
        self._metrics.first_token(model, after_seconds=after_seconds)
        span = trace.get_current_span()
        span.add_event(names.EVENT_FIRST_TOKEN)
        span.set_attribute(names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, after_seconds)

    def discarded(self, model: str, *, tokens: int) -> None:
        self._tries.discarded(model, tokens=tokens)

    def attempted(self, model: str, *, failure: Reason | None) -> None:
        self._tries.attempted(model, failure or _BEGUN)

    def retried(self, model: str, *, after: Reason) -> None:
        self._tries.retried(model, after)

    def fell_back(self, model: str, *, after: Reason) -> None:
        self._tries.fell_back(model, after)

    def warned(self, principal: Principal, passed: Sequence[PassedLimit]) -> None:
        limits = [str(each) for each in passed]
        self._log.warning(
            "soft limits are passed", organisation=principal.organisation, key_id=principal.key_id, limits=limits
        )
        trace.get_current_span().set_attribute(names.BUDGET_SOFT_LIMITS, limits)

    def ended(self, receipt: Receipt, *, overhead_seconds: float) -> None:
        usage = receipt.usage
        self._metrics.ended(
            receipt.model,
            "error" if receipt.outcome in _ERRORS else "success",
            duration_seconds=receipt.duration_seconds,
            overhead_seconds=overhead_seconds,
        )
        self._metrics.used(
            receipt.model,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_micro_usd=receipt.cost_micro_usd,
        )
        span = trace.get_current_span()
        span.set_attribute(names.GEN_AI_RESPONSE_MODEL, receipt.model)
        span.set_attribute(names.OUTCOME, receipt.outcome.lower())
        span.set_attribute(names.COST_MICRO_USD, receipt.cost_micro_usd)
        span.set_attribute(names.OVERHEAD_SECONDS, overhead_seconds)
        span.set_attribute(names.KEY_ID, receipt.key_id)
        span.set_attribute(names.GEN_AI_USAGE_INPUT_TOKENS, usage.input_tokens)
        span.set_attribute(names.GEN_AI_USAGE_OUTPUT_TOKENS, usage.output_tokens)
