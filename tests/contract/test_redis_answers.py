"""What only the store in Redis can get wrong: damage, outages, leftovers."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from libs.errors import Reason, TokenwayError
from libs.testing.valkey import RedisServer
from services.cache.domain.selection import Everything, WithTag
from tests.contract.answer_stores import Tried, in_redis, key

Client = Any  # redis-py's stubs mix bytes with texts, and sync with async
SHORT_SECONDS = 0.2
DROPS = "tw:cache:{acme}:drops"
ANSWER_KEYS = "tw:cache:*:answer:*"


@pytest.fixture
def raw(redis_servers: RedisServer) -> Client:
    """Another client of the same server, which may do harm."""
    return redis.Redis.from_url(redis_servers.url)


@pytest.fixture
async def tried(redis_servers: RedisServer) -> AsyncIterator[Tried]:
    async with in_redis(redis_servers.url) as store:
        yield store


async def put_one(tried: Tried, raw: Client, name: str = "q") -> bytes:
    """Stores an answer and says where it lies."""
    before = set(raw.keys(ANSWER_KEYS))
    await tried.answers.put(key(name), tried.answer())
    [entry] = set(raw.keys(ANSWER_KEYS)) - before
    assert isinstance(entry, bytes)
    return entry


@pytest.mark.parametrize("field", ["v", "tag", "sum", "body"])
async def test_an_entry_that_lacks_something_is_a_counted_miss(tried: Tried, raw: Client, field: str) -> None:
    raw.hdel(await put_one(tried, raw), field)
    assert await tried.answers.get(key("q")) is None
    assert tried.stats.unreadable == 1


async def test_an_entry_of_another_version_is_a_counted_miss(tried: Tried, raw: Client) -> None:
    raw.hset(await put_one(tried, raw), "v", "1")
    assert await tried.answers.get(key("q")) is None
    assert tried.stats.unreadable == 1


async def test_no_cut_of_an_entry_is_ever_served(tried: Tried, raw: Client) -> None:
    entry = await put_one(tried, raw)
    body = raw.hget(entry, "body")
    for length in range(len(body)):
        raw.hset(entry, "body", body[:length])
        assert await tried.answers.get(key("q")) is None
    assert tried.stats.unreadable == len(body)


async def test_a_changed_byte_is_noticed(tried: Tried, raw: Client) -> None:
    entry = await put_one(tried, raw)
    body = raw.hget(entry, "body")
    raw.hset(entry, "body", body.replace(b"a", b"b", 1))
    assert await tried.answers.get(key("q")) is None


async def test_an_entry_that_lies_under_another_s_key_is_not_served(tried: Tried, raw: Client) -> None:
    one, other = await put_one(tried, raw, "q"), await put_one(tried, raw, "another")
    raw.copy(other.decode(), one.decode(), replace=True)
    with capture_logs() as lines:
        assert await tried.answers.get(key("q")) is None
    assert [line["why"] for line in lines] == ["it answers another question"]


async def test_an_entry_copied_to_another_organisation_is_not_served(tried: Tried, raw: Client) -> None:
    entry = await put_one(tried, raw)
    raw.copy(entry.decode(), entry.decode().replace("{acme}", "{globex}"))
    assert await tried.answers.get(key("q", "globex")) is None


async def test_an_answer_leaves_nothing_of_the_one_before_it(tried: Tried, raw: Client) -> None:
    entry = await put_one(tried, raw)
    raw.hset(entry, "of_another_version", "1")
    await tried.answers.put(key("q"), tried.answer("new"))
    assert not raw.hexists(entry, "of_another_version")


async def test_a_hit_leaves_the_time_of_expiry_alone(tried: Tried, raw: Client) -> None:
    entry = await put_one(tried, raw)
    before = raw.execute_command("PEXPIRETIME", entry)
    assert await tried.answers.get(key("q"))
    assert raw.execute_command("PEXPIRETIME", entry) == before


async def test_of_all_keys_answers_alone_expire_so_that_nothing_else_is_evicted(tried: Tried, raw: Client) -> None:
    await tried.answers.put(key("q"), tried.answer(tags=("doc=1", "doc=2")))
    of_acme = raw.keys("tw:cache:{acme}:*")
    assert len(of_acme) == 7
    assert len(raw.keys("*")) == len(of_acme) + 3
    assert [each for each in raw.keys("*") if raw.pttl(each) > 0] == raw.keys(ANSWER_KEYS)


async def test_an_index_of_which_all_has_expired_goes_as_others_are_put(tried: Tried, raw: Client) -> None:
    for number in range(20):
        await tried.answers.put(key(str(number)), tried.answer(ttl_seconds=10, tags=(f"doc={number}",)))
    tried.clock.advance(11)
    for _ in range(200):
        await tried.answers.put(key("q"), tried.answer(tags=("page=1",)))
    assert raw.keys("tw:cache:{acme}:tag:*") == [b"tw:cache:{acme}:tag:page=1"]
    assert raw.scard("tw:cache:indexes") == 4


async def test_expired_answers_leave_the_index(tried: Tried, raw: Client) -> None:
    await tried.answers.put(key("short"), tried.answer(ttl_seconds=10))
    tried.clock.advance(11)
    await tried.answers.put(key("long"), tried.answer())
    assert raw.zcard("tw:cache:{acme}:all") == 1


async def test_foreign_keys_are_never_touched(tried: Tried, raw: Client) -> None:
    raw.mset({"tw:key:abc": "1", "tw:budget:{acme}:x": "2", "tw:cache:{acme2}:answer:00": "3"})
    await tried.answers.put(key("q"), tried.answer())
    await tried.answers.drop("acme", Everything())
    assert raw.mget("tw:key:abc", "tw:budget:{acme}:x", "tw:cache:{acme2}:answer:00") == [b"1", b"2", b"3"]


async def test_an_answer_that_was_asked_for_before_redis_lost_its_data_is_not_stored(tried: Tried, raw: Client) -> None:
    as_of = await tried.answers.as_of("acme")
    await tried.answers.drop("acme", Everything())
    raw.flushall()
    assert not await tried.answers.put(key("q"), tried.answer(), as_of=as_of)
    assert await tried.answers.put(key("q"), tried.answer(), as_of=await tried.answers.as_of("acme"))


async def test_drops_have_rising_numbers_also_where_the_clock_steps_back(tried: Tried, raw: Client) -> None:
    await tried.answers.drop("acme", WithTag("t=1"))
    ahead = await tried.answers.as_of("acme") + 10**9
    raw.zadd(DROPS, {"tag:t=1": ahead})
    before = await tried.answers.as_of("acme")
    await tried.answers.drop("acme", WithTag("t=1"))
    assert (before, await tried.answers.as_of("acme")) == (ahead, ahead + 1)
    assert not await tried.answers.put(key("q"), tried.answer(tags=("t=1",)), as_of=before)


async def test_of_more_drops_than_there_is_room_for_the_oldest_counts_for_everything(tried: Tried, raw: Client) -> None:
    before = await tried.answers.as_of("acme")
    await tried.answers.drop("acme", WithTag("t=first"))
    first = await tried.answers.as_of("acme")
    raw.zadd(DROPS, {f"tag:t={number}": first + 1 + number for number in range(998)})
    assert await tried.answers.put(key("q"), tried.answer(), as_of=before), "none of these is about it"

    await tried.answers.drop("acme", WithTag("t=last"))
    assert not await tried.answers.put(key("q"), tried.answer(), as_of=before), "the oldest stands for everything"
    assert not await tried.answers.put(key("q"), tried.answer(tags=("t=first",)), as_of=before)
    assert await tried.answers.put(key("q"), tried.answer(), as_of=first)
    for number in range(5):
        await tried.answers.drop("acme", WithTag(f"t=more{number}"))
    assert raw.zcard(DROPS) == 1_001, "the one for everything is beside them"


async def test_an_answer_of_which_nobody_says_when_it_began_is_stored_an_hour_after_a_drop(
    tried: Tried, raw: Client
) -> None:
    await tried.answers.drop("acme", Everything())
    dropped = await tried.answers.as_of("acme")
    raw.zadd(DROPS, {"since": dropped - 7_200_000_000})
    for ago_seconds, stored in ((3_590, False), (3_610, True)):
        raw.zadd(DROPS, {"all": dropped - ago_seconds * 1_000_000})
        assert await tried.answers.put(key("q"), tried.answer()) is stored


async def unavailable(tried: Tried) -> float:
    """Every verb refuses; how long the slowest took."""
    slowest = 0.0
    for verb in (
        lambda: tried.answers.get(key("q")),
        lambda: tried.answers.put(key("q"), tried.answer()),
        lambda: tried.answers.drop("acme", WithTag("t=1")),
    ):
        began = time.perf_counter()
        with pytest.raises(TokenwayError) as caught:
            await verb()
        assert caught.value.reason is Reason.SERVICE_UNAVAILABLE
        assert caught.value.retry_after_seconds
        slowest = max(slowest, time.perf_counter() - began)
    return slowest


async def test_a_killed_redis_is_refused_and_found_again(own_valkey: RedisServer) -> None:
    async with in_redis(own_valkey.url) as tried:
        await tried.answers.put(key("q"), answer := tried.answer())
        own_valkey.kill()
        with capture_logs() as lines:
            assert await unavailable(tried) < 10
            own_valkey.start()
            assert await tried.answers.get(key("q")) == answer
        assert [line["event"].split(":")[0] for line in lines] == ["redis is away", "redis is back"]


async def test_a_frozen_redis_is_given_up_in_time_and_mixes_up_no_answers(own_valkey: RedisServer) -> None:
    async with in_redis(own_valkey.url, timeout_seconds=SHORT_SECONDS) as tried:
        await tried.answers.put(key("q"), answer := tried.answer("one"))
        await tried.answers.put(key("another"), other := tried.answer("two"))
        own_valkey.freeze()
        assert SHORT_SECONDS <= await unavailable(tried) < 10
        own_valkey.thaw()
        # What was asked in the frost may be answered now: to nobody.
        assert await tried.answers.get(key("another")) == other
        assert await tried.answers.get(key("q")) in (answer, tried.answer())


async def test_a_restart_of_redis_costs_no_lookup(own_valkey: RedisServer) -> None:
    async with in_redis(own_valkey.url) as tried:
        await tried.answers.put(key("q"), answer := tried.answer())
        own_valkey.stop()
        own_valkey.start()
        assert await tried.answers.get(key("q")) == answer


async def test_a_redis_that_refuses_to_write_is_away(own_valkey: RedisServer) -> None:
    redis.Redis.from_url(own_valkey.url).config_set("maxmemory", "1")
    async with in_redis(own_valkey.url) as tried:
        with pytest.raises(TokenwayError, match="OutOfMemory"):
            await tried.answers.put(key("q"), tried.answer())


@pytest.mark.parametrize("lost", ["tw:cache:sizes", "tw:cache:sizes:sum"])
async def test_of_the_sizes_and_their_sum_one_may_be_lost(redis_servers: RedisServer, raw: Client, lost: str) -> None:
    async with in_redis(redis_servers.url, max_answers=2) as store:
        for name in ("a", "b"):
            await store.answers.put(key(name), store.answer())
        raw.delete(lost)  # a Redis that may evict any key
        await store.answers.drop("acme", Everything())
        as_of = await store.answers.as_of("acme")
        for name in ("c", "d", "e"):
            assert await store.answers.put(key(name), store.answer(), as_of=as_of)
        assert await store.answers.count("acme") == 2
