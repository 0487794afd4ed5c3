"""Leaders and followers at two replicas that share their flights in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from libs.background import Background, running
from libs.errors import Reason, TokenwayError
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from libs.testing.flights import InMemoryFlights, Sky
from services.cache.domain.draft import AnswerFailed, NotUnderstood
from services.cache.domain.eligibility import BypassReason
from services.cache.domain.fill import Fill
from services.cache.domain.flight import Follow, Lead, Leader
from services.cache.domain.found import Bypass, Found, Hit, Kind, LookupEvent, Miss, Publish, SharedEnd, SharedPieces
from services.cache.domain.live_fill import LiveFill, Received
from services.cache.domain.lookup import Lookup
from services.cache.domain.model import Question, StoredAnswer, Tier
from services.cache.domain.selection import Everything, OfModel
from services.cache.domain.single_flight import SingleFlight
from services.cache.domain.stats import FillResult, FlightEvent, Stats
from tests.contract.answer_stores import in_memory
from tests.unit.cache.questions import CUT, STOP, asked, order, part, question

END = b"the end"
MAX_BYTES = 100


class Counted(InMemoryFlights):
    """How often it was asked who leads. A reply waits for `arrives`, after it was made."""

    def __init__(self, sky: Sky) -> None:
        super().__init__(sky)
        self.asked, self.asked_once, self.arrives = 0, asyncio.Event(), asyncio.Event()
        self.arrives.set()

    async def board(self, *given: Any) -> Any:
        self.asked += 1
        reply = await super().board(*given)
        self.asked_once.set()
        await self.arrives.wait()
        return reply


class Replica:
    """One of the cache."""

    def __init__(self, sky: Sky, answers: InMemoryAnswers, clock: ManualClock, background: Background) -> None:
        self.flights, self.stats, self.answers = Counted(sky), Stats(), answers
        self.single_flight = SingleFlight(
            flights=self.flights,
            background=background,
            clock=clock,
            stats=self.stats,
            max_answer_bytes=MAX_BYTES,
            max_followers=5,
            sleep=lambda _: asyncio.sleep(0),
        )
        self.lookup = Lookup(answers=answers, clock=clock, stats=self.stats, single_flight=self.single_flight)
        fill = Fill(answers=answers, clock=clock, stats=self.stats, chance=lambda: 0.5, max_answer_bytes=1_000)
        self.fill = LiveFill(fill=fill, single_flight=self.single_flight)


class Asker:
    """A caller of a replica, and what it was told."""

    def __init__(self, replica: Replica, name: str = "req-1") -> None:
        self.told: list[LookupEvent] = []
        self._some = asyncio.Event()
        self._task = asyncio.create_task(self._ask(replica, name))

    async def _ask(self, replica: Replica, name: str) -> None:
        async with aclosing(replica.lookup.events(question(), leader=Leader(name))) as events:
            async for event in events:
                self.told.append(event)
                self._some.set()

    async def until(self, *kinds: type[Any]) -> Any:
        """The last event, once there is one of these kinds: of a verdict, or of an event."""
        async with asyncio.timeout(5):
            while not self.told or not isinstance(_of(self.told[-1]), kinds):
                self._some.clear()
                await self._some.wait()
        return _of(self.told[-1])

    async def token(self) -> str:
        return str((await self.until(Lead)).flight.token)

    async def ended(self) -> None:
        async with asyncio.timeout(5):
            await self._task

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    @property
    def leads(self) -> list[Lead]:
        """The leads that it was given."""
        return [each for each in map(_of, self.told) if isinstance(each, Lead)]

    @property
    def pieces(self) -> bytes:
        """Since the last verdict."""
        since = max(place for place, each in enumerate(self.told) if isinstance(each, Found))
        return b"".join(each.message for each in self.told[since:] if isinstance(each, SharedPieces))


def _of(event: LookupEvent) -> object:
    return event.verdict if isinstance(event, Found) else event


class Filling:
    """A leader's Fill, piece by piece."""

    def __init__(self, replica: Replica, token: str, *, as_of: int = 0) -> None:
        self._coming: asyncio.Queue[Received | None] = asyncio.Queue()
        self._coming.put_nowait(Received(replace(order(), lead_token=token, as_of=as_of)))
        self.result = asyncio.create_task(replica.fill.store(self._received()))

    def send(self, *pieces: bytes) -> None:
        for each in pieces:
            self._coming.put_nowait(Received(part(each.decode()), each))

    def end(self, event: Any = STOP) -> None:
        self._coming.put_nowait(Received(event, END))
        self._coming.put_nowait(None)

    def send_unknown(self) -> None:
        """As of a newer version."""
        self._coming.put_nowait(Received(NotUnderstood()))

    def break_off(self) -> None:
        self._coming.put_nowait(None)

    async def _received(self) -> AsyncIterator[Received]:
        while (each := await self._coming.get()) is not None:
            yield each


@asynccontextmanager
async def replicas() -> AsyncIterator[tuple[Replica, Replica, ManualClock]]:
    clock = ManualClock()
    answers = InMemoryAnswers(clock=clock)
    sky = Sky(answers=answers, clock=clock)
    async with AsyncExitStack() as stack:
        background = await stack.enter_async_context(Background(drain_seconds=1))
        one, two = (Replica(sky, answers, clock, background) for _ in range(2))
        for each in (one, two):
            await stack.enter_async_context(running(each.single_flight.run(), name="flights"))
        await asyncio.sleep(0)
        yield one, two, clock


async def test_followers_at_both_replicas_get_what_the_leader_sends_as_it_comes() -> None:
    async with replicas() as (one, two, _):
        leader = Asker(one)
        filling = Filling(one, await leader.token())
        followers = [Asker(one), Asker(two), Asker(two)]
        for each in followers:
            assert (await each.until(Follow)).leader == Leader("req-1")
        await leader.until(Publish)
        filling.send(b"a")
        for each in followers:
            await each.until(SharedPieces)
        late = Asker(two)
        filling.send(b"b")
        filling.end()
        for each in (*followers, late):
            assert await each.until(SharedEnd) == SharedEnd(END)
            assert each.pieces == b"ab"
            await each.ended()
        await leader.ended()
        assert await filling.result is FillResult.STORED
        assert isinstance(await Asker(two).until(Hit), Hit)
        assert one.stats.flights == {FlightEvent.LED: 1, FlightEvent.FOLLOWED: 1}
        assert one.stats.followers == two.stats.followers == 0


async def test_for_one_that_reads_slowly_what_has_come_meanwhile_is_one_piece() -> None:
    async with replicas() as (one, two, _):
        leader = Asker(one)
        filling = Filling(one, await leader.token())
        async with aclosing(two.lookup.events(question(), leader=Leader("slow"))) as slow:
            await anext(slow)
            quick = Asker(two)
            for piece in (b"a", b"b", b"c"):
                filling.send(piece)
                while not (quick.told and quick.pieces.endswith(piece)):
                    await quick.until(SharedPieces)
                    await asyncio.sleep(0)
            filling.end()
            await quick.ended()
            assert await filling.result is FillResult.STORED
            assert [event async for event in slow] == [SharedPieces(b"abc"), SharedEnd(END)]
        await leader.ended()


async def test_those_who_come_late_share_the_bytes_of_what_they_missed() -> None:
    async with replicas() as (one, two, _):
        leader = Asker(one)
        filling = Filling(one, await leader.token())
        first = Asker(two)
        await first.until(Follow)
        filling.send(b"a", b"b", b"c")
        while first.pieces != b"abc":
            await first.until(SharedPieces)
        late = [Asker(two) for _ in range(2)]
        had = [await each.until(SharedPieces) for each in late]
        assert had[0].message == b"abc"
        assert had[0].message is had[1].message
        filling.break_off()
        for each in (leader, first, *late):
            await each.leave()
        await asyncio.wait({filling.result})


async def test_an_end_that_is_not_to_be_stored_is_handed_on_too() -> None:
    async with replicas() as (one, two, _):
        leader = Asker(one)
        filling = Filling(one, await leader.token())
        follower = Asker(two)
        await follower.until(Follow)
        filling.send(b"a")
        filling.end(CUT)
        assert await follower.until(SharedEnd) == SharedEnd(END)
        assert await filling.result is FillResult.FINISH_REASON
        await leader.ended()
        assert isinstance(await Asker(two).until(Lead), Lead)


@pytest.mark.parametrize("how", ["leaves", "breaks off", "is not heard of"])
async def test_of_those_who_lose_their_leader_one_leads_and_the_others_follow_it_from_the_beginning(how: str) -> None:
    async with replicas() as (one, two, clock):
        leader = Asker(one)
        filling = Filling(one, await leader.token())
        followers = [Asker(two) for _ in range(3)]
        for each in followers:
            await each.until(Follow)
        filling.send(b"a")
        for each in followers:
            await each.until(SharedPieces)
        if how == "leaves":
            await leader.leave()
        elif how == "is not heard of":
            one.flights.error = TokenwayError(Reason.SERVICE_UNAVAILABLE, "frozen")
            clock.advance(3)
        else:
            filling.break_off()
        # Those who wait are woken in the order in which they came.
        new, *others = followers
        await new.until(Publish)
        again = Filling(two, new.leads[0].flight.token)
        again.send(b"x", b"y")
        again.end()
        for each in others:
            assert await each.until(SharedEnd) == SharedEnd(END)
            assert each.pieces == b"xy"
            assert not each.leads
        assert two.stats.flights[FlightEvent.PROMOTED] == 1
        filling.break_off()
        await asyncio.wait({filling.result, again.result})


@pytest.mark.parametrize("pieces", [(), (b"a",)])
async def test_those_whose_leader_fails_of_itself_go_on_alone_at_once(pieces: tuple[bytes, ...]) -> None:
    async with replicas() as (one, two, _):
        leader = Asker(one)
        filling = Filling(one, await leader.token())
        followers = [Asker(each) for each in (one, two, two)]
        for each in followers:
            await each.until(Follow)
        filling.send(*pieces)
        filling.end(AnswerFailed())
        for each in followers:
            await each.until(Miss)
            await each.ended()
            assert not each.leads
        assert await filling.result is FillResult.UNFINISHED
        await leader.ended()
        assert isinstance(await Asker(two).until(Lead), Lead)


async def test_what_outgrows_the_room_sends_followers_on_alone() -> None:
    async with replicas() as (one, two, _):
        leader = Asker(one)
        filling = Filling(one, await leader.token())
        follower = Asker(two)
        await follower.until(Follow)
        filling.send(b"a" * 60, b"b" * 60)
        assert await follower.until(Miss) == Miss()
        await follower.ended()
        filling.end()
        assert await filling.result is FillResult.STORED


async def test_more_followers_than_there_is_room_for_are_misses() -> None:
    async with replicas() as (one, _, __):
        leader = Asker(one)
        await leader.until(Lead)
        followers = [Asker(one) for _ in range(5)]
        for each in followers:
            await each.until(Follow)
        assert await Asker(one).until(Miss) == Miss()
        for each in (leader, *followers):
            await each.leave()


async def test_a_follower_that_can_learn_nothing_for_as_long_as_a_lease_is_told_so() -> None:
    async with replicas() as (one, two, clock):
        leader = Asker(one)
        await leader.until(Lead)
        follower = Asker(two)
        await follower.until(Follow)
        two.flights.error = TokenwayError(Reason.SERVICE_UNAVAILABLE, "frozen")
        clock.advance(3)
        with pytest.raises(TokenwayError, match="frozen"):
            await follower.ended()
        await leader.leave()


async def test_a_lone_miss_publishes_nothing_and_its_look_up_ends_with_its_answer() -> None:
    async with replicas() as (one, _, __):
        leader = Asker(one)
        token = await leader.token()
        filling = Filling(one, token)
        filling.send(b"a")
        filling.end()
        await leader.ended()
        assert await filling.result is FillResult.STORED
        assert one.flights._sky.pieces == {}
        assert [type(_of(each)) for each in leader.told] == [Lead]


async def test_a_fill_by_way_of_another_replica_reaches_followers_and_ends_the_look_up() -> None:
    async with replicas() as (one, two, _):
        leader = Asker(one)
        filling = Filling(two, await leader.token())
        follower = Asker(one)
        await follower.until(Follow)
        filling.send(b"a")
        await follower.until(SharedPieces)
        filling.end()
        await follower.until(SharedEnd)
        await leader.ended()
        assert one.stats.flights[FlightEvent.BROKEN] == 0


async def test_a_caller_that_leaves_while_it_asks_leads_nothing() -> None:
    async with replicas() as (one, two, _):
        leaving = Asker(one)
        await leaving.leave()
        assert isinstance(await Asker(two).until(Lead), Lead)


async def test_of_many_who_ask_at_once_two_ask_for_all() -> None:
    async with replicas() as (one, _, __):
        one.flights.arrives.clear()
        askers = [Asker(one) for _ in range(5)]
        await one.flights.asked_once.wait()
        one.flights.arrives.set()
        for each in askers:
            await each.until(Lead, Follow)
        assert one.flights.asked == 2
        for each in askers:
            await each.leave()


async def test_who_asks_after_a_drop_is_not_told_what_was_asked_before_it() -> None:
    """Neither of a flight that this replica follows already, nor of one that is just being asked for."""
    async with replicas() as (one, two, _):
        old = Asker(one)
        await old.token()
        two.flights.arrives.clear()
        early = Asker(two)
        await two.flights.asked_once.wait()
        await two.answers.drop("acme", Everything())
        late = Asker(two)
        await asyncio.sleep(0)
        two.flights.arrives.set()
        assert (await early.until(Follow)).leader == Leader("req-1")
        assert isinstance(await late.until(Lead), Lead)
        for each in (old, early, late):
            await each.leave()


async def test_what_is_generated_while_it_is_dropped_reaches_its_followers_and_is_not_stored() -> None:
    async with replicas() as (one, two, _):
        leader = Asker(one)
        lead = await leader.until(Lead)
        filling = Filling(one, lead.flight.token, as_of=lead.as_of)
        follower = Asker(two)
        await follower.until(Follow)
        await two.answers.drop("acme", OfModel("small"))
        filling.send(b"old")
        filling.end()
        assert await follower.until(SharedEnd) == SharedEnd(END)
        assert await filling.result is FillResult.INVALIDATED
        assert isinstance(await Asker(one).until(Lead), Lead)


async def test_of_those_who_want_a_draw_of_their_own_none_leads_or_follows() -> None:
    sampled = question(asked(temperature=1))
    async with replicas() as (one, _, _), asyncio.timeout(5):
        for name in ("req-1", "req-2"):
            async with aclosing(one.lookup.events(sampled, leader=Leader(name))) as events:
                assert [_of(each) async for each in events] == [Bypass(BypassReason.TEMPERATURE)]


async def test_who_leaves_while_it_is_being_told_that_it_leads_leaves_no_lead_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with replicas() as (one, two, _):
        board, boarded = one.flights.board, asyncio.Event()

        async def unheard(*asks: Any) -> None:
            await board(*asks)
            boarded.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(one.flights, "board", unheard)
        leader = Asker(one)
        await boarded.wait()
        await leader.leave()
        next_one = Asker(two)
        await next_one.until(Lead)
        await next_one.leave()


class Like:
    """A SemanticTier that finds this answer, when it is let."""

    def __init__(self, answer: StoredAnswer) -> None:
        self.answer, self.may_find = answer, asyncio.Event()

    def looks(self, question: Question, tier: Tier) -> bool:
        return True

    async def find(self, question: Question, tier: Tier) -> Hit:
        await self.may_find.wait()
        return Hit(self.answer, 1.0, Kind.SEMANTIC, 0.97, 0.9)


def looking_near(replica: Replica, clock: ManualClock) -> Like:
    """What the replica's look-ups ask from now on."""
    like = Like(in_memory().answer())
    replica.lookup = Lookup(
        answers=InMemoryAnswers(clock=clock),
        clock=clock,
        stats=replica.stats,
        semantic=like,
        semantic_seconds=60,
        single_flight=replica.single_flight,
    )
    return like


async def test_a_leader_with_a_semantic_hit_is_done_and_gives_the_lead_back() -> None:
    async with replicas() as (one, two, clock):
        looking_near(one, clock).may_find.set()
        leader = Asker(one)
        await leader.ended()
        assert [type(_of(each)) for each in leader.told] == [Lead, Hit]
        next_one = Asker(two)
        await next_one.until(Lead)
        await next_one.leave()


async def test_a_follower_with_a_semantic_hit_is_done_and_takes_no_lost_leader_s_place() -> None:
    async with replicas() as (one, two, clock):
        leader = Asker(one)
        await leader.until(Lead)
        successor = Asker(two)
        await successor.until(Follow)
        like = looking_near(two, clock)
        follower = Asker(two)
        await follower.until(Follow)
        await leader.leave()
        await successor.until(Lead)
        like.may_find.set()
        await follower.ended()
        assert [type(_of(each)) for each in follower.told] == [Follow, Hit]
        await successor.leave()


async def test_after_a_piece_that_was_not_understood_nothing_is_handed_on() -> None:
    async with replicas() as (one, two, _):
        leader = Asker(one)
        filling = Filling(one, await leader.token())
        follower = Asker(two)
        await follower.until(Follow)
        await leader.until(Publish)
        filling.send(b"Do ")
        await follower.until(SharedPieces)
        filling.send_unknown()
        filling.send(b"delete it")
        filling.end()
        assert await follower.until(Miss) == Miss()
        assert b"".join(each.message for each in follower.told if isinstance(each, SharedPieces)) == b"Do "


async def test_a_lead_that_publishing_finds_lost_is_counted_as_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    async with replicas() as (one, two, clock):
        monkeypatch.setattr(one.flights, "renew", lambda _: asyncio.Event().wait())  # so that no renewal finds it
        leader = Asker(one)
        filling = Filling(one, await leader.token())
        follower = Asker(two)
        await follower.until(Follow)
        await leader.until(Publish)
        clock.advance(3)  # longer than its lease
        filling.send(b"a")
        await leader.ended()
        assert one.stats.flights[FlightEvent.BROKEN] == 1
        filling.break_off()
        await follower.leave()
