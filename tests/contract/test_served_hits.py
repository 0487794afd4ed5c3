"""What every ServedHits must do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from libs.errors import Reason, TokenwayError
from libs.redis_client import redis_client
from libs.testing.served_hits import InMemoryServedHits
from libs.testing.valkey import RedisServer
from services.cache.adapters.redis_outages import Outages
from services.cache.adapters.redis_served_hits import RedisServedHits
from services.cache.domain.found import Kind
from services.cache.domain.ports import ServedHits
from services.cache.domain.served_hit import ServedHit
from tests.contract.answer_stores import TIMEOUT_SECONDS, key

HIT = ServedHit("req-1", "ci", key("q"), Kind.SEMANTIC, 0.9312345678, 0.8123456789, "req-0")


@pytest.fixture(params=["in_memory", "valkey_server", "redis_server"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[ServedHits]:
    if request.param == "in_memory":
        yield InMemoryServedHits()
        return
    server = request.getfixturevalue(request.param)
    assert isinstance(server, RedisServer)
    server.flush()
    redis = redis_client(server.url)
    yield RedisServedHits(redis=redis, outages=Outages(timeout_seconds=TIMEOUT_SECONDS))
    await redis.aclose()


async def test_a_hit_comes_back_as_it_was(served: ServedHits) -> None:
    others = [replace(HIT, request_id=each, key_id="", source_request_id="") for each in ("req-2", "a:b}{*", "")]
    await served.remember([HIT, *others])
    for each in (HIT, *others):
        assert await served.find("acme", each.request_id) == each


@pytest.mark.parametrize(("organisation", "request_id"), [("globex", "req-1"), ("acme", "req-2"), ("acme}", "req-1")])
async def test_another_s_is_not_found(served: ServedHits, organisation: str, request_id: str) -> None:
    await served.remember([HIT])
    assert await served.find(organisation, request_id) is None


async def test_one_alone_hears_that_it_was_there(served: ServedHits) -> None:
    await served.remember([HIT])
    assert [await served.forget(HIT), await served.forget(HIT)] == [True, False]
    assert await served.find("acme", "req-1") is None


async def test_it_is_kept_for_a_day(valkey_server: RedisServer) -> None:
    redis = redis_client(valkey_server.url)
    try:
        await RedisServedHits(redis=redis, outages=Outages(timeout_seconds=TIMEOUT_SECONDS)).remember([HIT])
        assert 86_000 < await redis.ttl("tw:cache:{acme}:served:req-1") <= 86_400
    finally:
        await redis.aclose()


async def test_a_redis_that_is_away_says_so_soon() -> None:
    redis = redis_client("redis://127.0.0.1:1")
    served = RedisServedHits(redis=redis, outages=Outages(timeout_seconds=TIMEOUT_SECONDS))
    with pytest.raises(TokenwayError) as caught:
        await served.find("acme", "req-1")
    assert caught.value.reason is Reason.SERVICE_UNAVAILABLE
    await redis.aclose()
