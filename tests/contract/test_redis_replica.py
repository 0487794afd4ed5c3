"""An index follows its Redis: by the stream of changes, and anew wherever some of those were lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from libs.background import running
from libs.redis_client import redis_client
from libs.testing.valkey import RedisServer
from libs.testing.vector_index import InMemoryIndex
from services.cache.adapters.index_entries import CHANGES
from services.cache.adapters.redis_replica import Replica
from services.cache.domain.key import AnswerKey
from services.cache.domain.ports import IndexEntry
from services.cache.domain.selection import Everything, WithTag
from tests.contract.answer_stores import Tried, in_redis, key
from tests.contract.vector_indexes import DIMENSIONS, single

Client = Any  # redis-py's stubs mix bytes with texts, and sync with async
ENCODER = "of the test"
SECONDS = 20.0


class Following:
    """A replica beside a store of the same Redis. It follows while `paused` is not left."""

    def __init__(self, stored: Tried, url: str) -> None:
        self.stored = stored
        self.raw: Client = redis.Redis.from_url(url)
        self.index = InMemoryIndex(max_entries=10_000, clock=stored.clock)
        self.redis = redis_client(url)
        self.replica = self.another()

    def another(self) -> Replica:
        return Replica(
            redis=self.redis, index=self.index, encoder=ENCODER, dimensions=DIMENSIONS, timeout_seconds=SECONDS
        )

    def families(self) -> dict[str, bytes]:
        """By the names a, b and c: to which family each belongs that the index has."""
        names = {key(each): each for each in "abc"}
        return {names[each.key]: each.family or each.own_family for each in self.index._entries.values()}

    async def put(self, name: str, *, organisation: str = "acme", **given: Any) -> None:
        answer, as_of = self.stored.answer(name, **given), await self.stored.answers.as_of(organisation)
        await self.stored.answers.put(key(name, organisation), answer, as_of=as_of, vector=single(name))

    def known(self) -> dict[AnswerKey, bytes]:
        return {each.key: each.partition for each in self.index._entries.values()}

    async def knows(self, *names: str, organisation: str = "acme") -> None:
        """Waits until the index has exactly these."""
        wanted = {key(each, organisation) for each in names}
        await self.until(lambda: set(self.known()) == wanted)

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not so():  # noqa: ASYNC110  # what happens is seen in the index, which sets no event
                await asyncio.sleep(0.002)

    @asynccontextmanager
    async def follows(self) -> AsyncIterator[None]:
        async with running(self.replica.follow(), name="replica"):
            yield


@pytest.fixture(params=["valkey_server", "redis_server"])
async def it(request: pytest.FixtureRequest) -> AsyncIterator[Following]:
    server: RedisServer = request.getfixturevalue(request.param)
    server.flush()
    async with in_redis(server.url, encoder=ENCODER) as stored:
        following = Following(stored, server.url)
        yield following
        await following.redis.aclose()
        following.raw.close()


async def test_what_is_put_is_known_with_its_partition_vector_and_expiry(it: Following) -> None:
    async with it.follows():
        await it.put("q", ttl_seconds=60)
        await it.knows("q")
        answer = await it.stored.answers.get(key("q"))
        assert answer is not None
        assert it.known() == {key("q"): answer.partition}
        [near] = it.index.nearest("acme", answer.partition, single("q"), limit=1)
        assert near.similarity == pytest.approx(1, abs=0.001)
        it.stored.clock.advance(60)
        assert it.index.nearest("acme", answer.partition, single("q"), limit=1) == []


async def test_whose_answer_is_whose_is_known_by_whoever_follows_and_by_whoever_starts_later(it: Following) -> None:
    async with it.follows():
        for name in "abc":
            await it.put(name)
        await it.knows("a", "b", "c")
        families = {**it.families(), "b": it.families()["a"], "c": bytes(16)}
        for name in "bc":
            await it.stored.answers.join(key(name), families[name])
        await it.until(lambda: it.families() == families)
    it.replica = it.another()
    it.index.clear()
    async with it.follows():
        await it.until(lambda: it.families() == families)
        await it.put("b")
        await it.until(lambda: it.families()["b"] not in families.values())


async def test_what_is_not_there_or_without_a_vector_joins_nothing(it: Following) -> None:
    async with it.follows():
        await it.put("a")
        await it.stored.answers.put(key("without"), it.stored.answer())
        before = it.raw.xlen(CHANGES)
        for name in ("without", "absent"):
            await it.stored.answers.join(key(name), bytes(16))
        assert it.raw.xlen(CHANGES) == before
        assert not it.raw.keys(f"*{key('absent').digest.hex()}*")
        await it.knows("a")


@pytest.mark.parametrize("tag", [b"", b"acme", b"\xff\0" + bytes(32), b"acme\0" + key("a").digest])
@pytest.mark.parametrize("family", [b"", b"short", bytes(17)])
async def test_a_family_that_is_none_changes_nothing(it: Following, tag: bytes, family: bytes) -> None:
    async with it.follows():
        await it.put("a")
        await it.knows("a")
        before = it.families()
        it.raw.xadd(CHANGES, {"tag": tag, "fam": family})
        await it.put("b")
        await it.knows("a", "b")
        assert it.families() == {**before, "b": it.families()["b"]}
    assert it.replica.rebuilds == 1


async def test_what_is_dropped_is_forgotten_and_of_nobody_else(it: Following) -> None:
    async with it.follows():
        await it.put("tagged", tags=("doc=1",))
        await it.put("other")
        await it.put("tagged", organisation="globex", tags=("doc=1",))
        await it.until(lambda: len(it.index) == 3)
        await it.stored.answers.drop("acme", WithTag("doc=1"))
        await it.until(lambda: set(it.known()) == {key("other"), key("tagged", "globex")})
        await it.stored.answers.drop("globex", Everything())
        await it.knows("other")
    assert it.replica.rebuilds == 1


async def test_a_replica_that_starts_late_reads_what_is_there_and_then_follows(it: Following) -> None:
    names = [str(number) for number in range(250)]
    for name in names:
        await it.put(name)
    async with it.follows():
        await it.knows(*names)
        await it.put("later")
        await it.knows(*names, "later")
    assert it.replica.rebuilds == 1


async def test_only_vectors_of_this_encoder_are_taken_in(it: Following) -> None:
    async def put_all() -> None:
        await it.stored.answers.put(key("without"), it.stored.answer())
        async with in_redis(_url(it), encoder="another") as other:
            await other.answers.put(key("another's"), it.stored.answer(), vector=single("another's"))
        await it.stored.answers.put(key("too short"), it.stored.answer(), vector=single("too short")[:-4])
        await it.put("own")

    await put_all()
    async with it.follows():
        await it.knows("own")
        it.raw.delete(CHANGES)
        await put_all()
        await it.put("last")
        await it.knows("own", "last")


async def test_a_replica_that_was_away_catches_up_from_where_it_was(it: Following) -> None:
    async with it.follows():
        await it.put("before")
        await it.knows("before")
    names = [str(number) for number in range(250)]
    for name in names:
        await it.put(name)
    await it.stored.answers.drop("acme", Everything())
    await it.put("after")
    assert list(it.known()) == [key("before")]
    async with it.follows():
        await it.knows("after")
    assert it.replica.rebuilds == 1


async def trimmed(it: Following) -> None:
    await it.put("unread")
    it.raw.xtrim(CHANGES, maxlen=0)


async def trimmed_and_gone_on(it: Following) -> None:
    await trimmed(it)
    await it.put("read")


async def flushed(it: Following) -> None:
    it.raw.flushall()


async def flushed_and_gone_on(it: Following) -> None:
    it.raw.flushall()
    for name in ("new", "newer"):
        await it.put(name)


async def replaced_by_one_whose_clock_is_behind(it: Following) -> None:
    await it.put("unread")
    [(_, change)] = it.raw.xrevrange(CHANGES, count=1)
    it.raw.delete(CHANGES)
    it.raw.xadd(CHANGES, change, id="1-1")


GAPS = [trimmed, trimmed_and_gone_on, flushed, flushed_and_gone_on, replaced_by_one_whose_clock_is_behind]


@pytest.mark.parametrize("paused", [True, False])
@pytest.mark.parametrize("gap", GAPS)
async def test_a_gap_is_noticed_and_all_is_read_anew(it: Following, gap: Any, paused: bool) -> None:
    async with it.follows():
        for name in ("a", "b"):
            await it.put(name)
        await it.knows("a", "b")
        if not paused:
            await gap(it)
    if paused:
        await gap(it)
    async with it.follows():
        if paused:
            await it.until(lambda: it.replica.rebuilds == 2)
        await it.until(lambda: {each.digest.hex() for each in it.known()} == _in_redis(it))
        await it.put("last")
        await it.until(lambda: key("last") in it.known())


async def test_nothing_that_is_put_or_dropped_during_a_rebuild_is_missed(it: Following) -> None:
    for number in range(500):
        await it.put(str(number), tags=(f"doc={number % 2}",))

    async def change() -> None:
        await it.stored.answers.drop("acme", WithTag("doc=1"))
        for number in range(500, 700):
            await it.put(str(number))

    async with it.follows():
        await change()
        await it.knows(*(str(number) for number in range(0, 500, 2)), *(str(number) for number in range(500, 700)))


async def test_a_redis_that_was_killed_is_followed_again(own_valkey: RedisServer) -> None:
    async with in_redis(own_valkey.url, encoder=ENCODER) as stored:
        it = Following(stored, own_valkey.url)
        async with it.follows():
            await it.put("lost")
            await it.knows("lost")
            own_valkey.kill()
            own_valkey.start()
            await it.put("new")
            await it.until(lambda: {each.digest.hex() for each in it.known()} == _in_redis(it))
            assert key("new") in it.known()
        await it.redis.aclose()
        it.raw.close()


async def test_how_far_behind_it_may_be_is_told_and_ends_with_the_frost(own_valkey: RedisServer) -> None:
    async with in_redis(own_valkey.url, encoder=ENCODER) as stored:
        it = Following(stored, own_valkey.url)
        async with it.follows():
            await it.put("one")
            await it.knows("one")
            assert it.replica.behind_seconds < SECONDS
            own_valkey.freeze()
            await it.until(lambda: it.replica.behind_seconds > 1.2)
            own_valkey.thaw()
            await it.until(lambda: it.replica.behind_seconds < 0.5)
            await it.put("two")
            await it.knows("one", "two")
        await it.redis.aclose()
        it.raw.close()


def _in_redis(it: Following) -> set[str]:
    return {each.decode().rpartition(":")[2] for each in it.raw.keys("tw:cache:*:answer:*")}


def _url(it: Following) -> str:
    where = it.raw.connection_pool.connection_kwargs
    return f"unix://{where['path']}" if "path" in where else f"redis://{where['host']}:{where['port']}"


async def test_a_tag_that_is_named_like_an_answer_hides_none(it: Following) -> None:
    await it.put("q", tags=("x}:answer:=1",))
    async with it.follows():
        await it.knows("q")


async def test_a_change_that_could_not_be_taken_in_ends_nothing_and_is_taken_in_anew(
    it: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with it.follows():
        await it.put("a")
        await it.knows("a")
        put, failures = it.index.put, iter([MemoryError("no room")])

        def fails_once(entry: IndexEntry) -> None:
            for failure in failures:
                raise failure
            put(entry)

        monkeypatch.setattr(it.index, "put", fails_once)
        await it.put("b")
        await it.knows("a", "b")
    assert it.replica.behind_seconds < SECONDS
