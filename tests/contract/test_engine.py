"""What every engine promises, in one suite. Aborts are proved by who gets the turn, never by an engine’s gauges."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from libs.errors import Reason, TokenwayError
from libs.generation.question import Conversation, Message, Question, Role, Sampling, Text
from services.inference.domain.answer import Delta, Finished, FinishReason, Started
from services.inference.domain.ports import Engine
from tests.contract.engines import (
    MAX_MODEL_TOKENS,
    TURNS,
    Occupied,
    answer_of,
    events_of,
    request,
)

# vLLM's engine belongs to the loop that made it, and is made once.
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_answer_is_one_started_then_deltas_then_one_finished(engine: Engine) -> None:
    kinds = [type(event) for event in await events_of(engine, request(max_tokens=5))]
    assert kinds[0] is Started
    assert kinds[-1] is Finished
    assert len(kinds) > 2
    assert set(kinds[1:-1]) == {Delta}


async def test_usage_is_what_the_deltas_count(engine: Engine) -> None:
    asked = request(max_tokens=20)
    answer = await answer_of(engine, asked)
    assert answer.finished.usage.output_tokens == answer.tokens == 20
    assert answer.finished.usage.input_tokens > 0
    assert answer.started.input_tokens == await engine.count_tokens(asked.question)


@pytest.mark.counts_tokens("a provider counts the prompt at the end; until then it is an estimate")
async def test_the_prompt_is_counted_before_the_first_token(engine: Engine) -> None:
    answer = await answer_of(engine, request(max_tokens=5))
    assert answer.finished.usage.input_tokens == answer.started.input_tokens > 0


async def test_every_piece_of_text_has_its_count(engine: Engine) -> None:
    for delta in (await answer_of(engine, request(max_tokens=20))).deltas:
        assert len(delta.text) == len(delta.token_counts) > 0


async def test_max_tokens_ends_the_answer_with_length(engine: Engine) -> None:
    answer = await answer_of(engine, request(max_tokens=7))
    assert answer.tokens == 7
    assert answer.finished.reason is FinishReason.LENGTH


@pytest.mark.counts_tokens("how much room there is, only the provider knows: max_tokens is passed on as it is")
async def test_max_tokens_beyond_the_context_means_all_there_is_room_for(engine: Engine) -> None:
    answer = await answer_of(engine, request(max_tokens=1_000_000))
    assert answer.tokens == MAX_MODEL_TOKENS - answer.started.input_tokens
    assert answer.finished.reason is FinishReason.LENGTH


@pytest.mark.counts_tokens("how long a prompt is, only the provider knows")
async def test_a_prompt_that_leaves_room_for_one_token_gets_one(engine: Engine) -> None:
    prompt = "x " * MAX_MODEL_TOKENS
    while await engine.count_tokens(Question(prompt)) >= MAX_MODEL_TOKENS:
        prompt = prompt[:-1]
    answer = await answer_of(engine, request(prompt))
    assert answer.started.input_tokens == MAX_MODEL_TOKENS - 1
    assert answer.tokens == 1


@pytest.mark.counts_tokens("the numbers are estimates: test_openai_engine has what a provider's refusal becomes")
async def test_a_prompt_that_leaves_room_for_none_is_refused_with_the_numbers(engine: Engine) -> None:
    prompt = "x " * 600
    input_tokens = await engine.count_tokens(Question(prompt))
    with pytest.raises(TokenwayError) as refused:
        await events_of(engine, request(prompt))
    assert refused.value.reason is Reason.CONTEXT_TOO_LONG
    assert refused.value.metadata == {
        "input_tokens": str(input_tokens),
        "context_window_tokens": str(MAX_MODEL_TOKENS),
    }
    assert str(input_tokens) in refused.value.message
    assert engine.load().running == 0


async def test_a_stop_sequence_that_is_spread_over_tokens_ends_the_answer_before_itself(engine: Engine) -> None:
    whole = await answer_of(engine, request(max_tokens=40))
    first, second = [piece for delta in whole.deltas for piece in delta.text][2:4]
    stop = first[-2:] + second[:2]
    answer = await answer_of(engine, request(max_tokens=40, stop=(stop,)))
    assert answer.text == whole.text[: whole.text.index(stop)]
    assert answer.finished.reason is FinishReason.STOP
    assert answer.finished.usage.output_tokens == answer.tokens < 40


async def test_a_stop_sequence_that_never_comes_changes_nothing(engine: Engine) -> None:
    whole = await answer_of(engine, request(max_tokens=40))
    answer = await answer_of(engine, request(max_tokens=40, stop=(whole.text[-3:] + "§", "never said")))
    assert answer.text == whole.text
    assert answer.tokens == 40


async def test_the_same_greedy_question_gets_the_same_answer(engine: Engine) -> None:
    first, second = [(await answer_of(engine, request(max_tokens=30))).text for _ in range(2)]
    assert first == second != ""


async def test_a_seed_makes_sampling_repeatable(engine: Engine) -> None:
    asked = request(max_tokens=30, temperature=1.0, seed=7)
    first, second = [(await answer_of(engine, asked)).text for _ in range(2)]
    assert first == second


async def test_different_questions_get_different_answers(engine: Engine) -> None:
    rivers, hills = [(await answer_of(engine, request(each, max_tokens=30))).text for each in ("rivers", "hills")]
    assert rivers != hills


async def test_a_conversation_goes_through_the_template_and_is_counted_with_it(engine: Engine) -> None:
    messages = (Message(Role.SYSTEM, (Text("Be brief."),)), Message(Role.USER, (Text("Rivers?"), Text(" Hills?"))))
    question = Question(Conversation(messages), Sampling(temperature=0, max_tokens=8))
    answer = await answer_of(engine, replace(request(), question=question))
    assert answer.tokens == 8
    assert answer.started.input_tokens == await engine.count_tokens(question)


async def test_eight_streams_at_once_are_all_answered(engine: Engine) -> None:
    asked = [request(f"Question {index}", max_tokens=30) for index in range(8)]
    answers = await asyncio.gather(*(answer_of(engine, each) for each in asked))
    assert [answer.tokens for answer in answers] == [30] * 8
    assert len({answer.text for answer in answers}) > 1


async def test_two_requests_may_have_the_same_id(engine: Engine) -> None:
    answers = await asyncio.gather(*(answer_of(engine, request(request_id="same", max_tokens=20)) for _ in range(2)))
    assert [answer.tokens for answer in answers] == [20, 20]


async def test_a_slow_consumer_misses_nothing(engine: Engine) -> None:
    asked = request(max_tokens=60)
    quick = await answer_of(engine, asked)
    text = ""
    async for event in engine.generate(asked, trace_headers={}):
        if isinstance(event, Delta):
            text += "".join(event.text)
        for _ in range(20):
            await asyncio.sleep(0)
    assert text == quick.text


async def test_likeliest_tokens_come_where_they_are_asked_for(engine: Engine) -> None:
    answer = await answer_of(engine, request(max_tokens=6, top_logprobs=2))
    logprobs = [each for delta in answer.deltas for each in delta.logprobs]
    assert len(logprobs) == 6
    assert all(each.chosen.logprob <= 0 and 1 <= len(each.top) <= 2 for each in logprobs)
    assert all(each.top[0] == each.chosen for each in logprobs)  # greedy


async def test_likeliest_tokens_stay_away_where_they_are_not_asked_for(engine: Engine) -> None:
    answer = await answer_of(engine, request())
    assert not any(delta.logprobs for delta in answer.deltas)


async def test_a_request_more_than_there_are_turns_waits(engine: Engine) -> None:
    async with Occupied(engine):
        late = asyncio.create_task(events_of(engine, request()))
        await engine.load_change()
        assert (engine.load().running, engine.load().waiting) == (TURNS, 1)
        late.cancel()
        await asyncio.wait([late])


# Each of the next three leaves an answer that would outlast all others, and asks for a token. Were the work on it not
# ended, the others would end before that token came.
LONGEST = request("x", max_tokens=MAX_MODEL_TOKENS)


async def test_closing_an_answer_early_gives_its_turn_to_the_next(engine: Engine) -> None:
    async with Occupied(engine, count=TURNS - 1) as others:
        async with aclosing(engine.generate(LONGEST, trace_headers={})) as left:
            await anext(left)
            probe = asyncio.create_task(events_of(engine, request(max_tokens=1)))
            await engine.load_change()
        await probe
        assert not any(task.done() for task in others.tasks)


async def test_cancelling_the_task_gives_its_turn_to_the_next(engine: Engine) -> None:
    async with Occupied(engine, count=TURNS - 1) as others:
        left = asyncio.create_task(events_of(engine, LONGEST))
        await others.go_on(30)
        probe = asyncio.create_task(events_of(engine, request(max_tokens=1)))
        await engine.load_change()
        left.cancel()
        await probe
        assert not any(task.done() for task in others.tasks)
        assert left.cancelled()


async def test_a_deadline_gives_the_turn_to_the_next(engine: Engine) -> None:
    async with Occupied(engine, count=TURNS - 1) as others:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await events_of(engine, LONGEST)
        await events_of(engine, request(max_tokens=1))
        assert not any(task.done() for task in others.tasks)


async def test_a_cancelled_request_that_waits_never_gets_a_turn(engine: Engine) -> None:
    async with Occupied(engine) as others:
        left, probe = [asyncio.create_task(events_of(engine, request(max_tokens=400))) for _ in range(2)]
        await engine.load_change()
        left.cancel()
        await asyncio.wait([left])
        assert engine.load().waiting == 1
        others.tasks.pop().cancel()
        assert len(await probe) > 2


async def test_lower_priority_goes_first(engine: Engine) -> None:
    finished: list[int] = []

    async def ask(priority: int) -> None:
        await events_of(engine, request(priority=priority, max_tokens=1))
        finished.append(priority)

    async with Occupied(engine) as others:
        waiting = [asyncio.create_task(ask(priority)) for priority in (5, 9, -3, 1)]
        while engine.load().waiting < len(waiting):
            await engine.load_change()
        await others.go_on(100)  # so that all of them have reached the engine's own queue
        others.tasks.pop().cancel()
        await asyncio.gather(*waiting)
    assert finished == [-3, 1, 5, 9]


async def test_an_idle_engine_has_no_load(engine: Engine) -> None:
    await answer_of(engine, request())
    load = engine.load()
    assert (load.running, load.waiting, load.kv_cache_usage) == (0, 0, 0.0)


@pytest.mark.counts_tokens("nobody tells how full a provider's KV cache is")
async def test_a_running_request_uses_the_kv_cache(engine: Engine) -> None:
    async with aclosing(engine.generate(request(max_tokens=400), trace_headers={})) as events:
        for _ in range(4):
            await anext(events)
        assert engine.load().running == 1
        assert 0 < engine.load().kv_cache_usage < 1


async def test_an_engine_that_works_is_not_dead(engine: Engine) -> None:
    await answer_of(engine, request())
    assert not engine.death.done()
