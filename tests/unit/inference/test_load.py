"""Counting requests where they come and go, and telling it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from libs.errors import TokenwayError
from services.inference.domain.load import Load, Occupancy
from services.inference.domain.watch import LoadWatch, Report
from tests.contract.engines import MODEL, request, scripted_engine
from tests.unit.inference.asking import collect


def test_what_exceeds_the_sequences_waits() -> None:
    occupancy = Occupancy(max_sequences=2, kv_cache_tokens=100)
    with occupancy.holding() as first, occupancy.holding(), occupancy.holding():
        first.kv_cache_tokens = 30
        assert occupancy.load() == Load(running=2, waiting=1, kv_cache_usage=0.3)
    assert occupancy.load() == Load(0, 0, 0.0)


def test_usage_never_exceeds_the_whole() -> None:
    occupancy = Occupancy(max_sequences=2, kv_cache_tokens=100)
    with occupancy.holding() as first, occupancy.holding() as second:
        first.kv_cache_tokens = second.kv_cache_tokens = 80  # a prefix that both share
        assert occupancy.load().kv_cache_usage == 1.0


def test_a_request_that_fails_is_gone() -> None:
    occupancy = Occupancy(max_sequences=2, kv_cache_tokens=100)
    with pytest.raises(ZeroDivisionError), occupancy.holding():
        raise ZeroDivisionError
    assert occupancy.load().running == 0


async def test_everybody_who_waits_hears_of_a_change() -> None:
    occupancy = Occupancy(max_sequences=2, kv_cache_tokens=100)
    hearing = [asyncio.create_task(occupancy.change()) for _ in range(3)]
    hearing.pop().cancel()
    await asyncio.sleep(0)
    with occupancy.holding():
        await asyncio.gather(*hearing)


async def test_going_is_a_change_too() -> None:
    occupancy = Occupancy(max_sequences=2, kv_cache_tokens=100)
    with occupancy.holding():
        hearing = asyncio.create_task(occupancy.change())
        await asyncio.sleep(0)
        assert not hearing.done()
    await asyncio.wait_for(hearing, 30)


async def test_the_load_is_told_at_once_and_when_requests_come_and_go() -> None:
    async with scripted_engine() as engine:
        watch = LoadWatch(engine=engine, silence_seconds=60, pause_seconds=0)
        async with aclosing(watch.reports()) as reports:
            assert (await anext(reports)).load.running == 0
            asking = asyncio.create_task(collect(engine.generate(request("[[fault:stall_after=1]]"), trace_headers={})))
            assert (await anext(reports)).load.running == 1
            asking.cancel()
            assert (await anext(reports)).load.running == 0


async def test_what_changes_while_a_report_is_sent_is_told_next() -> None:
    async with scripted_engine() as engine:
        watch = LoadWatch(engine=engine, silence_seconds=60, pause_seconds=0)
        async with aclosing(watch.reports()) as reports:
            await anext(reports)
            async with aclosing(engine.generate(request(), trace_headers={})) as events:
                await anext(events)  # comes while nobody waits for a change
                assert (await anext(reports)).load.running == 1


async def test_an_idle_engine_is_told_of_again_after_a_silence() -> None:
    async with scripted_engine() as engine:
        watch = LoadWatch(engine=engine, silence_seconds=0.001, pause_seconds=0)
        async with aclosing(watch.reports()) as reports:
            first, second = await anext(reports), await anext(reports)
    assert first == second == Report(Load(0, 0, 0.0), draining=False)


async def test_draining_is_told() -> None:
    async with scripted_engine() as engine:
        watch = LoadWatch(engine=engine, silence_seconds=0.001, pause_seconds=0)
        watch.drain()
        async with aclosing(watch.reports()) as reports:
            assert (await anext(reports)).draining


async def test_watching_ends_with_the_engine() -> None:
    async with scripted_engine() as engine:
        watch = LoadWatch(engine=engine, silence_seconds=0.001, pause_seconds=0)
        async with aclosing(watch.reports()) as reports:
            await anext(reports)
            with pytest.raises(TokenwayError):
                await collect(engine.generate(request("[[fault:die_after=0]]"), trace_headers={}))
            with pytest.raises(TokenwayError, match=f"ENGINE_DEAD: the engine of {MODEL}"):
                await anext(reports)
