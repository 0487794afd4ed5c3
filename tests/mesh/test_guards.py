"""An organisation's guards in the whole mesh: what the engine, the cache, the caller and the trace get to see."""

from __future__ import annotations

from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.redis_client import redis_client
from libs.settings import schema
from libs.telemetry import names
from tests.mesh.in_process import Mesh, default_mesh, events, limit, organisations, question
from tokenway.common.v1 import generation_pb2, money_pb2
from tokenway.router.v1 import router_pb2

IBAN = "DE89 3704 0044 0532 0130 00"
ANN, BOB = "ann@example.com", "bob@example.com"
INPUT = schema.GuardKinds(email="redact", card="block")
OUTPUT = schema.GuardKinds(phone="redact", iban="block")


def guarded(guards: schema.Guards | None = None) -> tuple[schema.Organisation, ...]:
    """The tests' organisation with guards, the other without."""
    given = guards or schema.Guards(input=INPUT, output=OUTPUT, restore=True)
    first, second = organisations(limit("100"), limit("100", "day"))
    return first.model_copy(update={"guards": given}), second


def text(stream: list[router_pb2.StreamGenerateResponse]) -> str:
    return "".join(piece for event in stream for piece in event.delta.text)


def echo(answer: str) -> router_pb2.GenerateRequest:
    """A question whose answer, word by word, is what it says."""
    return question(f"[[echo={answer}]] [[pace=500]]", max_tokens=1_000)


async def spent(mesh: Mesh) -> int:
    await mesh.settled()
    return (await mesh.money())["BUDGET_WINDOW_DAY"][0]


async def test_the_engine_and_the_cache_see_placeholders_and_the_caller_what_they_stand_for(redis_url: str) -> None:
    async with default_mesh(redis_url, organisations=guarded()) as mesh:
        first = await events(mesh, echo(f"write to {ANN} at once"))
        again = await events(mesh, echo(f"write to {BOB} at once"))
        kept = await everything_in(redis_url)
    assert text(first) == f"write to {ANN} at once"
    assert text(again) == f"write to {BOB} at once"
    # The engine got the same question twice, so the second answer is the first one's.
    assert again[0].started.cache_verdict == router_pb2.CACHE_VERDICT_HIT
    assert "<EMAIL_1>" in kept, "the answer is in the cache as the engine gave it"
    assert "@example" not in kept


async def test_a_question_that_holds_what_is_blocked_is_refused_before_anything_is_spent(redis_url: str) -> None:
    async with default_mesh(redis_url, organisations=guarded()) as mesh:
        with pytest.raises(TokenwayError) as caught:
            await events(mesh, question("pay with 4111 1111 1111 1111"))
        spans = {each.name for each in mesh.recorded.spans()}
        bill = await spent(mesh)
    assert caught.value.reason is Reason.CONTENT_REFUSED
    assert caught.value.metadata == {"rule": "pii.card"}
    assert [each.field for each in caught.value.fields] == ["request.conversation.messages[0].parts[0].text"]
    assert bill == 0
    assert spans == {"tokenway.router.v1.RouterService/StreamGenerate", "guard.input"}


async def test_an_answer_that_is_stopped_is_billed_as_far_as_it_went_and_not_kept(redis_url: str) -> None:
    asked = echo(f"please pay {IBAN} " + "and so on " * 200)
    async with default_mesh(redis_url, organisations=guarded()) as mesh:
        stream = await events(mesh, asked)
        bill = await spent(mesh)
        again = await events(mesh, asked)
        engine = next(each for each in mesh.recorded.spans() if each.name == "engine")
    finished = stream[-1].finished
    assert text(stream) == "please pay "
    assert finished.finish_reason == generation_pb2.FINISH_REASON_CONTENT_FILTER
    assert finished.receipt.outcome == money_pb2.OUTCOME_FINISHED
    delivered = sum(sum(each.delta.token_counts) for each in stream)
    assert finished.usage.output_tokens == delivered < 60
    assert finished.receipt.cost_micro_usd == bill == finished.usage.input_tokens + delivered * 10
    assert finished.receipt.settled
    assert again[0].started.cache_verdict == router_pb2.CACHE_VERDICT_MISS
    assert engine.attributes is not None
    assert int(str(engine.attributes[names.GEN_AI_USAGE_OUTPUT_TOKENS])) < 100, "of 608: it was told to stop"


async def test_an_answer_that_is_redacted_is_billed_whole_and_not_kept(redis_url: str) -> None:
    asked = echo("call 415-555-2671 or (415) 555-2671 now")
    async with default_mesh(redis_url, organisations=guarded()) as mesh:
        stream, again = await events(mesh, asked), await events(mesh, asked)
    assert text(stream) == "call <PHONE_1> or <PHONE_2> now"
    assert stream[-1].finished.finish_reason == generation_pb2.FINISH_REASON_STOP
    assert stream[-1].finished.usage.output_tokens == sum(sum(each.delta.token_counts) for each in stream) == 6
    assert again[0].started.cache_verdict == router_pb2.CACHE_VERDICT_MISS


async def test_what_was_cached_before_the_policy_changed_is_guarded_too(redis_url: str) -> None:
    asked = echo(f"pay {IBAN} now")
    async with default_mesh(redis_url) as mesh:
        assert IBAN in text(await events(mesh, asked))
    async with default_mesh(redis_url, organisations=guarded()) as mesh:
        stream = await events(mesh, asked)
    assert stream[0].started.cache_verdict == router_pb2.CACHE_VERDICT_HIT
    assert text(stream) == "pay "
    assert stream[-1].finished.finish_reason == generation_pb2.FINISH_REASON_CONTENT_FILTER
    assert (stream[-1].finished.receipt.outcome, stream[-1].finished.receipt.cost_micro_usd) == (
        money_pb2.OUTCOME_CACHED,
        0,
    )


async def test_a_unary_answer_is_guarded_like_a_stream(redis_url: str) -> None:
    async with default_mesh(redis_url, organisations=guarded()) as mesh:
        whole = await mesh.client.generate(echo(f"{ANN} or 415-555-2671"), timeout_seconds=10)
    assert whole.text == f"{ANN} or <PHONE_1>"


@pytest.mark.parametrize("fault", ["cut_after=3", "stall_after=3"])
async def test_what_is_held_when_an_answer_breaks_off_is_not_delivered(redis_url: str, fault: str) -> None:
    got: list[str] = []
    async with default_mesh(redis_url, organisations=guarded()) as mesh:
        asked = question(f"[[echo=call +1 415 555 2671 now please]] [[fault:{fault}]]")
        with pytest.raises(TokenwayError) as caught:
            await read(mesh, asked, into=got)
        bill = await spent(mesh)
    assert caught.value.reason in {Reason.STREAM_BROKEN, Reason.OUT_OF_TIME}
    assert "".join(got) == "call "
    assert bill > 0, "what the engine made was paid for"


async def read(mesh: Mesh, asked: router_pb2.GenerateRequest, *, into: list[str]) -> None:
    async with mesh.client.stream_generate(asked, timeout_seconds=3) as stream:
        async for event in stream:
            into += event.delta.text


async def test_the_trace_says_what_was_decided(redis_url: str) -> None:
    async with default_mesh(redis_url, organisations=guarded()) as mesh:
        await events(mesh, echo(f"{ANN} or 415-555-2671"))
        await mesh.settled()
        spans = mesh.recorded.spans()
        counted = mesh.metrics["router"].sample
        verdicts = [
            counted("tokenway_guard_verdicts_total", rule=rule, direction=direction, action="redact")
            for rule, direction in (("pii.email", "input"), ("pii.phone", "output"))
        ]
        holds = counted("tokenway_guard_held_seconds_count"), counted("tokenway_guard_held_characters_count")
    root = next(each for each in spans if each.name.endswith("StreamGenerate"))
    children = sorted(
        (each for each in spans if each.parent and root.context and each.parent.span_id == root.context.span_id),
        key=lambda each: each.start_time or 0,
    )
    order = [each.name for each in children]
    assert order[:2] == ["guard.input", "route"]
    later = ("chat small", "guard.output", "tokenway.budget.v1.BudgetService/Settle")
    assert [each for each in order if each in later] == list(later)
    assert [decided(each) for each in spans if each.name.startswith("guard.")] == [
        [("pii.email", "redact")],
        [("pii.phone", "redact")],
    ]
    assert verdicts == [1, 1]
    assert holds == (1, 1)


async def test_an_organisation_without_guards_is_left_alone(redis_url: str) -> None:
    guards = schema.Guards()
    async with default_mesh(redis_url) as mesh:
        assert text(await events(mesh, echo(f"{ANN} {IBAN}"))) == f"{ANN} {IBAN}"
        assert not [each.name for each in mesh.recorded.spans() if each.name.startswith("guard.")]
    async with default_mesh(redis_url, organisations=guarded(guards)) as mesh:
        assert text(await events(mesh, echo(f"{ANN} {IBAN}"))) == f"{ANN} {IBAN}"
        assert not [each.name for each in mesh.recorded.spans() if each.name.startswith("guard.")]


def decided(span: Any) -> list[tuple[str, str]]:
    """Rule and verdict of each event."""
    return [(each.attributes[names.GUARD_RULE], each.attributes[names.GUARD_VERDICT]) for each in span.events]


async def everything_in(redis_url: str) -> str:
    """All answers of the cache."""
    async with redis_client(redis_url) as redis:
        keys = await redis.keys("tw:cache:*:answer:*")
        return repr([await redis.hgetall(key) for key in keys])
