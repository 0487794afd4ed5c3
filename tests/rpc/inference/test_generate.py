"""Generate, through a real server: the events, the errors, and the end of the engine's work."""

from __future__ import annotations

import asyncio

import pytest

from libs.errors import Reason, TokenwayError
from libs.telemetry import names
from tests.rpc.inference.served import GENERATE, Served, generate
from tokenway.common.v1 import generation_pb2, money_pb2
from tokenway.inference.v1 import inference_pb2 as pb


async def test_an_answer_is_streamed_and_its_usage_is_what_came(inference: Served) -> None:
    started, *deltas, finished = await inference.generate(generate("One two three"))
    assert started == pb.Started(input_tokens=3)
    assert sum(count for delta in deltas for count in delta.token_counts) == 8
    assert finished.finish_reason == generation_pb2.FINISH_REASON_STOP
    assert finished.usage == money_pb2.Usage(input_tokens=3, output_tokens=8, source=money_pb2.USAGE_SOURCE_ENGINE)


async def test_max_tokens_ends_the_answer(inference: Served) -> None:
    *_, finished = await inference.generate(generate(max_tokens=2))
    assert finished.finish_reason == generation_pb2.FINISH_REASON_LENGTH
    assert finished.usage.output_tokens == 2


async def test_every_broken_rule_is_told_with_its_field(inference: Served) -> None:
    request = generate("", temperature=9)
    request.model = "huge"
    with pytest.raises(TokenwayError) as refused:
        await inference.generate(request)
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert [each.field for each in refused.value.fields] == ["model", "input.prompt", "input.sampling.temperature"]


async def test_a_prompt_that_is_too_long_is_refused_with_the_numbers(inference: Served) -> None:
    with pytest.raises(TokenwayError) as refused:
        await inference.generate(generate("word " * 600))
    assert refused.value.reason is Reason.CONTEXT_TOO_LONG
    assert refused.value.metadata == {"input_tokens": "600", "context_window_tokens": "512"}


async def test_a_full_queue_says_when_to_come_again(inference: Served) -> None:
    with pytest.raises(TokenwayError) as refused:
        await inference.generate(generate("[[fault:overloaded=2]]"))
    assert (refused.value.reason, refused.value.retry_after_seconds) == (Reason.QUEUE_FULL, 2.0)


async def test_an_answer_that_breaks_off_is_no_answer(inference: Served) -> None:
    for fault in ("[[fault:cut_after=3]]", "[[fault:no_finish_after=3]]"):
        with pytest.raises(TokenwayError) as broken:
            await inference.generate(generate(fault))
        assert broken.value.reason is Reason.STREAM_BROKEN


async def test_a_caller_that_leaves_ends_the_engines_work(inference: Served) -> None:
    async with inference.client.stream(GENERATE, generate("[[fault:stall_after=2]]")) as stream:
        async for event in stream:
            if event.WhichOneof("event") == "delta":
                break
    # There is one turn: this would wait for ever.
    await inference.generate(generate(), timeout_seconds=5)
    await inference.left_alone()
    span = next(span for span in inference.recorded.spans() if span.name == names.SPAN_ENGINE)
    assert names.EVENT_ABORTED in [event.name for event in span.events]


async def test_a_deadline_ends_the_engines_work(inference: Served) -> None:
    with pytest.raises(TokenwayError) as late:
        await inference.generate(generate("[[fault:stall_after=2]]"), timeout_seconds=0.2)
    assert late.value.reason is Reason.OUT_OF_TIME
    await inference.generate(generate(), timeout_seconds=5)
    await inference.left_alone()


async def test_many_callers_that_leave_leave_nothing_behind(inference: Served) -> None:
    asking = [asyncio.create_task(inference.generate(generate("[[fault:stall_after=1]]"))) for _ in range(30)]
    for _ in range(3):
        await asyncio.sleep(0)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await inference.left_alone()
    await inference.generate(generate(), timeout_seconds=5)


async def test_the_engines_span_is_a_child_of_the_calls(inference: Served) -> None:
    await inference.generate(generate())
    await inference.left_alone()
    server = next(
        span
        for span in inference.recorded.spans()
        if span.name == "tokenway.inference.v1.InferenceService/Generate" and span.kind.name == "SERVER"
    )
    engine = inference.recorded.span(names.SPAN_ENGINE)
    assert engine.parent is not None
    assert engine.parent.span_id == server.context.span_id
    assert (engine.attributes or {})[names.GEN_AI_USAGE_OUTPUT_TOKENS] == 8
    assert (engine.attributes or {})[names.REQUEST_ID] == "r-1"


async def test_a_dead_engine_fails_the_call_and_the_server(inference: Served) -> None:
    with pytest.raises(TokenwayError) as dead:
        await inference.generate(generate("[[fault:die_after=2]]"))
    assert dead.value.reason is Reason.ENGINE_DEAD
    assert (await inference.server.failed).reason is Reason.ENGINE_DEAD
    with pytest.raises(TokenwayError, match="ENGINE_DEAD"):
        await inference.generate(generate())
