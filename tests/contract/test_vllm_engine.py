"""What vLLM's engine does beyond the engines' contract. Everything is real, on a tiny model of random weights."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from libs.clock import SystemClock
from libs.errors import Reason, TokenwayError
from libs.generation.question import (
    Conversation,
    Grammar,
    Image,
    JsonObject,
    JsonSchema,
    Message,
    Question,
    Regex,
    ResponseFormat,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from libs.telemetry import names
from services.inference.adapters.otel_probe import OtelProbe
from services.inference.adapters.vllm_engine import VllmEngine
from services.inference.domain.generate import Generator
from services.inference.domain.model import EngineRequest
from tests.contract.engines import (
    MAX_MODEL_TOKENS,
    MODEL,
    TURNS,
    Occupied,
    answer_of,
    events_of,
    request,
    vllm_engine,
)

# An engine takes 20 s to start, several times that on a busy machine.
pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="session")]

SCHEMA = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}, "size": {"enum": ["small", "large"]}},
    "required": ["ok", "size"],
    "additionalProperties": False,
}


def formed(wanted: ResponseFormat, *, max_tokens: int = 120) -> EngineRequest:
    return replace(request(), question=Question("Say it", Sampling(temperature=0, max_tokens=max_tokens), wanted))


def asked(question: Question) -> EngineRequest:
    return replace(request(), question=question)


async def test_an_answer_follows_a_json_schema(vllm: VllmEngine) -> None:
    answer = json.loads((await answer_of(vllm, formed(JsonSchema(json.dumps(SCHEMA))))).text)
    assert answer.keys() == {"ok", "size"}
    assert answer["size"] in ("small", "large")


async def test_an_answer_matches_a_regular_expression(vllm: VllmEngine) -> None:
    answer = await answer_of(vllm, formed(Regex("(yes|no), [0-9]{3}")))
    assert re.fullmatch("(yes|no), [0-9]{3}", answer.text)


async def test_an_answer_is_a_sentence_of_a_grammar(vllm: VllmEngine) -> None:
    answer = await answer_of(vllm, formed(Grammar('root ::= "select " ("one" | "two") ";"')))
    assert answer.text in ("select one;", "select two;")


async def test_an_answer_begins_as_a_json_object(vllm: VllmEngine) -> None:
    # A random model never closes it, so this says only that the form was imposed.
    answer = await answer_of(vllm, formed(JsonObject(), max_tokens=30))
    assert answer.text.lstrip().startswith("{")


@pytest.mark.parametrize(
    "wanted",
    [
        Regex("(unclosed"),
        Grammar("root ::= "),
        Grammar(""),
        JsonSchema('{"type": "no such type"}'),
        JsonSchema('{"type": "object", "patternProperties": {"(": {"type": "string"}}}'),
        JsonSchema('{"$ref": "#/nowhere"}'),
    ],
    ids=repr,
)
async def test_a_form_that_cannot_be_imposed_is_refused_and_harms_nobody(
    vllm: VllmEngine, wanted: ResponseFormat
) -> None:
    with pytest.raises(TokenwayError, match=r"^INVALID_REQUEST: input: the engine refuses it: \S"):
        await events_of(vllm, formed(wanted, max_tokens=5))
    await answer_of(vllm, request())


async def test_tools_are_refused_while_nobody_can_read_their_calls(vllm: VllmEngine) -> None:
    question = Question("Look it up", tools=(Tool("find", "", "{}"),), tool_choice=ToolChoice(ToolMode.AUTO))
    with pytest.raises(TokenwayError, match=r"INVALID_REQUEST: input\.tools: this model calls no tools"):
        await events_of(vllm, asked(question))


async def test_images_are_refused(vllm: VllmEngine) -> None:
    message = Message(Role.USER, (Text("What is this?"), Image(b"\x89PNG", "image/png")))
    with pytest.raises(TokenwayError, match=r"INVALID_REQUEST: input\.conversation: has an image"):
        await events_of(vllm, asked(Question(Conversation((message,)))))


async def test_a_conversation_with_past_tool_calls_is_continued(vllm: VllmEngine) -> None:
    messages = (
        Message(Role.USER, (Text("How warm is it?"),)),
        Message(Role.ASSISTANT, (ToolCall("call-1", "weather", '{"where": "here"}'),)),
        Message(Role.TOOL, (ToolResult("call-1", "21 degrees"), ToolResult("call-2", "dry"))),
    )
    question = Question(Conversation(messages), Sampling(temperature=0, max_tokens=3))
    assert (await answer_of(vllm, asked(question))).tokens == 3


async def test_what_the_template_adds_is_counted(vllm: VllmEngine) -> None:
    conversation = Conversation((Message(Role.USER, (Text("abc"),)),))
    # A token a byte: <|begin|>user\nabc<|end|>\n<|begin|>assistant\n
    assert await vllm.count_tokens(Question(conversation)) == 1 + 5 + 3 + 1 + 1 + 1 + 10
    assert await vllm.count_tokens(Question("abc")) == 3


async def test_half_a_character_is_held_back_until_it_is_whole(vllm: VllmEngine) -> None:
    answer = await answer_of(vllm, formed(Regex("(héé|ß€😀)+"), max_tokens=40))
    pieces = [piece for delta in answer.deltas for piece in delta.text]
    assert "�" not in "".join(pieces[:-3])  # max_tokens may cut the last character in half
    assert "" in pieces
    assert answer.tokens == answer.finished.usage.output_tokens


async def test_more_waiting_than_is_allowed_is_refused_with_a_hint(vllm: VllmEngine) -> None:
    async with Occupied(vllm, count=TURNS):
        waiting = [asyncio.create_task(events_of(vllm, request())) for _ in range(8)]
        while vllm.load().waiting < 8:
            await vllm.load_change()
        with pytest.raises(TokenwayError) as refused:
            await events_of(vllm, request())
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
    assert refused.value.reason is Reason.QUEUE_FULL
    assert refused.value.retry_after_seconds == 1.0


async def test_a_repeated_prompt_is_found_in_the_prefix_cache(vllm: VllmEngine) -> None:
    prompt = "The same beginning of a long question, again and again. " * 3
    first, second = [(await answer_of(vllm, request(prompt))).started for _ in range(2)]
    assert first.cached_input_tokens == 0
    # Whole blocks of 32 tokens, and never the last token of the prompt.
    assert second.cached_input_tokens == (len(prompt) - 1) // 32 * 32


async def test_the_phases_of_a_request_are_known(vllm: VllmEngine) -> None:
    started = (await answer_of(vllm, request())).started
    assert started.queue_seconds is not None
    assert started.prefill_seconds is not None
    assert started.queue_seconds >= 0 < started.prefill_seconds


@dataclass(frozen=True, slots=True)
class New:
    """An engine that nobody has asked for anything, and what it had answered when it was started."""

    engine: VllmEngine
    core: BaseProcess
    answered: float


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def new(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[New]:
    """Of two tests, one of which kills it: to start one takes long."""
    before = {each.pid for each in multiprocessing.active_children()}
    async with vllm_engine(tmp_path_factory.mktemp("model")) as engine:
        (core,) = (each for each in multiprocessing.active_children() if each.pid not in before)
        finished = [each for each in REGISTRY.collect() if each.name == "vllm:request_success"]
        samples = [sample for each in finished for sample in each.samples if sample.name.endswith("_total")]
        # Each engine counts from zero.
        yield New(engine, core, sum(each.value for each in samples))


async def test_an_engine_has_answered_once_before_it_is_asked(new: New) -> None:
    assert new.answered == 1


async def test_llm_request_is_a_child_of_the_engine_span(vllm: VllmEngine) -> None:
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider), "the fixture sets one before the engine exists"
    spans = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    probe = OtelProbe(tracer=provider.get_tracer("test"), clock=SystemClock())
    generator = Generator(model=MODEL, engine=vllm, probe=probe)
    async for _ in generator.generate(request(request_id="traced")):
        pass
    by_name = {span.name: span for span in spans.get_finished_spans()}
    engine, llm_request = by_name[names.SPAN_ENGINE], by_name[names.SPAN_VLLM_REQUEST]
    assert llm_request.parent is not None
    assert llm_request.parent.span_id == engine.context.span_id
    assert llm_request.context.trace_id == engine.context.trace_id
    assert (llm_request.attributes or {})["gen_ai.request.id"] == "traced"


async def test_absurd_numbers_do_no_harm(vllm: VllmEngine) -> None:
    for sampling in (
        Sampling(top_k=2**32 - 1, max_tokens=8),
        Sampling(seed=-(2**63), max_tokens=8),
        Sampling(seed=2**63 - 1, max_tokens=8),
        Sampling(temperature=1e-9, max_tokens=8),
    ):
        assert (await answer_of(vllm, asked(Question("Hello", sampling)))).tokens == 8


async def test_a_killed_engine_core_fails_what_runs_and_is_known_at_once(new: New) -> None:
    engine = new.engine
    async with Occupied(engine, count=2) as running:
        assert new.core.pid is not None
        os.kill(new.core.pid, signal.SIGKILL)
        endings = await asyncio.gather(*running.tasks, return_exceptions=True)
    error = await asyncio.wait_for(engine.death, 60)
    assert error.reason is Reason.ENGINE_DEAD
    assert [getattr(each, "reason", each) for each in endings] == [Reason.ENGINE_DEAD] * 2
    with pytest.raises(TokenwayError, match="ENGINE_DEAD"):
        await events_of(engine, request(max_tokens=MAX_MODEL_TOKENS))
    await engine.close()
    await engine.close()


async def test_a_folder_without_a_model_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(TokenwayError, match=r"vLLM cannot run .*nothing: that is no Hugging Face folder"):
        async with vllm_engine(tmp_path / "model", model_path=str(tmp_path / "nothing")):
            pass


async def test_a_context_that_the_model_does_not_have_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TokenwayError, match=r"vLLM cannot run .*max_model_len") as refused:
        async with vllm_engine(tmp_path / "model", max_model_len=1_000_000):
            pass
    assert "\n" not in refused.value.message
