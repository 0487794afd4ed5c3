"""The scripted engine's script: what it makes, how fast, and the faults that a prompt asks for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from libs.errors import Reason, TokenwayError
from libs.generation.question import Conversation, Message, Question, Role, Sampling, Text
from services.inference.adapters.scripted_engine import ScriptedEngine
from services.inference.adapters.scripted_plan import Script
from services.inference.domain.answer import Delta, Event, Finished, FinishReason, Started
from services.inference.domain.model import EngineRequest
from tests.contract.engines import answer_of, scripted_engine
from tests.unit.inference.asking import collect

FAST = Script(tokens_per_second=1_000_000, first_token_seconds=0, answer_tokens=6, allow_directives=True)


def asked(prompt: str, *, attempt: int = 1, **sampling: object) -> EngineRequest:
    return EngineRequest("r", "tiny", Question(prompt, Sampling(**sampling)), attempt=attempt)  # type: ignore[arg-type]


async def until_the_error(engine: ScriptedEngine, request: EngineRequest) -> tuple[int, TokenwayError]:
    """How many tokens came, and what came then."""
    tokens = 0
    try:
        async for event in engine.generate(request, trace_headers={}):
            tokens += sum(event.token_counts) if isinstance(event, Delta) else 0
    except TokenwayError as error:
        return tokens, error
    raise AssertionError("the answer came to its end")


async def test_an_answer_is_the_same_whatever_the_pace() -> None:
    async with scripted_engine(FAST) as fast, scripted_engine(Script(first_token_seconds=0, answer_tokens=6)) as slow:
        quick, paced = await answer_of(fast, asked("Hello")), await answer_of(slow, asked("Hello"))
    assert quick.text == paced.text
    assert quick.finished == paced.finished
    assert quick.finished.reason is FinishReason.STOP


async def test_it_takes_the_time_that_the_pace_asks_for() -> None:
    loop = asyncio.get_running_loop()
    async with scripted_engine(Script(tokens_per_second=500, first_token_seconds=0.03, answer_tokens=11)) as engine:
        began = loop.time()
        answer = await answer_of(engine, asked("Hello"))
        took = loop.time() - began
    assert took >= 0.03 + 10 / 500 - 0.002  # the loop's clock has a resolution
    assert answer.started.prefill_seconds == 0.03


async def test_a_consumer_that_was_away_gets_what_was_due_at_once() -> None:
    async with scripted_engine(Script(tokens_per_second=1_000, first_token_seconds=0, answer_tokens=40)) as engine:
        events: list[Event] = []
        async for event in engine.generate(asked("Hello"), trace_headers={}):
            events.append(event)
            if len(events) == 2:
                await asyncio.sleep(0.02)  # real time: it is what is tested
    assert len(events[2].text) >= 10 if isinstance(events[2], Delta) else False


async def test_it_reads_no_directives_unless_told_to() -> None:
    async with scripted_engine(Script(first_token_seconds=0, answer_tokens=3)) as engine:
        answer = await answer_of(engine, asked("[[fault:refuse]] [[tokens=9]]"))
    assert answer.tokens == 3


async def test_a_prompt_sets_the_number_of_tokens() -> None:
    async with scripted_engine(FAST) as engine:
        answer = await answer_of(engine, asked("Hello [[tokens=64]]"))
    assert answer.tokens == 64
    assert answer.finished.reason is FinishReason.STOP


async def test_a_prompt_sets_the_pace() -> None:
    loop = asyncio.get_running_loop()
    async with scripted_engine(FAST) as engine:
        began = loop.time()
        await answer_of(engine, asked("Hello [[pace=200]]"))
        assert loop.time() - began >= 5 / 200 - 0.002


async def test_an_echo_is_said_word_for_word() -> None:
    async with scripted_engine(FAST) as engine:
        answer = await answer_of(engine, asked("[[echo=The capital  of France is Paris.]]"))
    assert answer.text == "The capital  of France is Paris."
    assert answer.tokens == 6


async def test_an_echo_obeys_max_tokens() -> None:
    async with scripted_engine(FAST) as engine:
        answer = await answer_of(engine, asked("[[echo=one two three]]", max_tokens=2))
    assert answer.text == "one two"
    assert answer.finished.reason is FinishReason.LENGTH


async def test_a_stop_sequence_may_be_spread_over_tokens() -> None:
    async with scripted_engine(FAST) as engine:
        answer = await answer_of(engine, asked("[[echo=one two three four]]", stop=("o th",)))
    assert answer.text == "one tw"
    assert (answer.tokens, answer.finished.reason) == (3, FinishReason.STOP)


async def test_directives_are_read_in_a_conversation_too() -> None:
    messages = (Message(Role.SYSTEM, (Text("Be brief."),)), Message(Role.USER, (Text("[[echo=yes]]"),)))
    async with scripted_engine(FAST) as engine:
        question = Question(Conversation(messages))
        assert (await answer_of(engine, EngineRequest("r", "tiny", question))).text == "yes"
        assert await engine.count_tokens(question) == 3


@pytest.mark.parametrize(
    ("directive", "tokens", "reason", "retry_after_seconds"),
    [
        ("[[fault:refuse]]", 0, Reason.INVALID_REQUEST, None),
        ("[[fault:overloaded]]", 0, Reason.QUEUE_FULL, None),
        ("[[fault:overloaded=2]]", 0, Reason.QUEUE_FULL, 2.0),
        ("[[fault:unavailable]]", 0, Reason.SERVICE_UNAVAILABLE, None),
        ("[[fault:cut_after=0]]", 0, Reason.STREAM_BROKEN, None),
        ("[[fault:cut_after=4]]", 4, Reason.STREAM_BROKEN, None),
        ("[[fault:die_after=3]]", 3, Reason.ENGINE_DEAD, None),
    ],
)
async def test_a_fault_comes_when_the_prompt_says(
    directive: str, tokens: int, reason: Reason, retry_after_seconds: float | None
) -> None:
    async with scripted_engine(FAST) as engine:
        came, error = await until_the_error(engine, asked(f"Hello {directive}"))
    assert (came, error.reason, error.retry_after_seconds) == (tokens, reason, retry_after_seconds)


async def test_a_stream_may_end_without_an_end() -> None:
    async with scripted_engine(FAST) as engine:
        events = await collect(engine.generate(asked("[[fault:no_finish_after=4]]"), trace_headers={}))
    assert isinstance(events[0], Started)
    assert not any(isinstance(event, Finished) for event in events)
    assert sum(len(event.text) for event in events if isinstance(event, Delta)) == 4


async def test_a_stalled_stream_waits_until_it_is_left() -> None:
    async with scripted_engine(FAST) as engine:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await collect(engine.generate(asked("[[fault:stall_after=2]]"), trace_headers={}))
        assert engine.load().running == 0


async def test_the_first_token_may_be_late() -> None:
    loop = asyncio.get_running_loop()
    async with scripted_engine(FAST) as engine:
        began = loop.time()
        await answer_of(engine, asked("[[fault:first_token=0.05]]"))
        assert loop.time() - began >= 0.048


@pytest.mark.parametrize("after", [0, 4, 6])
async def test_an_answer_stands_before_a_gate_until_it_is_opened(tmp_path: Path, after: int) -> None:
    gate, reached = tmp_path / "gate", asyncio.Event()
    tokens: list[str] = []

    async def take(engine: ScriptedEngine) -> None:
        async for event in engine.generate(asked(f"[[gate={gate}]] [[gate_after={after}]]"), trace_headers={}):
            tokens.extend(event.text if isinstance(event, Delta) else ())
            if len(tokens) >= after:
                reached.set()

    async with scripted_engine(FAST) as engine:
        standing = asyncio.create_task(take(engine))
        if after:
            await reached.wait()
        await asyncio.wait({standing}, timeout=0.05)  # many times what the rest takes
        assert len(tokens) == after
        await asyncio.to_thread(gate.touch)
        await standing
    assert len(tokens) == 6


async def test_faults_may_befall_the_first_attempts_alone() -> None:
    async with scripted_engine(FAST) as engine:
        prompt = "[[fault:unavailable]] [[fault_attempts=2]]"
        for attempt in (1, 2):
            assert (await until_the_error(engine, asked(prompt, attempt=attempt)))[
                1
            ].reason is Reason.SERVICE_UNAVAILABLE
        assert (await answer_of(engine, asked(prompt, attempt=3))).tokens == 6


@pytest.mark.parametrize(
    "directive",
    ["[[fault:explode]]", "[[tokens=many]]", "[[tokens]]", "[[fault:refuse=1]]", "[[fault:cut_after]]", "[[speed=3]]"],
)
async def test_an_unknown_directive_is_refused_rather_than_ignored(directive: str) -> None:
    async with scripted_engine(FAST) as engine:
        _, error = await until_the_error(engine, asked(directive))
    assert error.reason is Reason.INVALID_REQUEST


async def test_a_death_fails_whoever_runs_or_waits_and_all_that_come() -> None:
    script = Script(tokens_per_second=1_000, first_token_seconds=0, max_sequences=2, allow_directives=True)
    async with scripted_engine(script) as engine:
        asks = ("[[fault:stall_after=1]]", "[[fault:die_after=9]]", "Hello")
        asking = [asyncio.create_task(until_the_error(engine, asked(each))) for each in asks]
        endings = [error.reason for _, error in await asyncio.gather(*asking)]
        assert endings == [Reason.ENGINE_DEAD] * 3
        assert (await until_the_error(engine, asked("Hello")))[1].reason is Reason.ENGINE_DEAD
        assert engine.death.result().metadata == {"model": "tiny"}
        assert engine.load().running == 0


async def test_every_token_made_is_on_record_before_it_is_handed_out(tmp_path: Path) -> None:
    record = tmp_path / "made.jsonl"
    script = Script(1_000_000, 0, answer_tokens=5, made_tokens_file=str(record), allow_directives=True)
    async with scripted_engine(script) as engine:
        made = 0
        async for event in engine.generate(asked("Hello"), trace_headers={}):
            made += len(event.text) if isinstance(event, Delta) else 0
            assert len(record.read_text().splitlines()) >= made
        await until_the_error(engine, EngineRequest("s", "tiny", Question("[[fault:cut_after=2]]")))
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert lines == [{"request_id": "r", "index": index} for index in range(5)] + [
        {"request_id": "s", "index": 0},
        {"request_id": "s", "index": 1},
    ]


async def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    engine = ScriptedEngine(Script(made_tokens_file=str(tmp_path / "made.jsonl")), model="tiny")
    await engine.close()
    await engine.close()
