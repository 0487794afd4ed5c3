"""Calls that are made together: what they share is the way, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from libs.redis_client import redis_or_cluster
from libs.testing.valkey import RedisServer
from libs.testing.valkey_cluster import ValkeyCluster
from services.budget.adapters.redis_calls import RedisCalls, Script

ECHO = Script("return ARGV[1]")
COUNT = Script("return redis.call('INCR', KEYS[1])")
FAIL = Script("return redis.error_reply('MISTAKE of ' .. ARGV[1])")


@pytest.fixture(params=["valkey_server", "redis_server", pytest.param("shared_cluster", marks=pytest.mark.cluster)])
async def calls(request: pytest.FixtureRequest) -> AsyncIterator[RedisCalls]:
    server: RedisServer | ValkeyCluster = request.getfixturevalue(request.param)
    server.flush()
    client = redis_or_cluster(server.url, decode_responses=True)
    async with RedisCalls(client, timeout_seconds=30) as made:
        yield made
    await client.aclose()


@pytest.fixture
def raw(redis_servers: RedisServer) -> Iterator[Any]:
    with redis_servers.client() as client:
        yield client


async def _echoes(calls: RedisCalls, numbers: range) -> list[Any]:
    # Five organisations, so that a cluster has some on each node.
    return await asyncio.gather(
        *(calls.call(ECHO, [f"tw:{{organisation-{each % 5}}}:clock"], [each]) for each in numbers)
    )


async def test_each_caller_gets_its_own_answer(calls: RedisCalls) -> None:
    assert await _echoes(calls, range(100)) == [str(each) for each in range(100)]
    assert await _echoes(calls, range(100, 200)) == [str(each) for each in range(100, 200)]


async def test_an_error_is_that_of_its_caller_alone(calls: RedisCalls) -> None:
    answers = await asyncio.gather(
        *(calls.call(FAIL if each == 3 else ECHO, ["{acme}"], [each]) for each in range(6)), return_exceptions=True
    )

    assert str(answers.pop(3)) == "MISTAKE of 3"
    assert answers == ["0", "1", "2", "4", "5"]


async def test_a_caller_that_leaves_takes_nobody_with_it(calls: RedisCalls) -> None:
    await calls.call(COUNT, ["{acme}"], [])
    callers = [asyncio.create_task(calls.call(COUNT, ["{acme}"], [])) for _ in range(10)]
    await asyncio.sleep(0)
    # What nobody waits for before it is sent, is not sent.
    for each in callers[:5]:
        each.cancel()

    answers = await asyncio.gather(*callers, return_exceptions=True)

    assert [isinstance(each, asyncio.CancelledError) for each in answers[:5]] == [True] * 5
    assert set(answers[5:]) == {2, 3, 4, 5, 6}


async def test_calls_of_one_tick_are_one_round_trip(redis_servers: RedisServer, raw: Any) -> None:
    client = redis_or_cluster(redis_servers.url, decode_responses=True)
    calls = RedisCalls(client, timeout_seconds=30)
    await calls.call(ECHO, ["{acme}"], [0])
    before = raw.info("stats")["total_reads_processed"]

    await asyncio.gather(*(calls.call(ECHO, ["{acme}"], [each]) for each in range(32)))

    # What asks is one read itself.
    assert raw.info("stats")["total_reads_processed"] - before == 2
    await client.aclose()


async def test_scripts_that_were_forgotten_are_loaded_by_whoever_calls_them(
    redis_servers: RedisServer, raw: Any
) -> None:
    client = redis_or_cluster(redis_servers.url, decode_responses=True)
    calls = RedisCalls(client, timeout_seconds=30)
    await _echoes(calls, range(3))
    raw.script_flush()

    assert await _echoes(calls, range(10)) == [str(each) for each in range(10)]
    assert raw.script_exists(ECHO.sha) == [True]
    await client.aclose()


async def test_a_frozen_server_is_sent_little_and_nothing_that_nobody_waits_for(own_valkey: RedisServer) -> None:
    client = redis_or_cluster(own_valkey.url, decode_responses=True)
    calls = RedisCalls(client, timeout_seconds=30)
    await calls.call(COUNT, ["{acme}"], [])
    own_valkey.freeze()
    for _ in range(50):  # each in a tick of its own, and gone as a caller with a time limit is
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await calls.call(COUNT, ["{acme}"], [])
    own_valkey.thaw()

    assert await calls.call(COUNT, ["{acme}"], []) <= 1 + 8 + 1
    await client.aclose()


async def test_a_write_whose_callers_have_left_is_waited_for_at_the_end(redis_servers: RedisServer, raw: Any) -> None:
    client = redis_or_cluster(redis_servers.url, decode_responses=True)
    async with RedisCalls(client, timeout_seconds=30) as calls:
        await calls.call(COUNT, ["{acme}"], [])
        caller = asyncio.create_task(calls.call(COUNT, ["{acme}"], []))
        for _ in range(3):  # until it is on its way
            await asyncio.sleep(0)
        caller.cancel()
    assert asyncio.all_tasks() - {caller} == {asyncio.current_task()}
    await client.aclose()
