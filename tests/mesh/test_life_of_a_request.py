"""The README's life of a request, executed: every step, and the edges of its one trace."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from libs.errors import Reason, TokenwayError
from libs.telemetry import names
from tests.mesh.in_process import Mesh, default_mesh, events, limit, organisations, question
from tokenway.common.v1 import generation_pb2, money_pb2
from tokenway.router.v1 import router_pb2

QUESTION = question("What is the capital of France?")
# Name of a span → the names of its children, in the order in which they began.
TREE = {
    "tokenway.router.v1.RouterService/StreamGenerate": [
        "route",
        "tokenway.cache.v1.CacheService/Lookup",
        "tokenway.budget.v1.BudgetService/Reserve",
        "chat small",
        "tokenway.budget.v1.BudgetService/Settle",
        "tokenway.cache.v1.CacheService/Fill",
    ],
    "tokenway.cache.v1.CacheService/Lookup": ["tokenway.cache.v1.CacheService/Lookup"],
    "tokenway.budget.v1.BudgetService/Reserve": ["tokenway.budget.v1.BudgetService/Reserve"],
    "chat small": ["tokenway.inference.v1.InferenceService/Generate"],
    "tokenway.inference.v1.InferenceService/Generate": ["engine"],
    "tokenway.budget.v1.BudgetService/Settle": ["tokenway.budget.v1.BudgetService/Settle"],
    "tokenway.cache.v1.CacheService/Fill": ["tokenway.cache.v1.CacheService/Fill"],
}


async def test_a_request_is_answered_paid_for_and_traced_to_the_engine(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        started, *deltas, finished = await events(mesh, QUESTION)
        used, reserved = (await mesh.money())["BUDGET_WINDOW_DAY"]

    assert started.started.model == "small"
    assert started.started.why == "the only one that qualifies"
    assert started.started.cache_verdict == router_pb2.CACHE_VERDICT_MISS
    assert all(each.WhichOneof("event") == "delta" for each in deltas)
    receipt = finished.finished.receipt
    assert finished.finished.finish_reason == generation_pb2.FINISH_REASON_STOP
    assert receipt.usage.output_tokens == sum(sum(each.delta.token_counts) for each in deltas) == 8
    assert receipt.outcome == money_pb2.OUTCOME_FINISHED
    # A dollar per million tokens in, ten out, rounded up once.
    assert receipt.cost_micro_usd == receipt.usage.input_tokens * 1 + 8 * 10
    assert (used, reserved) == (receipt.cost_micro_usd, 0)
    assert receipt.settled
    assert_one_tree(mesh.recorded.spans(), started.started.request_id)


async def test_the_same_question_again_is_answered_from_the_cache_for_nothing(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        first, second = await events(mesh, QUESTION), await events(mesh, QUESTION)
        spent, _ = (await mesh.money())["BUDGET_WINDOW_DAY"]
        await mesh.settled()
        hit_rate = mesh.metrics["cache"].sample("llm_cache_hit_rate")

    assert second[0].started.cache_verdict == router_pb2.CACHE_VERDICT_HIT
    assert text(second) == text(first)
    receipt = second[-1].finished.receipt
    assert (receipt.cost_micro_usd, receipt.outcome) == (0, money_pb2.OUTCOME_CACHED)
    assert receipt.cached.source_request_id == first[0].started.request_id
    assert receipt.cached.original_usage == first[-1].finished.usage
    assert spent == first[-1].finished.receipt.cost_micro_usd
    assert hit_rate == 0.5


async def test_a_spent_budget_refuses_with_the_limit_and_still_serves_hits(redis_url: str) -> None:
    # A thousandth of a dollar pays for one answer of 64 tokens at most, not for a second of 90 beside it.
    async with default_mesh(redis_url, organisations=organisations(limit("0.001"))) as mesh:
        first = await events(mesh, QUESTION)
        later = await refused(mesh, question("Something else", max_tokens=90))
        never = await refused(mesh, question("Something else", max_tokens=200))
        again = await events(mesh, QUESTION)
        await mesh.settled()
    spent = first[-1].finished.receipt.cost_micro_usd
    assert later.metadata == {
        "scope": "organisation",
        "subject": "",
        "window": "hour",
        "kind": "money",
        "limit": "1000",
        "used": str(spent),
        "reserved": "0",
        "needed": later.metadata["needed"],
    }
    assert int(later.metadata["needed"]) > 1000 - spent
    assert later.retry_after_seconds is not None
    assert 0 < later.retry_after_seconds <= 3_600
    assert never.retry_after_seconds is None, "what can never fit must not be tried again"
    assert text(again) == text(first)


async def test_a_unary_call_is_the_same_path_collected(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        whole = await mesh.client.generate(QUESTION, timeout_seconds=10)
        streamed = await events(mesh, QUESTION)
    assert whole.text == text(streamed)
    assert whole.finished.usage.output_tokens == 8
    assert streamed[0].started.cache_verdict == router_pb2.CACHE_VERDICT_HIT


async def test_what_was_used_is_counted_under_the_names_that_dashboards_know(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        finished = (await events(mesh, QUESTION))[-1].finished
        await mesh.settled()
        counted = mesh.metrics["router"].sample
        assert counted("llm_requests_total", model="small", status="success") == 1
        assert counted("llm_tokens_total", model="small", type="output") == 8
        assert counted("llm_tokens_total", model="small", type="input") == finished.usage.input_tokens
        cost_dollars = counted("llm_estimated_cost_dollars_total", model="small")
        assert cost_dollars == pytest.approx(finished.receipt.cost_micro_usd / 1e6)
        assert counted("llm_ttft_seconds_count", model="small") == 1
        assert counted("llm_latency_seconds_count", model="small") == 1


async def refused(mesh: Mesh, request: router_pb2.GenerateRequest) -> TokenwayError:
    with pytest.raises(TokenwayError) as caught:
        await events(mesh, request)
    assert caught.value.reason is Reason.BUDGET_EXCEEDED
    return caught.value


def text(stream: Iterable[router_pb2.StreamGenerateResponse]) -> str:
    return "".join(piece for event in stream for piece in event.delta.text)


def assert_one_tree(spans: Iterable[ReadableSpan], request_id: str) -> None:
    by_id = {each.context.span_id: each for each in spans if each.context and of_request(each)}
    roots = [each for each in by_id.values() if each.parent is None]
    assert [each.name for each in roots] == ["tokenway.router.v1.RouterService/StreamGenerate"]
    assert roots[0].attributes is not None
    assert roots[0].attributes[names.REQUEST_ID] == request_id
    for span in by_id.values():
        assert span.parent is None or span.parent.span_id in by_id, f"{span.name} is an orphan"
    for parent, expected in TREE.items():
        found = [
            child.name for each in by_id.values() if each.name == parent for child in children(each, by_id.values())
        ]
        assert sorted(found) == sorted(expected), parent
    engine = next(each for each in by_id.values() if each.name == "engine")
    attempt = next(each for each in by_id.values() if each.name == "chat small")
    assert engine.context.trace_id == attempt.context.trace_id == roots[0].context.trace_id
    assert attempt.attributes is not None
    assert attempt.attributes[names.GEN_AI_USAGE_OUTPUT_TOKENS] == 8


def of_request(span: ReadableSpan) -> bool:
    return "GetUsage" not in span.name


def children(span: ReadableSpan, spans: Iterable[ReadableSpan]) -> list[ReadableSpan]:
    return [each for each in spans if each.parent is not None and each.parent.span_id == span.context.span_id]
