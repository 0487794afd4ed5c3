"""What every Flights must do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count

import pytest

from libs.errors import Reason
from libs.redis_client import redis_client
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from libs.testing.flights import InMemoryFlights, Sky
from libs.testing.valkey import RedisServer
from services.cache.adapters.redis_answers import RedisAnswers
from services.cache.adapters.redis_flights import RedisFlights
from services.cache.adapters.redis_outages import Outages
from services.cache.domain.flight import GO_ON_ALONE, Flight, Follow, Lead, Leader, Progress, Standing
from services.cache.domain.key import AnswerKey
from services.cache.domain.ports import Flights
from services.cache.domain.selection import Everything, OfModel, Selection, WithTag, selections_of
from services.cache.domain.stats import Stats
from tests.contract import answer_stores
from tests.contract.answer_stores import TIMEOUT_SECONDS, key

ME, OTHER = Leader("req-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), Leader("req-2")
Q = key("q")
SELECTIONS = selections_of("small", "1", ["doc=7"])


def new(key: AnswerKey) -> Flight:
    """One that nobody leads yet."""
    return Flight(key, uuid.uuid4().hex)


def whom(boarded: object) -> tuple[Flight, Leader]:
    """Whom to follow."""
    assert isinstance(boarded, Follow)
    return boarded.flight, boarded.leader


@dataclass(frozen=True, slots=True)
class Replicas:
    """Two that share their flights and answers."""

    one: Flights
    two: Flights
    stored: answer_stores.Tried

    async def led(self) -> Flight:
        """A flight that the first one leads."""
        boarded = await self.one.board(new(Q), ME, SELECTIONS)
        assert isinstance(boarded, Lead)
        return boarded.flight

    async def followed(self) -> Flight:
        """The same with a follower at the second."""
        flight = await self.led()
        assert whom(await self.two.board(new(Q), OTHER, SELECTIONS)) == (flight, ME)
        return flight


def in_memory() -> Replicas:
    clock = ManualClock()
    answers = InMemoryAnswers(clock=clock)
    sky = Sky(answers=answers, clock=clock)
    return Replicas(InMemoryFlights(sky), InMemoryFlights(sky), answer_stores.Tried(answers, clock, Stats()))


@asynccontextmanager
async def in_redis(
    url: str, *, lease_seconds: float = 60, timeout_seconds: float = TIMEOUT_SECONDS
) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        stored = await stack.enter_async_context(answer_stores.in_redis(url))

        def replica() -> RedisFlights:
            redis = redis_client(url)
            stack.push_async_callback(redis.aclose)
            outages = Outages(timeout_seconds=timeout_seconds)
            answers = RedisAnswers(redis=redis, outages=outages, clock=stored.clock, unreadable=lambda: None)
            return RedisFlights(redis=redis, outages=outages, answers=answers, lease_seconds=lease_seconds)

        yield Replicas(replica(), replica(), stored)


@pytest.fixture(params=["in_memory", "valkey_server", "redis_server"])
async def replicas(request: pytest.FixtureRequest) -> AsyncIterator[Replicas]:
    if request.param == "in_memory":
        yield in_memory()
        return
    server = request.getfixturevalue(request.param)
    assert isinstance(server, RedisServer)
    server.flush()
    async with in_redis(server.url) as found:
        yield found


async def test_of_many_who_ask_at_once_on_two_replicas_one_leads(replicas: Replicas) -> None:
    boarded = await asyncio.gather(*(each.board(new(Q), ME, SELECTIONS) for each in (replicas.one, replicas.two) * 20))
    leads = [each for each in boarded if isinstance(each, Lead)]
    assert len(leads) == 1
    assert [whom(each) for each in boarded if each is not leads[0]] == [(leads[0].flight, ME)] * 39


async def test_another_question_and_another_organisation_are_led_by_themselves(replicas: Replicas) -> None:
    await replicas.led()
    for other in (key("another"), key("q", "globex"), key("q", "acme}"), key("q", "{acme}")):
        assert isinstance(await replicas.two.board(new(other), ME, SELECTIONS), Lead)


@pytest.mark.parametrize("selection", [*sorted(SELECTIONS, key=str), None], ids=str)
async def test_a_flight_whose_answer_is_dropped_goes_on_for_its_followers_and_gets_no_more(
    replicas: Replicas, selection: Selection | None
) -> None:
    flight = await replicas.followed()
    await replicas.one.publish(flight, 1, b"old")
    if selection is None:
        await replicas.stored.answers.evict(Q)
    else:
        await replicas.stored.answers.drop("acme", selection)

    new_lead = await replicas.two.board(new(Q), OTHER, SELECTIONS)
    assert isinstance(new_lead, Lead)
    assert whom(await replicas.one.board(new(Q), ME, SELECTIONS)) == (new_lead.flight, OTHER)
    assert await replicas.one.renew([flight, new_lead.flight]) == [Standing.FOLLOWED] * 2
    await replicas.two.publish(new_lead.flight, 1, b"new")
    await replicas.one.publish(flight, 2, b"er", end=b"end")
    assert await replicas.two.progress(flight, after=0) == Progress((b"old", b"er"), 2, b"end")
    assert await replicas.one.progress(new_lead.flight, after=0) == Progress((b"new",), 1)


async def test_a_flight_that_a_drop_was_not_about_is_followed(replicas: Replicas) -> None:
    flight = await replicas.led()
    for selection in (OfModel("large"), OfModel("small", "2"), WithTag("doc=8")):
        await replicas.stored.answers.drop("acme", selection)
    await replicas.stored.answers.drop("globex", Everything())
    await replicas.stored.answers.evict(key("another"))
    assert whom(await replicas.two.board(new(Q), OTHER, selections_of("small", "1", ["doc=8"]))) == (flight, ME)


async def test_who_leads_or_follows_is_told_of_which_drops_it_may_store_an_answer(replicas: Replicas) -> None:
    await replicas.stored.answers.drop("acme", Everything())
    as_of = await replicas.stored.answers.as_of("acme")
    boarded = [await each.board(new(Q), ME, SELECTIONS) for each in (replicas.one, replicas.two)]
    assert [each.as_of for each in boarded if isinstance(each, Lead | Follow)] == [as_of] * 2


async def test_a_flight_that_was_given_back_before_it_boarded_leads_nothing(replicas: Replicas) -> None:
    cancelled = new(Q)
    await replicas.one.give_back(cancelled)
    await replicas.one.board(cancelled, ME, SELECTIONS)
    assert isinstance(await replicas.two.board(new(Q), OTHER, SELECTIONS), Lead)
    assert await replicas.one.renew([cancelled]) == [Standing.LOST]


async def test_where_there_is_an_answer_nobody_leads(replicas: Replicas) -> None:
    await replicas.stored.answers.put(Q, answer := replicas.stored.answer())
    assert await replicas.one.board(new(Q), ME, SELECTIONS) == answer


async def test_an_answer_that_was_put_during_the_flight_is_given_to_those_who_come_after(replicas: Replicas) -> None:
    await replicas.led()
    await replicas.stored.answers.put(Q, answer := replicas.stored.answer())
    assert await replicas.two.board(new(Q), OTHER, SELECTIONS) == answer


async def test_what_a_leader_publishes_its_followers_get_in_order_with_its_end(replicas: Replicas) -> None:
    flight = await replicas.followed()
    assert await replicas.one.publish(flight, 1, b"a") is Standing.FOLLOWED
    assert await replicas.two.progress(flight, after=0) == Progress((b"a",), 1)
    await replicas.one.publish(flight, 2, b"b")
    await replicas.one.publish(flight, 3, b"c", end=b"end")
    assert await replicas.two.progress(flight, after=1) == Progress((b"b", b"c"), 3, b"end")
    assert await replicas.one.progress(flight, after=0) == Progress((b"a", b"b", b"c"), 3, b"end")


async def test_before_anything_is_published_there_is_no_progress(replicas: Replicas) -> None:
    flight = await replicas.followed()
    assert await replicas.two.progress(flight, after=0) == Progress((), 0)


async def test_a_number_that_was_taken_is_not_taken_again(replicas: Replicas) -> None:
    flight = await replicas.followed()
    for _ in range(2):
        assert await replicas.one.publish(flight, 1, b"a") is Standing.FOLLOWED
    assert await replicas.two.progress(flight, after=0) == Progress((b"a",), 1)


async def test_nothing_is_kept_of_what_nobody_follows(replicas: Replicas) -> None:
    flight = await replicas.led()
    assert await replicas.one.publish(flight, 1, b"a") is Standing.ALONE
    assert await replicas.one.progress(flight, after=0) == Progress((), 0)


async def test_after_the_end_another_leads(replicas: Replicas) -> None:
    flight = await replicas.followed()
    await replicas.one.publish(flight, 1, b"a", end=b"end")
    boarded = await replicas.two.board(new(Q), OTHER, SELECTIONS)
    assert isinstance(boarded, Lead)
    assert boarded.flight != flight
    assert await replicas.one.publish(flight, 2, b"late") is Standing.LOST
    assert (await replicas.two.progress(flight, after=0)).end == b"end", "those who read it still may"


async def test_a_lead_that_is_given_back_is_lost_to_its_followers_and_free(replicas: Replicas) -> None:
    flight = await replicas.followed()
    await replicas.one.publish(flight, 1, b"a")
    await replicas.one.give_back(flight)
    assert await replicas.two.progress(flight, after=0) == Progress((b"a",), 1, lost=True)
    assert isinstance(await replicas.two.board(new(Q), OTHER, SELECTIONS), Lead)


async def test_who_leads_no_more_can_neither_publish_nor_end_nor_give_back(replicas: Replicas) -> None:
    old = await replicas.led()
    await replicas.one.give_back(old)
    boarded = await replicas.two.board(new(Q), OTHER, SELECTIONS)
    assert isinstance(boarded, Lead)
    assert whom(await replicas.one.board(new(Q), ME, SELECTIONS)) == (boarded.flight, OTHER)
    assert await replicas.one.publish(old, 1, b"old", end=b"end") is Standing.LOST
    await replicas.one.give_back(old)
    assert await replicas.two.renew([boarded.flight, old]) == [Standing.FOLLOWED, Standing.LOST]
    assert await replicas.two.progress(boarded.flight, after=0) == Progress((), 0)


async def test_renewing_says_whether_somebody_follows(replicas: Replicas) -> None:
    flight = await replicas.led()
    assert await replicas.one.renew([flight]) == [Standing.ALONE]
    await replicas.two.board(new(Q), OTHER, SELECTIONS)
    assert await replicas.one.renew([flight]) == [Standing.FOLLOWED]
    assert await replicas.one.renew([]) == []


class Heard:
    """The news of one replica, while it listens."""

    def __init__(self, flights: Flights) -> None:
        self.tokens: list[str] = []
        self._some = asyncio.Event()
        self._task = asyncio.create_task(flights.listen(self._hear))

    def _hear(self, token: str, ended: bool) -> None:
        self.tokens.append(f"{token} ended" if ended else token)
        self._some.set()

    async def next(self) -> str:
        async with asyncio.timeout(60):
            await self._some.wait()
        self._some.clear()
        return self.tokens.pop()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


@asynccontextmanager
async def listening(replicas: Replicas) -> AsyncIterator[tuple[Heard, Heard]]:
    heard = Heard(replicas.one), Heard(replicas.two)
    # Until both are known to listen: a flight of each that it follows itself, until it hears of one.
    names = map(str, count())
    for flights, ears in zip((replicas.one, replicas.two), heard, strict=True):
        while not ears.tokens:
            asked = key(f"warm-up {next(names)}")
            await flights.board(new(asked), ME, SELECTIONS)
            await flights.board(new(asked), OTHER, SELECTIONS)
            await asyncio.sleep(0.01)
        await ears.next()
    try:
        yield heard
    finally:
        for ears in heard:
            await ears.stop()


async def test_a_leader_hears_of_its_first_follower_and_followers_of_progress_and_loss(replicas: Replicas) -> None:
    async with listening(replicas) as (one, two):
        flight = await replicas.followed()
        assert await one.next() == flight.token
        await replicas.one.publish(flight, 1, b"a")
        assert await two.next() == flight.token
        await replicas.one.give_back(flight)
        assert await two.next() == flight.token


async def test_a_leader_hears_of_an_end_that_was_published_at_another_replica(replicas: Replicas) -> None:
    async with listening(replicas) as (one, _):
        flight = await replicas.led()
        await replicas.two.publish(flight, 1, b"a", end=b"end")
        assert await one.next() == f"{flight.token} ended"


async def test_a_lease_runs_out(valkey_server: RedisServer) -> None:
    async with in_redis(valkey_server.url, lease_seconds=0.05) as replicas:
        flight = await replicas.followed()
        await asyncio.sleep(0.1)  # Redis's clock is its own
        assert await replicas.one.renew([flight]) == [Standing.LOST]
        assert (await replicas.two.progress(flight, after=0)).lost
        assert isinstance(await replicas.two.board(new(Q), OTHER, SELECTIONS), Lead)


async def test_news_that_are_no_text_end_nothing(valkey_server: RedisServer) -> None:
    redis = redis_client(valkey_server.url)
    async with in_redis(valkey_server.url) as replicas, listening(replicas) as (one, _):
        for each in await redis.pubsub_channels("tw:cache:replica:*"):
            await redis.publish(each, b"\xff\xfe")
        flight = await replicas.followed()
        while await one.next() != flight.token:
            pass
    await redis.aclose()


def test_a_lease_in_memory_runs_out_and_is_renewed() -> None:
    async def told() -> None:
        replicas = in_memory()
        flight = await replicas.followed()
        for _ in range(3):
            replicas.stored.clock.advance(1.5)
            assert await replicas.one.renew([flight]) == [Standing.FOLLOWED]
        replicas.stored.clock.advance(2.5)
        assert (await replicas.two.progress(flight, after=0)).lost

    asyncio.run(told())


async def test_a_redis_that_is_frozen_is_said_to_be_away_soon(own_valkey: RedisServer) -> None:
    async with in_redis(own_valkey.url, timeout_seconds=1) as replicas:
        flight = await replicas.followed()
        own_valkey.freeze()
        try:
            answers = await asyncio.gather(
                replicas.one.board(new(Q), ME, SELECTIONS),
                replicas.one.publish(flight, 1, b"a"),
                replicas.one.renew([flight]),
                replicas.two.progress(flight, after=0),
                return_exceptions=True,
            )
            assert [getattr(each, "reason", each) for each in answers] == [Reason.SERVICE_UNAVAILABLE] * 4
        finally:
            own_valkey.thaw()


async def test_an_entry_that_cannot_be_trusted_is_led_like_a_miss(valkey_server: RedisServer) -> None:
    valkey_server.flush()
    async with in_redis(valkey_server.url) as replicas:
        await replicas.stored.answers.put(Q, replicas.stored.answer(ttl_seconds=30))
        replicas.stored.clock.advance(31)  # by the cache's clock it is over, by Redis's not yet
        flight = await replicas.led()
        assert whom(await replicas.two.board(new(Q), OTHER, SELECTIONS)) == (flight, ME)


async def test_nothing_of_a_flight_stays_in_redis(valkey_server: RedisServer) -> None:
    valkey_server.flush()
    redis = redis_client(valkey_server.url)
    async with in_redis(valkey_server.url) as replicas:
        flight = await replicas.followed()
        await replicas.one.publish(flight, 1, b"a")
        stays = {b"tw:cache:{acme}:drops"}
        flying = set(await redis.keys("*")) - stays
        assert len(flying) == 3
        for each in flying:
            assert await redis.pttl(each) > 0, f"{each!r} would stay for ever"
        await replicas.one.publish(flight, 2, b"b", end=b"end")
        left = set(await redis.keys("*")) - stays
        assert len(left) == 2
        for each in left:
            assert 0 < await redis.pttl(each) <= 10_000
    await redis.aclose()


async def test_all_of_a_flight_lasts_for_as_long_as_its_lease_is_renewed(valkey_server: RedisServer) -> None:
    """However long its answer takes, and pauses: who comes then still finds it, and all of it."""
    valkey_server.flush()
    redis = redis_client(valkey_server.url)
    async with in_redis(valkey_server.url) as replicas:
        flight = await replicas.followed()
        await replicas.one.publish(flight, 1, b"a")
        flying = set(await redis.keys("*")) - {b"tw:cache:{acme}:drops"}
        for each in flying:
            await redis.pexpire(each, 5_000)
        assert await replicas.one.renew([flight]) == [Standing.FOLLOWED]
        assert min([await redis.pttl(each) for each in flying]) > 5_000
    await redis.aclose()


async def test_followers_go_on_alone_where_some_of_what_was_published_is_gone(valkey_server: RedisServer) -> None:
    valkey_server.flush()
    redis = redis_client(valkey_server.url)
    async with in_redis(valkey_server.url) as replicas:
        flight = await replicas.followed()
        await replicas.one.publish(flight, 1, b"a")
        await replicas.one.publish(flight, 2, b"b")
        # As a Redis does that is full, and evicts what would expire first.
        await redis.delete(*await redis.keys(f"tw:cache:*:pieces:*:{flight.token}"))
        await replicas.one.publish(flight, 3, b"c", end=b"end")
        for read in (0, 1):
            assert await replicas.two.progress(flight, after=read) == Progress((), read, GO_ON_ALONE)
        assert await replicas.two.progress(flight, after=2) == Progress((b"c",), 3, b"end")
    await redis.aclose()
