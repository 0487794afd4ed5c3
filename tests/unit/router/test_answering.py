"""One answer from its plan to its receipt, however it ends: what is billed, stored, and left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from libs.background import Background
from libs.errors import Reason, TokenwayError
from libs.generation.channel import Channel
from libs.money import Usage, UsageSource
from libs.resilience.retry import Retry
from libs.rpc.delta import ProtoDelta
from libs.testing.clock import ManualClock
from services.router.domain.admission import Admission
from services.router.domain.answer import (
    CachedFrom,
    CacheKind,
    CacheVerdict,
    Event,
    Finished,
    FinishReason,
    Outcome,
    Receipt,
    Started,
)
from services.router.domain.answering import Tools
from services.router.domain.ask import Ask, CacheMode
from services.router.domain.cache_explanation import CacheExplanation
from services.router.domain.generate import Caller, Generate, Policy
from services.router.domain.guards.policy import Action, Direction, GuardPolicy, Pii, Verdict
from services.router.domain.ports import (
    AnswerEnd,
    AnswerFailed,
    Attempt,
    Booked,
    CachedAnswer,
    CachePolicy,
    CacheQuestion,
    EngineEvent,
    EngineFinished,
    EngineStarted,
    Follow,
    Lead,
    Lease,
    Looked,
    PassedLimit,
    Reservation,
    SharedEnd,
    SharedEvent,
)
from services.router.domain.principal import Principal
from tests.unit.router.asks import PRINCIPAL, TIERS, ask
from tokenway.common.v1.generation_pb2 import Delta

SMALL, MEDIUM = TIERS[0], TIERS[1]
AWAY = TokenwayError(Reason.SERVICE_UNAVAILABLE, "away")
AS_OF = 7


@dataclass(frozen=True, slots=True)
class Piece:
    """A delta of so many tokens."""

    tokens: int

    def first(self, tokens: int) -> Piece | None:
        return Piece(tokens) if tokens > 0 else None

    def pieces(self) -> Sequence[Sequence[object]]:
        return (("token",) * self.tokens, (), ())

    def without_first(self, *counts: int) -> Piece | None:
        return Piece(self.tokens - counts[0]) if self.tokens > counts[0] else None

    def rewritten(self, rewrite: Callable[[Channel, str], str]) -> Piece:
        raise NotImplementedError("nothing is guarded here")

    def without_tokens(self, pieces: Mapping[Channel, str]) -> Piece:
        raise NotImplementedError("nothing is guarded here")


STOP = EngineFinished(FinishReason.STOP, Usage(output_tokens=2))
ANSWER: tuple[Any, ...] = (EngineStarted(3, 0), Piece(1), Piece(1), STOP)
HIT = CachedAnswer((Piece(1), Piece(1)), FinishReason.STOP, CachedFrom(CacheKind.EXACT, "first", 1, 1, Usage()))


@dataclass
class World:
    """Every port of the router, scripted; it remembers what was done to it."""

    answers: dict[str, Sequence[Any]] = field(default_factory=lambda: {SMALL.name: ANSWER, MEDIUM.name: ANSWER})
    found: Looked | BaseException = CacheVerdict.MISS
    # What a follower gets.
    shared: Sequence[SharedEvent | float] = ()
    # A leader hears once that somebody follows; set then.
    heard: asyncio.Event | None = None
    sent_on_alone: bool = False
    refuse: BaseException | None = None
    # What a reservation of nothing meets.
    refuse_free: BaseException | None = None
    warnings: tuple[PassedLimit, ...] = ()
    look_up_after: asyncio.Event | None = None
    settle_after: asyncio.Event | None = None
    # What the cache is told of an answer's end it has by then.
    store_after: asyncio.Event | None = None
    ledger: list[str] = field(default_factory=list)
    stored: list[tuple[str, int]] = field(default_factory=list)
    # As the last one to store had it from its look-up, and whether that one was to refresh.
    as_of: int = 0
    refreshed: bool = False
    ended: list[Receipt] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    warned_of: list[tuple[str, list[PassedLimit]]] = field(default_factory=list)
    trailers: list[Sequence[PassedLimit]] = field(default_factory=list)
    refused: list[Reason] = field(default_factory=list)
    overhead_seconds: list[float] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)
    guards: dict[str, GuardPolicy] = field(default_factory=dict)
    clock: ManualClock = field(default_factory=ManualClock)
    sending_seconds: float = 0
    open_streams: int = 0
    remaining: float | None = None

    @dataclass
    class Lookup:
        """One that is open."""

        world: World
        as_of: int = AS_OF

        async def found(self) -> Looked:
            return await self.world.looked_up()

        async def followed(self) -> bool:
            if self.world.heard is None or self.world.heard.is_set():
                return False
            self.world.heard.set()
            return True

        async def shared(self) -> AsyncGenerator[SharedEvent]:
            for each in self.world.shared:
                if isinstance(each, float):
                    self.world.clock.advance(each)
                else:
                    yield each

    def ready(self, model: str) -> bool:
        return True

    def replicas(self, model: str) -> int:
        return 1

    @asynccontextmanager
    async def generate(self, attempt: Attempt) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        self.open_streams += 1
        try:
            async with aclosing(self._events(self.answers[attempt.model.name])) as events:
                yield events
        finally:
            self.open_streams -= 1

    async def _events(self, script: Sequence[Any]) -> AsyncGenerator[EngineEvent]:
        for each in script:
            if isinstance(each, BaseException):
                raise each
            if isinstance(each, asyncio.Event):
                await each.wait()
            elif isinstance(each, float):
                self.clock.advance(each)
            else:
                yield each

    @asynccontextmanager
    async def lookup(
        self, question: CacheQuestion, *, single_flight: bool, refresh: bool
    ) -> AsyncIterator[World.Lookup]:
        self.open_streams += 1
        self.refreshed = refresh
        try:
            yield World.Lookup(self)
        finally:
            self.open_streams -= 1

    async def looked_up(self) -> Looked:
        if self.look_up_after is not None:
            await self.look_up_after.wait()
        if isinstance(self.found, BaseException):
            raise self.found
        return self.found

    async def report_bad_hit(self, principal: Principal, request_id: str) -> bool:
        raise NotImplementedError

    async def explain(self, question: CacheQuestion) -> CacheExplanation:
        raise NotImplementedError

    async def fill(self, question: CacheQuestion, answer: AsyncGenerator[Any], *, as_of: int, **_: Any) -> None:
        tokens, self.as_of = 0, as_of
        async for each in answer:
            if isinstance(each, AnswerEnd | AnswerFailed) and self.store_after is not None:
                await self.store_after.wait()
            if isinstance(each, AnswerEnd):
                self.stored.append((question.model.name, tokens))
            elif isinstance(each, AnswerFailed):
                self.sent_on_alone = True
            else:
                tokens += sum(delta.tokens for delta in each)

    async def reserve(self, reservation: Reservation) -> Lease:
        refuse = self.refuse if reservation.max_output_tokens else self.refuse_free
        if refuse is not None:
            raise refuse
        self.ledger.append("reserve" if reservation.max_output_tokens else "reserve nothing")
        return Lease(
            reservation.want_output_tokens,
            deliver_until=float("inf"),
            renew_at=2_000_000_000.0,
            warnings=self.warnings,
        )

    async def extend(self, reservation: Reservation, **_: Any) -> Lease:
        raise TokenwayError(Reason.BUDGET_EXCEEDED, "spent")

    async def settle(self, reservation: Reservation, *, usage: Usage, outcome: Outcome, why: str) -> Booked:
        if self.settle_after is not None:
            await self.settle_after.wait()
        self.ledger.append(f"settle {reservation.model} {usage.output_tokens} {outcome}")
        return Booked(7, 0)

    async def release(self, reservation: Reservation) -> None:
        self.ledger.append("release")

    def routed(self, plan: object) -> None: ...

    def first_token(self, model: str, *, after_seconds: float) -> None:
        self.first_tokens.append(after_seconds)

    def discarded(self, model: str, *, tokens: int) -> None: ...

    def attempted(self, model: str, *, failure: Reason | None) -> None: ...

    def retried(self, model: str, *, after: Reason) -> None: ...

    def fell_back(self, model: str, *, after: Reason) -> None: ...

    def warned(self, principal: Principal, passed: Sequence[PassedLimit]) -> None:
        self.warned_of.append((principal.key_id, list(passed)))

    def refused_for(self, reason: Reason) -> None:
        self.refused.append(reason)

    def ended_with(self, receipt: Receipt, *, overhead_seconds: float) -> None:
        self.ended.append(receipt)
        self.overhead_seconds.append(overhead_seconds)


class Watching:
    """The world's Watcher side: its `ended` and `refused` are lists there."""

    def __init__(self, world: World) -> None:
        self.routed, self.first_token, self.discarded = world.routed, world.first_token, world.discarded
        self.attempted, self.retried, self.fell_back = world.attempted, world.retried, world.fell_back
        self.warned = world.warned
        self.ended, self.refused = world.ended_with, world.refused_for

    @contextmanager
    def guarding(self, direction: Direction) -> Iterator[Callable[[Verdict], None]]:
        yield lambda verdict: None

    def held(self, *, seconds: float, characters: int) -> None: ...


@asynccontextmanager
async def router(world: World, *, limit: int = 1, cache_wait_seconds: float = 1) -> AsyncIterator[Generate]:
    """One place alone, so that one that leaks is seen."""
    async with Background(drain_seconds=5) as background:
        yield Generate(
            models=(SMALL, MEDIUM),
            engines=world,
            budget=world,
            admission=Admission(max_concurrent_requests=limit),
            tools=Tools(
                cache=world,
                background=background,
                watcher=Watching(world),
                clock=world.clock,
                cache_wait_seconds=cache_wait_seconds,
            ),
            policy=Policy(Retry(1, 1, 1), 100, 1_000, {PRINCIPAL.organisation: CachePolicy()}, world.guards),
        )


def stream(opened: Generate, world: World, asked: Ask | None = None) -> AsyncGenerator[Event]:
    caller = Caller(
        PRINCIPAL,
        "request",
        lambda: world.remaining,
        world.receipts.append,
        lambda: world.sending_seconds,
        world.trailers.append,
    )
    return opened.stream(asked or ask(), caller)


async def events(world: World, asked: Ask | None = None) -> list[Event]:
    async with router(world) as opened, aclosing(stream(opened, world, asked)) as answer:
        return [each async for each in answer]


def last(found: list[Event]) -> Finished:
    assert isinstance(found[-1], Finished)
    return found[-1]


async def test_an_answer_is_delivered_settled_and_stored() -> None:
    world = World()
    finished = last(await events(world))
    assert (finished.finish_reason, finished.receipt.settled, finished.receipt.cost_micro_usd) == ("STOP", True, 7)
    assert world.ledger == ["reserve", f"settle {SMALL.name} 2 FINISHED"]
    assert world.stored == [(SMALL.name, 2)]
    assert [each.outcome for each in world.ended] == [Outcome.FINISHED]


async def test_an_answer_is_stored_with_what_its_look_up_knew_of_invalidations() -> None:
    world = World()
    await events(world)
    assert (world.as_of, world.refreshed) == (AS_OF, False)


async def test_who_refreshes_asks_the_cache_for_nothing_else() -> None:
    world = World(found=CacheVerdict.BYPASSED)
    await events(world, replace(ask(), cache_mode=CacheMode.REFRESH))
    assert (world.as_of, world.refreshed) == (AS_OF, True)


async def test_after_a_fallback_the_answer_is_stored_as_that_of_the_model_that_gave_it() -> None:
    world = World(answers={SMALL.name: (AWAY,), MEDIUM.name: ANSWER})
    finished = last(await events(world))
    assert world.stored == [(MEDIUM.name, 2)]
    assert finished.receipt.model == MEDIUM.name
    assert world.ledger[-1] == f"settle {MEDIUM.name} 2 FINISHED"


@pytest.mark.parametrize("reason", set(FinishReason) - {FinishReason.STOP})
async def test_an_answer_that_did_not_come_to_its_own_end_is_not_stored(reason: FinishReason) -> None:
    world = World(answers={SMALL.name: (*ANSWER[:-1], replace(STOP, finish_reason=reason))})
    assert last(await events(world)).finish_reason is reason
    assert world.stored == []


async def test_an_answer_without_a_token_costs_its_input() -> None:
    world = World(answers={SMALL.name: (EngineStarted(3, 0), STOP)})
    assert last(await events(world)).receipt.usage == Usage(3, 0, 0, source="ENGINE")  # type: ignore[arg-type]
    assert world.ledger[-1] == f"settle {SMALL.name} 0 FINISHED"


async def test_a_delta_without_tokens_is_passed_on() -> None:
    world = World(answers={SMALL.name: (EngineStarted(3, 0), Piece(0), Piece(2), Piece(0), STOP)})
    found = await events(world)
    assert [each.tokens for each in found if isinstance(each, Piece)] == [0, 2, 0]


async def test_more_than_was_asked_for_is_cut_and_says_length() -> None:
    world = World(answers={SMALL.name: (EngineStarted(3, 0), Piece(30), STOP)})
    finished = last(await events(world, ask(max_tokens=16)))
    assert (finished.finish_reason, finished.receipt.outcome) == (FinishReason.LENGTH, Outcome.FINISHED)
    assert finished.receipt.usage.output_tokens == 16
    assert world.stored == []


async def test_a_providers_count_is_on_the_receipt_in_place_of_what_was_delivered() -> None:
    counted = Usage(7, 2, 5, UsageSource.PROVIDER)
    world = World(answers={SMALL.name: (*ANSWER[:-1], replace(STOP, usage=counted))})
    assert last(await events(world)).receipt.usage == counted
    assert world.ledger[-1] == f"settle {SMALL.name} 5 FINISHED"


async def test_a_budget_that_refuses_more_cuts_the_answer_and_says_so() -> None:
    world = World(answers={SMALL.name: (EngineStarted(3, 0), Piece(90), Piece(30), STOP)})
    finished = last(await events(world, ask(max_tokens=1_000)))
    assert (finished.finish_reason, finished.receipt.outcome) == (FinishReason.BUDGET, Outcome.BUDGET)
    assert finished.receipt.usage.output_tokens == 100
    assert world.stored == []


async def test_a_hit_returns_the_reservation_before_it_is_streamed() -> None:
    world = World(found=HIT)
    async with router(world) as opened, aclosing(stream(opened, world)) as answer:
        await anext(answer)
        for _ in range(5):
            await asyncio.sleep(0)
        assert world.ledger == ["reserve", "release"], "a slow reader must not hold it until it is presumed spent"
        assert last([each async for each in answer]).receipt.outcome is Outcome.CACHED


async def test_a_spent_budget_serves_hits() -> None:
    world = World(found=HIT, refuse=TokenwayError(Reason.BUDGET_EXCEEDED, "spent"))
    assert last(await events(world)).receipt.cost_micro_usd == 0
    assert world.ledger == ["reserve nothing", "release"], "a hit is a request, and is counted as one"


async def test_a_hit_is_refused_where_there_are_too_many_requests() -> None:
    spent, many = (TokenwayError(Reason.BUDGET_EXCEEDED, each) for each in ("spent", "too many requests"))
    world = World(found=HIT, refuse=spent, refuse_free=many)
    with pytest.raises(TokenwayError, match="too many requests"):
        await events(world)
    assert world.ledger == []


@pytest.mark.parametrize("when", ["at once", "the second time"])
async def test_a_budget_that_is_away_serves_hits(when: str) -> None:
    away, spent = TokenwayError(Reason.BUDGET_UNAVAILABLE, "away"), TokenwayError(Reason.BUDGET_EXCEEDED, "spent")
    world = World(found=HIT, refuse=away if when == "at once" else spent, refuse_free=away)
    assert last(await events(world)).receipt.cost_micro_usd == 0


@pytest.mark.parametrize("found", [HIT, CacheVerdict.MISS])
async def test_passed_soft_limits_are_told_once(found: CachedAnswer | CacheVerdict) -> None:
    world = World(found=found, warnings=(PassedLimit("key:ci", "requests", "minute", 60, 61),))
    await events(world)
    assert world.warned_of == [(PRINCIPAL.key_id, list(world.warnings))]
    assert world.trailers == [world.warnings]


async def test_nobody_is_warned_of_nothing() -> None:
    world = World()
    await events(world)
    assert (world.warned_of, world.trailers) == ([], [])


@pytest.mark.parametrize("after", range(4))
async def test_a_caller_that_leaves_after_any_event_leaves_nothing_behind(after: int) -> None:
    world = World()
    async with router(world) as opened:
        answer = stream(opened, world)
        for _ in range(after):
            await anext(answer)
        await answer.aclose()
        assert world.open_streams == 0
        last(await everything(opened, world))
    outcomes = [each.outcome for each in world.ended]
    assert outcomes == ([Outcome.CANCELLED] if after else []) + [Outcome.FINISHED]
    assert len(world.ledger) == (4 if after else 2), "every reservation is settled or released"


async def everything(opened: Generate, world: World) -> list[Event]:
    async with aclosing(stream(opened, world)) as answer:
        return [each async for each in answer]


@pytest.mark.parametrize("place", ["look-up", "first token", "mid-answer", "settle"])
async def test_a_caller_that_is_cancelled_anywhere_leaves_nothing_behind(place: str) -> None:
    gate, world = asyncio.Event(), World()
    scripts = {"first token": (gate, *ANSWER), "mid-answer": (*ANSWER[:2], gate, *ANSWER[2:])}
    world.answers[SMALL.name] = scripts.get(place, ANSWER)
    world.look_up_after = gate if place == "look-up" else None
    world.settle_after = gate if place == "settle" else None
    async with router(world) as opened:
        asking = asyncio.create_task(everything(opened, world))
        for _ in range(30):
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert world.open_streams == 0
        gate.set()
        last(await everything(opened, world))
    assert [each.outcome for each in world.ended] == [Outcome.CANCELLED, Outcome.FINISHED]
    closed = [each for each in world.ledger if each != "reserve"]
    assert len(closed) == world.ledger.count("reserve") == 2
    assert [name for name in map(str, asyncio.all_tasks()) if "lease" in name] == []


@pytest.mark.parametrize("broken", ["cache", "budget", "engine", "mid-answer"])
async def test_a_bug_is_a_failure_and_leaves_nothing_behind(broken: str) -> None:
    bug, world = ZeroDivisionError(), World()
    if broken == "cache":
        world.found = bug
    elif broken == "budget":
        world.refuse = bug
    else:
        world.answers[SMALL.name] = (bug,) if broken == "engine" else (*ANSWER[:2], bug)
    async with router(world) as opened:
        with pytest.raises((ZeroDivisionError, ExceptionGroup)):
            await everything(opened, world)
        world.found, world.refuse, world.answers[SMALL.name] = CacheVerdict.MISS, None, ANSWER
        last(await everything(opened, world))
    assert [each.outcome for each in world.ended] == [Outcome.FAILED, Outcome.FINISHED]
    assert world.open_streams == 0
    if broken == "mid-answer":
        assert [each.outcome for each in world.receipts] == [Outcome.FAILED], "what was delivered is on the bill"


async def test_a_deadline_that_passes_while_a_slow_caller_reads_is_a_deadline() -> None:
    world = World(remaining=0.0)
    async with router(world) as opened:
        answer = stream(opened, world)
        await anext(answer)
        await anext(answer)
        await answer.aclose()
    assert [each.outcome for each in world.ended] == [Outcome.DEADLINE]


async def test_a_slow_ledger_does_not_turn_a_whole_answer_into_a_missed_deadline() -> None:
    world = World(settle_after=asyncio.Event(), remaining=0.05)
    async with asyncio.timeout(30), router(world) as opened, aclosing(stream(opened, world)) as answer:
        finished = last([each async for each in answer])
        assert world.settle_after is not None
        world.settle_after.set()
    assert not finished.receipt.settled
    assert world.ledger[-1] == f"settle {SMALL.name} 2 FINISHED"


async def test_a_refused_request_gives_its_place_back() -> None:
    world = World(refuse=TokenwayError(Reason.BUDGET_EXCEEDED, "spent"))
    async with router(world) as opened:
        for _ in range(3):
            with pytest.raises(TokenwayError) as caught:
                await everything(opened, world)
            assert caught.value.reason is Reason.BUDGET_EXCEEDED


async def test_the_overhead_is_what_neither_the_engine_nor_a_slow_reader_took() -> None:
    world = World(answers={SMALL.name: (EngineStarted(3, 0), 2.0, Piece(1), 0.5, Piece(1), STOP)}, sending_seconds=0.25)
    async with router(world) as opened, aclosing(stream(opened, world)) as answer:
        async for _ in answer:
            world.clock.advance(0.125)  # four events: half of this is the reader's
    (receipt,) = world.ended
    assert receipt.duration_seconds == 3.0
    assert world.overhead_seconds == [0.25]


async def test_the_overhead_of_a_hit_is_its_whole_time() -> None:
    world = World(found=HIT)
    async with router(world) as opened, aclosing(stream(opened, world)) as answer:
        async for _ in answer:
            world.clock.advance(0.125)
    assert world.overhead_seconds == [0.5]


async def test_a_request_that_is_turned_away_is_told_and_has_no_end() -> None:
    world = World()
    with pytest.raises(TokenwayError):
        await events(world, ask(model="none-of-ours"))
    async with router(world, limit=0) as opened, aclosing(stream(opened, world)) as answer:
        with pytest.raises(TokenwayError):
            await anext(answer)
    assert world.refused == [Reason.INVALID_REQUEST, Reason.CONCURRENCY_EXCEEDED]
    assert world.ended == []


LED = Follow(CachedFrom(CacheKind.SHARED, "first", 0, 1, Usage()))


async def test_who_takes_over_in_mid_answer_starts_once_and_had_its_first_token_from_another() -> None:
    world = World(found=LED, shared=(1.0, Piece(1), 1.0, Lead("token")))
    found = await events(world)
    assert [type(each).__name__ for each in found] == ["Started", "Piece", "Piece", "Finished"]
    receipt = last(found).receipt
    assert (receipt.time_to_first_token_seconds, world.first_tokens) == (1.0, [1.0])
    assert (receipt.outcome, receipt.cached, receipt.usage.output_tokens) == (Outcome.FINISHED, None, 2)


@pytest.mark.parametrize(
    ("reason", "alone"),
    [(Reason.INVALID_REQUEST, True), (Reason.OUT_OF_TIME, False), (Reason.BUDGET_EXCEEDED, False)],
)
async def test_followers_go_on_alone_after_a_failure_that_is_not_the_leader_s_own(reason: Reason, alone: bool) -> None:
    heard = asyncio.Event()
    script = (heard, TokenwayError(reason, "no answer"))
    world = World(answers={SMALL.name: script, MEDIUM.name: script}, found=Lead("token"), heard=heard)
    with pytest.raises(TokenwayError) as failed:
        await events(world)
    assert failed.value.reason is reason
    assert world.sent_on_alone is alone


async def test_what_is_followed_is_made_and_booked_also_where_its_own_caller_has_stopped_reading() -> None:
    heard = asyncio.Event()
    world = World(answers={SMALL.name: (heard, *ANSWER)}, found=Lead("token"), heard=heard)
    async with router(world) as opened, aclosing(stream(opened, world)) as answer:
        await anext(answer)
        async with asyncio.timeout(5):
            while not world.ended:  # noqa: ASYNC110 # nothing here waits for anything but its turn
                await asyncio.sleep(0)
        assert world.stored == [(SMALL.name, 2)]
        assert world.ledger == ["reserve", f"settle {SMALL.name} 2 FINISHED"]
        assert last([each async for each in answer]).receipt.outcome is Outcome.FINISHED


@pytest.mark.parametrize("ending", ["whole", "another model's", "failed"])
async def test_the_lead_is_not_given_back_while_the_cache_is_being_told_of_the_answer_s_end(ending: str) -> None:
    """Whoever follows would be made to begin another."""
    heard, told = asyncio.Event(), asyncio.Event()
    world = World(found=Lead("token"), heard=heard, store_after=told)
    script = (heard, *ANSWER) if ending == "whole" else (heard, AWAY)
    world.answers = {SMALL.name: script, MEDIUM.name: (AWAY,) if ending == "failed" else ANSWER}
    async with router(world, cache_wait_seconds=0) as opened:
        with suppress(TokenwayError):
            await everything(opened, world)
        assert world.open_streams == 1, "its caller has all that it will have, and did not wait"
        assert (world.stored, world.sent_on_alone) == ([], False)
        told.set()
    assert world.open_streams == 0
    assert world.sent_on_alone is (ending != "whole")
    assert world.stored == {"whole": [(SMALL.name, 2)], "another model's": [(MEDIUM.name, 2)], "failed": []}[ending]


@pytest.mark.parametrize(
    "again",
    [
        (LED, Piece(1), SharedEnd(FinishReason.STOP, Usage(output_tokens=1))),
        (replace(HIT, deltas=(Piece(1),)),),
        (Lead("token"),),
    ],
    ids=["another's", "a stored one", "its own"],
)
async def test_an_answer_that_ends_before_what_was_delivered_is_not_its_end(again: Sequence[SharedEvent]) -> None:
    """All that was delivered would pass for the whole of an answer that is shorter."""
    with pytest.raises(TokenwayError) as failed:
        await events(World(found=LED, shared=(Piece(3), *again)))
    assert failed.value.reason is Reason.STREAM_BROKEN


@pytest.mark.parametrize(("before", "verdict"), [((), CacheVerdict.HIT), ((Piece(1),), CacheVerdict.SHARED)])
async def test_who_follows_to_the_end_of_a_stored_answer_had_that_one(
    before: Sequence[Piece], verdict: CacheVerdict
) -> None:
    """The verdict, which comes first, is of what came first."""
    found = await events(World(found=LED, shared=(*before, HIT)))
    assert isinstance(found[0], Started)
    assert found[0].cache_verdict is verdict
    receipt = last(found).receipt
    assert receipt.cached is not None
    assert (receipt.outcome, receipt.cached.kind, receipt.cost_micro_usd) == (Outcome.CACHED, CacheKind.EXACT, 0)


MAIL = ProtoDelta.of(Delta(text=["write to ann@example.com now"], token_counts=[6]))


@pytest.mark.parametrize(
    ("found", "shared", "outcome"),
    [
        (replace(HIT, deltas=(MAIL,)), (), Outcome.CACHED),
        (LED, (MAIL, SharedEnd(FinishReason.STOP, Usage())), Outcome.SHARED),
        (LED, (replace(HIT, deltas=(MAIL,)),), Outcome.CACHED),
    ],
)
async def test_what_was_another_s_and_a_guard_ended_says_so(
    found: Looked, shared: Sequence[SharedEvent], outcome: Outcome
) -> None:
    guards = {PRINCIPAL.organisation: GuardPolicy(output={Pii.EMAIL: Action.BLOCK})}
    world = World(found=found, shared=shared, guards=guards)
    ended = last(await events(world))
    assert ended.finish_reason is FinishReason.CONTENT_FILTER
    assert (ended.receipt.outcome, ended.receipt.cost_micro_usd) == (outcome, 0)
    assert ended.receipt.cached is not None
    assert world.ledger[-1] == "release", "nothing is booked"
