"""What a provider may do wrong, and what becomes of it: real HTTP on loopback, one fault a test."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.clock import SystemClock
from libs.errors import Reason, TokenwayError
from libs.generation.question import (
    Conversation,
    Message,
    Question,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from libs.money import Usage, UsageSource
from libs.testing.clock import ManualClock
from services.inference.adapters.openai_engine import OpenAiEngine
from services.inference.adapters.otel_probe import OtelProbe
from services.inference.domain.answer import Delta, Finished, FinishReason, Started, ToolCallDelta
from services.inference.domain.generate import Generator
from services.inference.domain.model import EngineRequest
from tests.contract.engines import MODEL, TURNS, answer_of, events_of, openai_engine, request
from tests.contract.openai_upstream import DONE, Upstream, chunk, event, refused, said, usage

CANARY = "sk-canary-0123456789abcdefghijklmnop"
SECRET_PROMPT = "my-secret-prompt"
HELLO = chunk({"role": "assistant", "content": ""}) + chunk({"content": "Hello"})
STOPPED = chunk(finish_reason="stop") + usage(11, 1)


@pytest.fixture
async def engine(provider: Upstream) -> AsyncIterator[OpenAiEngine]:
    async with openai_engine(provider.url, environment={"KEY": CANARY}, api_key_env="KEY") as made:
        yield made


async def until_the_error(engine: OpenAiEngine, asked: EngineRequest | None = None) -> tuple[str, TokenwayError]:
    """What was said before it, and the error."""
    text = ""
    try:
        async for each in engine.generate(asked or request(SECRET_PROMPT), trace_headers={}):
            if isinstance(each, Delta):
                text += "".join(each.text)
    except TokenwayError as error:
        return text, error
    raise AssertionError("that was no error")


async def test_the_provider_gets_its_own_name_of_the_model_the_key_and_max_tokens(
    provider: Upstream, engine: OpenAiEngine
) -> None:
    await answer_of(engine, request("Rivers?", max_tokens=7, stop=("x",), seed=3, presence_penalty=0.5))
    assert provider.headers[0]["Authorization"] == f"Bearer {CANARY}"
    assert provider.bodies[0] == {
        "model": "provider/tiny",
        "messages": [{"role": "user", "content": "Rivers?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "temperature": 0.0,
        "top_p": 0.9,
        "presence_penalty": 0.5,
        "seed": 3,
        "stop": ["x"],
    }


async def test_no_more_tokens_are_asked_for_than_the_model_has(provider: Upstream, engine: OpenAiEngine) -> None:
    await answer_of(engine, request(max_tokens=1_000_000, stop=("a",)))
    assert provider.bodies[0]["max_tokens"] == engine.info.max_model_tokens


async def test_the_providers_count_is_the_usage_and_the_deltas_make_up_for_what_they_were_short_of(
    provider: Upstream, engine: OpenAiEngine
) -> None:
    counted = usage(11, 5, prompt_tokens_details={"cached_tokens": 4})
    provider.respond = said(HELLO + chunk(finish_reason="stop") + counted + DONE)
    answer = await answer_of(engine, request())
    assert answer.finished.usage == Usage(11, 4, 5, UsageSource.PROVIDER)
    assert answer.text == "Hello"
    assert [each.token_counts for each in answer.deltas] == [(1,), (4,)]


async def test_what_a_provider_bills_beyond_max_tokens_is_in_its_usage_alone(
    provider: Upstream, engine: OpenAiEngine
) -> None:
    provider.respond = said(HELLO + chunk(finish_reason="stop") + usage(11, 900) + DONE)
    answer = await answer_of(engine, request(max_tokens=8))
    assert (answer.tokens, answer.finished.usage.output_tokens) == (8, 900)


@pytest.mark.parametrize("counted", [b"", usage(0, 0)], ids=["none", "zeros"])
async def test_without_a_count_that_can_be_true_the_usage_is_an_estimate(
    provider: Upstream, engine: OpenAiEngine, counted: bytes
) -> None:
    provider.respond = said(HELLO + chunk({"content": " you"}, finish_reason="stop") + counted + DONE)
    answer = await answer_of(engine, request())
    assert answer.finished.usage == Usage(answer.started.input_tokens, 0, 2, UsageSource.ESTIMATED)


async def test_an_empty_answer_is_an_answer(provider: Upstream, engine: OpenAiEngine) -> None:
    provider.respond = said(chunk({"role": "assistant"}) + chunk(finish_reason="stop") + usage(11, 0) + DONE)
    answer = await answer_of(engine, request())
    assert (answer.text, answer.tokens, answer.finished.reason) == ("", 0, FinishReason.STOP)


async def test_tool_calls_come_piece_by_piece(provider: Upstream, engine: OpenAiEngine) -> None:
    named = {"index": 0, "id": "call-1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    more = [{"index": 0, "function": {"arguments": each}} for each in ('{"where":', ' "here"}')]
    pieces = b"".join(chunk({"tool_calls": [each]}) for each in (named, *more))
    provider.respond = said(pieces + chunk(finish_reason="tool_calls") + usage(11, 9) + DONE)
    tool = Tool("weather", "How warm it is", '{"type": "object"}')
    conversation = Conversation(
        (
            Message(Role.USER, (Text("How warm is it?"),)),
            Message(Role.ASSISTANT, (ToolCall("call-0", "weather", "{}"),)),
            Message(Role.TOOL, (ToolResult("call-0", "where?"),)),
        )
    )
    question = Question(conversation, tools=(tool,), tool_choice=ToolChoice(ToolMode.NAMED, "weather"))
    answer = await answer_of(engine, replace(request(), question=question))
    assert [call for delta in answer.deltas for call in delta.tool_calls] == [
        ToolCallDelta(0, "call-1", "weather", ""),
        ToolCallDelta(0, "", "", '{"where":'),
        ToolCallDelta(0, "", "", ' "here"}'),
    ]
    assert answer.finished.reason is FinishReason.TOOL_CALLS
    (sent,) = provider.bodies
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert [each["function"]["name"] for each in sent["tools"]] == ["weather"]
    assert [each["role"] for each in sent["messages"]] == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("reason", "mapped"),
    [("stop", "stop"), ("length", "length"), ("tool_calls", "tool_calls"), ("content_filter", "content_filter")],
)
async def test_each_finish_reason_is_mapped(provider: Upstream, engine: OpenAiEngine, reason: str, mapped: str) -> None:
    provider.respond = said(HELLO + chunk(finish_reason=reason) + usage(11, 1) + DONE)
    assert (await answer_of(engine, request())).finished.reason == mapped


async def test_a_finish_reason_that_nobody_knows_is_no_end(provider: Upstream, engine: OpenAiEngine) -> None:
    provider.respond = said(HELLO + chunk(finish_reason="exhausted") + usage(11, 1) + DONE)
    text, error = await until_the_error(engine)
    assert (text, error.reason) == ("Hello", Reason.INTERNAL)


ERROR: dict[str, Any] = {"message": f"{CANARY} {SECRET_PROMPT}", "type": "error", "param": None, "code": None}
TOO_LONG = {"error": ERROR | {"code": "context_length_exceeded"}}
TOO_LONG_IN_WORDS = {"error": {"message": "This model's maximum context length is 512 tokens.", "type": "BadRequest"}}
TOO_LONG_FLAT = {"object": "error", "message": "prompt is too long", "code": 400}
REFUSED_CONTENT = {"error": ERROR | {"code": "content_policy_violation"}}
NO_MONEY = {"error": ERROR | {"code": "insufficient_quota"}}


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, {"error": ERROR}, Reason.INVALID_REQUEST),
        (400, TOO_LONG, Reason.CONTEXT_TOO_LONG),
        (400, TOO_LONG_IN_WORDS, Reason.CONTEXT_TOO_LONG),
        (400, TOO_LONG_FLAT, Reason.CONTEXT_TOO_LONG),
        (400, REFUSED_CONTENT, Reason.CONTENT_REFUSED),
        (400, "<html>no JSON</html>", Reason.INVALID_REQUEST),
        (401, {"error": ERROR}, Reason.SERVICE_UNAVAILABLE),
        (402, {"error": ERROR}, Reason.SERVICE_UNAVAILABLE),
        (403, {"error": ERROR}, Reason.SERVICE_UNAVAILABLE),
        (404, {"error": ERROR}, Reason.SERVICE_UNAVAILABLE),
        (408, {"error": ERROR}, Reason.SERVICE_UNAVAILABLE),
        (409, {"error": ERROR}, Reason.SERVICE_UNAVAILABLE),
        (413, "", Reason.CONTEXT_TOO_LONG),
        (422, {"error": ERROR}, Reason.INVALID_REQUEST),
        (422, TOO_LONG, Reason.CONTEXT_TOO_LONG),
        (429, {"error": ERROR}, Reason.QUEUE_FULL),
        (429, NO_MONEY, Reason.SERVICE_UNAVAILABLE),
        (500, {"error": ERROR}, Reason.SERVICE_UNAVAILABLE),
        (502, "<html>", Reason.SERVICE_UNAVAILABLE),
        (503, "[" * 2_000, Reason.SERVICE_UNAVAILABLE),
        (529, {"error": ERROR}, Reason.SERVICE_UNAVAILABLE),
        (307, "", Reason.SERVICE_UNAVAILABLE),
        (418, "", Reason.SERVICE_UNAVAILABLE),
    ],
)
async def test_each_status_means_something_and_repeats_nothing(
    provider: Upstream, engine: OpenAiEngine, status: int, body: dict[str, Any] | str, reason: Reason
) -> None:
    provider.respond = refused(status, body, Location="http://elsewhere.invalid/")
    with structlog.testing.capture_logs() as logs:
        _, error = await until_the_error(engine)
    assert error.reason is reason
    assert CANARY not in repr((error, logs))
    assert SECRET_PROMPT not in repr((error, logs))
    of_the_operator = status in (307, 401, 402, 403, 404, 418) or body is NO_MONEY
    assert [each["log_level"] for each in logs] == ["error"] * of_the_operator
    assert engine.load().running == 0


async def test_a_refused_field_is_named_but_only_if_it_is_a_field(provider: Upstream, engine: OpenAiEngine) -> None:
    provider.respond = refused(400, {"error": ERROR | {"param": "messages[0].content", "code": CANARY}})
    _, error = await until_the_error(engine)
    assert error.message == "input: the provider of tiny refuses it, because of messages[0].content"


async def test_a_prompt_that_is_too_long_is_refused_with_the_numbers(provider: Upstream, engine: OpenAiEngine) -> None:
    provider.respond = refused(400, TOO_LONG)
    _, error = await until_the_error(engine, request("x " * 600))
    assert error.metadata == {"input_tokens": "304", "context_window_tokens": "512"}


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17.0),
        ("0.5", 0.5),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("-5", 0.0),
        ("1e300", 86_400.0),
        ("nan", 1.0),
        ("inf", 1.0),
        ("soon", 1.0),
        (None, 1.0),
    ],
)
async def test_a_rate_limit_says_when_to_come_again(provider: Upstream, value: str | None, seconds: float) -> None:
    provider.respond = refused(429, {"error": ERROR}, **({"Retry_After": value} if value else {}))
    async with openai_engine(provider.url, clock=ManualClock(NOW)) as engine:
        _, error = await until_the_error(engine)
    assert (error.reason, error.retry_after_seconds) == (Reason.QUEUE_FULL, seconds)


async def test_an_overloaded_provider_may_say_when_to_come_again_too(provider: Upstream, engine: OpenAiEngine) -> None:
    provider.respond = refused(503, Retry_After="3")
    assert (await until_the_error(engine))[1].retry_after_seconds == 3.0


async def test_a_provider_that_was_away_once_answers_the_next_time(provider: Upstream, engine: OpenAiEngine) -> None:
    provider.respond = refused(500)
    assert (await until_the_error(engine))[1].reason is Reason.SERVICE_UNAVAILABLE
    provider.respond = None
    await answer_of(engine, request())


@pytest.mark.parametrize(
    ("sent", "cut", "text"),
    [
        (HELLO, True, "Hello"),
        (HELLO, False, "Hello"),
        (HELLO + STOPPED, False, "Hello"),
        (HELLO + chunk(finish_reason="length") + usage(11, 1), True, "Hello"),
        (HELLO + usage(11, 1) + DONE, False, "Hello"),
        (b"", False, ""),
        (DONE, False, ""),
        (HELLO + b'data: {"choices": [{"delta": {"content": ', False, "Hello"),
        (HELLO + b'data: {"choices": [{"del\n\n' + STOPPED + DONE, False, "Hello"),
        (HELLO + event([1]) + STOPPED + DONE, False, "Hello"),
        (HELLO + event({"choices": [{"delta": {"content": 7}}]}) + STOPPED + DONE, False, "Hello"),
        (HELLO + b"data: \xff\n\n" + STOPPED + DONE, False, "Hello"),
        (HELLO + b"data: " + b"x" * 1_100_000 + b"\n\n" + STOPPED + DONE, False, "Hello"),
        (HELLO + event({"error": ERROR}), False, "Hello"),
        (HELLO + chunk({"refusal": "I cannot"}) + STOPPED + DONE, False, "Hello"),
    ],
    ids=[
        "cut",
        "ends in mid-answer",
        "no terminal mark",
        "cut before the terminal mark",
        "no finish reason",
        "empty",
        "terminal mark alone",
        "half a chunk",
        "no JSON",
        "no object",
        "no text",
        "no UTF-8",
        "endless event",
        "error in mid-stream",
        "withdrawn",
    ],
)
async def test_a_stream_without_its_whole_end_is_never_an_answer(
    provider: Upstream, engine: OpenAiEngine, sent: bytes, cut: bool, text: str
) -> None:
    provider.respond = said(sent, 0.02, cut=cut)
    before, error = await until_the_error(engine)
    assert (before, error.reason) == (text, Reason.STREAM_BROKEN)
    assert CANARY not in error.message
    assert engine.load().running == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ERROR | {"code": 429}, Reason.QUEUE_FULL),
        (ERROR | {"code": "502"}, Reason.SERVICE_UNAVAILABLE),
        ("overloaded", Reason.SERVICE_UNAVAILABLE),
    ],
    ids=["429", "502", "words"],
)
async def test_an_error_in_place_of_the_first_token_is_mapped_like_a_status(
    provider: Upstream, engine: OpenAiEngine, error: Any, reason: Reason
) -> None:
    provider.respond = said(event({"error": error}))
    assert (await until_the_error(engine))[1].reason is reason


async def test_a_whole_answer_that_was_not_asked_for_is_broken(provider: Upstream, engine: OpenAiEngine) -> None:
    provider.respond = refused(200, {"choices": [{"message": {"content": "Hello"}}]})
    assert (await until_the_error(engine))[1].reason is Reason.STREAM_BROKEN


async def test_a_refusal_in_place_of_an_answer_is_one(provider: Upstream, engine: OpenAiEngine) -> None:
    provider.respond = said(chunk({"refusal": "I cannot"}) + STOPPED + DONE)
    assert (await until_the_error(engine))[1].reason is Reason.CONTENT_REFUSED


async def test_nobody_at_the_address_is_unavailable() -> None:
    async with openai_engine("http://127.0.0.1:9/v1") as engine:
        _, error = await until_the_error(engine)
    assert error.reason is Reason.SERVICE_UNAVAILABLE
    assert "cannot be reached" in error.message


async def test_a_connection_that_is_closed_without_a_word_is_unavailable() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, openai_engine(f"http://127.0.0.1:{port}/v1") as engine:
        assert (await until_the_error(engine))[1].reason is Reason.SERVICE_UNAVAILABLE


async def test_a_slow_handshake_is_given_up() -> None:
    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    gone = asyncio.Event()
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server, openai_engine(url, connect_seconds=0.05) as engine:
        _, error = await until_the_error(engine)
        gone.set()
    assert error.reason is Reason.SERVICE_UNAVAILABLE
    assert "ConnectionTimeoutError" in error.message


@pytest.mark.parametrize(
    "before", [b"", b": keep-alive\n\n", chunk({"role": "assistant", "content": ""})], ids=["silent", "comment", "role"]
)
async def test_a_provider_without_a_first_token_in_time_is_unavailable(provider: Upstream, before: bytes) -> None:
    provider.respond = said(before, 30)
    async with openai_engine(provider.url, first_token_seconds=0.2) as engine:
        _, error = await until_the_error(engine)
    assert error.reason is Reason.SERVICE_UNAVAILABLE
    assert "no first token within 0.2 s" in error.message
    await asyncio.wait_for(provider.left.wait(), 60)


async def test_a_slow_first_token_within_its_time_is_awaited(provider: Upstream) -> None:
    provider.respond = said(0.1, HELLO + STOPPED + DONE)
    async with openai_engine(provider.url, idle_seconds=0.05) as engine:
        assert (await answer_of(engine, request())).text == "Hello"


async def test_a_stall_in_mid_answer_breaks_it_and_comments_are_no_tokens(provider: Upstream) -> None:
    provider.respond = said(HELLO, *(0.02, b": alive\n\n") * 500)
    async with openai_engine(provider.url, idle_seconds=0.1) as engine:
        text, error = await until_the_error(engine)
    assert (text, error.reason) == ("Hello", Reason.STREAM_BROKEN)
    assert "said nothing for 0.1 s" in error.message


async def test_a_slow_reader_is_no_stall(provider: Upstream) -> None:
    provider.respond = said(HELLO, 0.05, STOPPED + DONE)
    async with openai_engine(provider.url, idle_seconds=0.2) as engine:
        events = engine.generate(request(), trace_headers={})
        assert isinstance(await anext(events), Started)
        await asyncio.sleep(0.3)
        rest = [type(each) async for each in events]
    assert rest == [Delta, Finished]


async def test_closing_an_answer_is_seen_by_the_provider_at_once(provider: Upstream, engine: OpenAiEngine) -> None:
    provider.respond = said(HELLO, 30)
    async with aclosing(engine.generate(request(), trace_headers={})) as events:
        await anext(events)
        assert not provider.left.is_set()
    await asyncio.wait_for(provider.left.wait(), 60)


@pytest.mark.parametrize("before", [b"", HELLO], ids=["before the first token", "in mid-answer"])
async def test_cancelling_is_seen_by_the_provider_at_once(
    provider: Upstream, engine: OpenAiEngine, before: bytes
) -> None:
    provider.respond = said(before, 30)
    asking = asyncio.create_task(events_of(engine, request()))
    await provider.asked(1)
    asking.cancel()
    await asyncio.wait_for(provider.left.wait(), 60)
    assert asking.cancelled()
    assert engine.load().running == 0


async def test_no_more_requests_than_turns_are_at_the_provider(provider: Upstream, engine: OpenAiEngine) -> None:
    provider.respond = said(30)
    asking = [asyncio.create_task(events_of(engine, request())) for _ in range(TURNS + 1)]
    await provider.asked(TURNS)
    assert (engine.load().running, engine.load().waiting) == (TURNS, 1)
    assert len(provider.bodies) == TURNS
    asking[0].cancel()
    await provider.asked(TURNS + 1)
    for each in asking:
        each.cancel()
    await asyncio.wait(asking)


async def test_the_key_and_the_prompt_are_in_no_span(provider: Upstream, engine: OpenAiEngine) -> None:
    spans = InMemorySpanExporter()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    generator = Generator(
        model=MODEL, engine=engine, probe=OtelProbe(tracer=tracing.get_tracer("test"), clock=SystemClock())
    )
    body = {"error": ERROR}
    for respond in (refused(401, body), refused(400, body), said(HELLO, cut=True), said(b"data: {\n\n")):
        provider.respond = respond
        with pytest.raises(TokenwayError) as failed:
            _ = [each async for each in generator.generate(request(SECRET_PROMPT))]
        assert not re.search(f"{CANARY}|{SECRET_PROMPT}", f"{failed.value!r} {failed.value.__cause__!r}")
    recorded = json.dumps([json.loads(span.to_json()) for span in spans.get_finished_spans()])
    assert recorded.count('"engine"') >= 4
    assert CANARY not in recorded
    assert SECRET_PROMPT not in recorded
    assert CANARY not in repr(vars(engine))
