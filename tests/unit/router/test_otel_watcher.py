"""What the router's domain tells its watcher, as metrics and on the request's span."""

from __future__ import annotations

import pytest

from libs.errors import Reason
from libs.money import Usage
from libs.telemetry import names
from libs.testing.runtime import Recorded, recorded_runtime
from services.router.adapters.otel_watcher import OtelWatcher
from services.router.domain.answer import Outcome, Receipt
from tests.unit.router.asks import TIERS

SMALL = TIERS[0]


def watcher(recorded: Recorded) -> OtelWatcher:
    return OtelWatcher(tracer=recorded.runtime.tracer, registry=recorded.runtime.registry)


def receipt(outcome: Outcome) -> Receipt:
    return Receipt(
        request_id="r-1",
        reservation_id="",
        model=SMALL.name,
        why="",
        usage=Usage(input_tokens=7, output_tokens=3),
        price=SMALL.price,
        cost_micro_usd=9,
        outcome=outcome,
        attempts=1,
        settled=True,
        key_id="ci",
        duration_seconds=2.0,
    )


def test_attempts_are_counted_by_their_results_and_by_what_followed_them() -> None:
    recorded = recorded_runtime()
    told = watcher(recorded)
    told.attempted(SMALL.name, failure=Reason.QUEUE_FULL)
    told.retried(SMALL.name, after=Reason.QUEUE_FULL)
    told.attempted(SMALL.name, failure=Reason.ENGINE_DEAD)
    told.fell_back(SMALL.name, after=Reason.ENGINE_DEAD)
    told.attempted("other", failure=None)
    assert recorded.sample("tokenway_attempts_total", model=SMALL.name, result="queue_full") == 1
    assert recorded.sample("tokenway_attempts_total", model="other", result="begun") == 1
    assert recorded.sample("tokenway_retries_total", model=SMALL.name, reason="queue_full") == 1
    assert recorded.sample("tokenway_fallbacks_total", model=SMALL.name, reason="engine_dead") == 1


def test_load_that_is_shed_is_counted() -> None:
    recorded = recorded_runtime()
    watcher(recorded).refused(Reason.CONCURRENCY_EXCEEDED)
    assert recorded.sample("tokenway_requests_refused_total", reason="concurrency_exceeded") == 1


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Outcome.FINISHED, "success"), (Outcome.CANCELLED, "success"), (Outcome.DEADLINE, "error")],
)
def test_the_end_of_a_request_has_its_overhead_as_a_metric_and_on_its_span(outcome: Outcome, status: str) -> None:
    recorded = recorded_runtime()
    with recorded.runtime.tracer.start_as_current_span("root"):
        watcher(recorded).ended(receipt(outcome), overhead_seconds=0.25)
    assert recorded.sample("llm_requests_total", model=SMALL.name, status=status) == 1
    assert recorded.sample("tokenway_overhead_seconds_sum", model=SMALL.name) == 0.25
    assert (recorded.span("root").attributes or {})[names.OVERHEAD_SECONDS] == 0.25


def test_tokens_are_billed_under_both_names() -> None:
    recorded = recorded_runtime()
    watcher(recorded).ended(receipt(Outcome.FINISHED), overhead_seconds=0)
    conventional = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "tokenway",
        "gen_ai_request_model": SMALL.name,
        "gen_ai_token_type": "output",
    }
    assert recorded.sample("llm_tokens_total", model=SMALL.name, type="output") == 3
    assert recorded.sample("gen_ai_client_token_usage_sum", **conventional) == 3
