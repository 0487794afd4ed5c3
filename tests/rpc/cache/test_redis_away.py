"""The cache without its Redis: it starts, says so, and works again by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from libs.errors import Reason, TokenwayError
from libs.testing.valkey import RedisServer
from tests.rpc.cache.served import EXPLAIN, STOP, Served, delta, header, question, serving
from tokenway.cache.v1 import cache_pb2 as pb


async def refused(cache: Served) -> None:
    """Every call is; of one that is frozen no answer ever comes."""
    for call in (
        cache.lookup(),
        cache.fill(header(), delta("Hi"), STOP),
        cache.unary(EXPLAIN, pb.ExplainRequest(question=question())),
    ):
        with pytest.raises(TokenwayError) as caught:
            await call
        assert caught.value.reason is Reason.SERVICE_UNAVAILABLE
        assert "go on without the cache" in caught.value.message


async def test_it_starts_before_its_redis_does(own_valkey: RedisServer, folder: Path) -> None:
    own_valkey.stop()
    with capture_logs() as lines:
        async with serving(folder, redis_url=own_valkey.url) as cache:
            assert lines[0]["event"].startswith("redis is away")
            await refused(cache)
            own_valkey.start()
            assert (await cache.fill(header(), delta("Hi"), STOP)).stored
            assert await cache.verdict() == pb.VERDICT_HIT


async def test_a_redis_that_dies_and_returns_is_used_again(own_valkey: RedisServer, folder: Path) -> None:
    async with serving(folder, redis_url=own_valkey.url) as cache:
        await cache.fill(header(), delta("Hi"), STOP)
        own_valkey.kill()
        await refused(cache)
        own_valkey.start()
        assert await cache.verdict() == pb.VERDICT_HIT


async def test_a_frozen_redis_is_given_up(own_valkey: RedisServer, folder: Path) -> None:
    async with serving(folder, redis_url=own_valkey.url, redis_timeout_seconds=0.25) as cache:
        await cache.fill(header(), delta("Hi"), STOP)
        own_valkey.freeze()
        await refused(cache)
        own_valkey.thaw()
        assert await cache.verdict() == pb.VERDICT_HIT


async def test_what_needs_no_redis_is_answered_without_it(own_valkey: RedisServer, folder: Path) -> None:
    own_valkey.stop()
    async with serving(folder, redis_url=own_valkey.url) as cache:
        assert await cache.verdict(question(temperature=1)) == pb.VERDICT_BYPASS


async def test_lost_lookups_lower_the_hit_rate(own_valkey: RedisServer, folder: Path) -> None:
    async with serving(folder, redis_url=own_valkey.url) as cache:
        await cache.fill(header(), delta("Hi"), STOP)
        await cache.lookup()
        own_valkey.kill()
        with pytest.raises(TokenwayError):
            await cache.lookup()
        assert cache.recorded.sample("llm_cache_hit_rate") == pytest.approx(0.5)
        assert cache.recorded.sample("tokenway_cache_lookups_total", verdict="failed") == 1
