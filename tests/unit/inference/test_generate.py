"""The verb: nothing but a well-formed answer gets through, and whoever leaves ends the engine's work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager

import pytest

from libs.errors import Reason, TokenwayError
from libs.generation.question import Question
from libs.money import Usage, UsageSource
from services.inference.domain.answer import Delta, Event, Finished, FinishReason, Started
from services.inference.domain.generate import Generator, whole
from services.inference.domain.model import EngineRequest
from services.inference.domain.ports import EngineSpan
from tests.contract.engines import MODEL, request, scripted_engine
from tests.unit.inference.asking import collect

STARTED = Started(input_tokens=3)
DELTA = Delta(("a",), (1,))
FINISHED = Finished(FinishReason.STOP, Usage(3, 0, 1, UsageSource.ENGINE))


class Notes:
    """A probe that remembers."""

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.endings: list[str] = []

    @contextmanager
    def watching(self, request: EngineRequest) -> Iterator[EngineSpan]:
        try:
            yield NotedSpan(self.seen)
            self.endings.append("ended")
        except BaseException as error:
            self.endings.append(type(error).__name__)
            raise


class NotedSpan:
    def __init__(self, seen: list[Event]) -> None:
        self._seen = seen
        self.trace_headers: Mapping[str, str] = {"traceparent": "of the span"}

    def saw(self, event: Event) -> None:
        self._seen.append(event)


async def checked(*events: Event) -> list[Event]:
    async def engine() -> AsyncIterator[Event]:
        for event in events:
            yield event

    return [event async for event in whole(engine(), model=MODEL)]


async def test_a_well_formed_answer_passes_as_it_is() -> None:
    assert await checked(STARTED, DELTA, DELTA, FINISHED) == [STARTED, DELTA, DELTA, FINISHED]


async def test_nothing_passes_after_the_end() -> None:
    assert await checked(STARTED, DELTA, FINISHED, DELTA) == [STARTED, DELTA, FINISHED]


@pytest.mark.parametrize("events", [(), (STARTED,), (STARTED, DELTA)], ids=["nothing", "a start", "half an answer"])
async def test_an_answer_without_an_end_is_broken_and_never_passed_off_as_whole(events: tuple[Event, ...]) -> None:
    with pytest.raises(TokenwayError) as broken:
        await checked(*events)
    assert broken.value.reason is Reason.STREAM_BROKEN
    assert broken.value.metadata == {"model": MODEL}


@pytest.mark.parametrize(
    "events",
    [(DELTA,), (FINISHED,), (STARTED, STARTED), (STARTED, FINISHED), (STARTED, DELTA, STARTED)],
    ids=lambda events: " ".join(type(each).__name__ for each in events),
)
async def test_events_in_a_wrong_order_are_our_bug(events: tuple[Event, ...]) -> None:
    with pytest.raises(TokenwayError) as wrong:
        await checked(*events)
    assert wrong.value.reason is Reason.INTERNAL


async def test_the_span_sees_what_the_caller_sees() -> None:
    notes = Notes()
    async with scripted_engine() as engine:
        generator = Generator(model=MODEL, engine=engine, probe=notes)
        seen = [event async for event in generator.generate(request(max_tokens=3))]
    assert notes.seen == seen
    assert notes.endings == ["ended"]


async def test_a_caller_that_leaves_ends_the_engines_work_and_the_span() -> None:
    notes = Notes()
    async with scripted_engine() as engine:
        generator = Generator(model=MODEL, engine=engine, probe=notes)
        async with aclosing(generator.generate(request("[[fault:stall_after=2]]"))) as events:
            await anext(events)
            assert engine.load().running == 1
        assert engine.load().running == 0
    assert notes.endings == ["GeneratorExit"]


async def test_cancelling_ends_the_engines_work_and_the_span() -> None:
    notes = Notes()
    async with scripted_engine() as engine:
        generator = Generator(model=MODEL, engine=engine, probe=notes)

        async def ask() -> None:
            async for _ in generator.generate(request("[[fault:stall_after=2]]")):
                pass

        task = asyncio.create_task(ask())
        await engine.load_change()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.load().running == 0
    assert notes.endings == ["CancelledError"]


async def test_a_bad_question_never_reaches_the_engine() -> None:
    notes = Notes()
    async with scripted_engine() as engine:
        generator = Generator(model=MODEL, engine=engine, probe=notes)
        with pytest.raises(TokenwayError, match=r"input\.prompt: is empty"):
            await anext(generator.generate(request("")))
        with pytest.raises(TokenwayError, match=r"input\.prompt: is empty"):
            await generator.count_tokens(Question(""))
    assert notes.endings == []


async def test_a_dead_engine_is_asked_nothing() -> None:
    notes = Notes()
    async with scripted_engine() as engine:
        generator = Generator(model=MODEL, engine=engine, probe=notes)
        with pytest.raises(TokenwayError):
            await collect(generator.generate(request("[[fault:die_after=1]]")))
        for asking in (collect(generator.generate(request())), generator.count_tokens(Question("Hello"))):
            with pytest.raises(TokenwayError, match="ENGINE_DEAD"):
                await asking
    assert notes.endings == ["TokenwayError"]  # of the request that it died of
