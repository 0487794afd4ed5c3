"""One request's answer, from its plan to its receipt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

from libs.background import Background
from libs.clock import Clock
from libs.errors import Reason, TokenwayError
from services.router.domain.account import Account
from services.router.domain.answer import (
    CachedFrom,
    CacheVerdict,
    Delta,
    Event,
    Finished,
    FinishReason,
    Outcome,
    Receipt,
    Started,
)
from services.router.domain.catalogue import Model
from services.router.domain.engine_wait import EngineWait
from services.router.domain.following import Following
from services.router.domain.generating import Generating
from services.router.domain.guards.answer_guard import OutputGuard
from services.router.domain.leading import Leading
from services.router.domain.look_up import LookUp
from services.router.domain.ports import (
    Cache,
    CachedAnswer,
    CacheQuestion,
    EngineStarted,
    Follow,
    Lead,
    Looked,
    Looking,
    PassedLimit,
    Watcher,
)
from services.router.domain.receipts import FREE, Receipts
from services.router.domain.route import Plan
from services.router.domain.storing import Storing
from services.router.domain.trying import Trying

# How long the last message waits for the ledger.
_SETTLE_WAIT_SECONDS = 1.0
_TIMER_SECONDS = 0.002
_BY_BUDGET = frozenset({FinishReason.BUDGET, FinishReason.BUDGET_UNAVAILABLE})
# Why a request fails by itself: another that asks the same may not.
_ITS_OWN = frozenset(
    {Reason.OUT_OF_TIME, Reason.BUDGET_EXCEEDED, Reason.CONCURRENCY_EXCEEDED, Reason.BUDGET_UNAVAILABLE}
)
# How an answer starts that another request had made.
_GIVEN = {Outcome.CACHED: CacheVerdict.HIT, Outcome.SHARED: CacheVerdict.SHARED}
_BY_PLAN = frozenset({Outcome.FINISHED, Outcome.BUDGET}) | FREE


@dataclass(frozen=True, slots=True)
class Tools:
    """What every answer is made with."""

    cache: Cache
    background: Background
    watcher: Watcher
    clock: Clock
    cache_wait_seconds: float


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that this request did not have made."""

    outcome: Outcome
    finish_reason: FinishReason
    origin: CachedFrom


class Answering:
    """Looks up and reserves at the same time, then replays, follows or generates, and books however it ends."""

    def __init__(
        self,
        *,
        tools: Tools,
        plan: Plan,
        question: CacheQuestion,
        request_id: str,
        account: Account,
        trying: Trying,
        storing: Storing,
        wait: EngineWait,
        guard: OutputGuard,
        remaining_seconds: Callable[[], float | None],
        sending_seconds: Callable[[], float],
        on_receipt: Callable[[Receipt], None],
        on_warnings: Callable[[Sequence[PassedLimit]], None],
    ) -> None:
        self._tools, self._plan, self._question = tools, plan, question
        self._request_id, self._account, self._storing = request_id, account, storing
        self._guard, self._remaining_seconds = guard, remaining_seconds
        self._on_receipt, self._on_warnings = on_receipt, on_warnings
        self._wait, self._sending_seconds = wait, sending_seconds
        self._open = AsyncExitStack()
        self._look_up = LookUp(cache=tools.cache, background=tools.background, question=question, storing=storing)
        self._leading: Leading | None = None
        self._generating = Generating(plan=plan, account=account, trying=trying, storing=storing, watcher=tools.watcher)
        self._given: Given | Following | None = None
        self._receipts = Receipts(
            request_id=request_id,
            key_id=question.principal.key_id,
            plan=plan,
            account=account,
            trying=trying,
            generating=self._generating,
            clock=tools.clock,
        )

    async def events(self) -> AsyncGenerator[Event]:
        """Started, deltas, Finished. Leaving early books what was delivered and aborts the engine's work."""
        outcome = Outcome.FAILED  # unless it turns out otherwise
        async with self._open:
            self._open.push_async_callback(self._look_up.leave)
            try:
                looking, looked = await self._look_up_and_reserve()
                async with aclosing(self._guard.guarded(self._answer(looking, looked))) as pieces:
                    async for piece in pieces:
                        yield piece
                # The engine is done by now, or aborted where the guard ended the answer.
                finished = await self._finished()
                outcome = finished.receipt.outcome
                yield finished
            except TokenwayError as error:
                outcome = Outcome.DEADLINE if error.reason is Reason.OUT_OF_TIME else Outcome.FAILED
                raise
            except (asyncio.CancelledError, GeneratorExit):
                # The latter where the server was writing to a slow caller. Whoever leaves with the last message has it
                # all.
                outcome = self._interrupted() if outcome is Outcome.FAILED else outcome
                raise
            finally:
                # Before the cache is left, which takes its time: a router that is going down waits for money alone.
                self._close(outcome)

    def _interrupted(self) -> Outcome:
        remaining = self._remaining_seconds()
        # Timers fire a millisecond early at times.
        return Outcome.DEADLINE if remaining is not None and remaining < _TIMER_SECONDS else Outcome.CANCELLED

    async def _look_up_and_reserve(self) -> tuple[Looking | None, Looked]:
        """At the same time. A hit costs nothing, so it is served also when there is no money for more."""
        async with asyncio.TaskGroup() as both:
            looking_up = both.create_task(self._look_up.found())
            reserving = both.create_task(self._refusal(self._account.reserve))
        (looking, looked), refusal = looking_up.result(), reserving.result()
        if isinstance(looked, CachedAnswer | Follow):
            refusal = await self._refusal_of_what_is_free(looked, refusal)
        if refusal is not None:
            raise refusal
        return looking, looked

    async def _refusal_of_what_is_free(
        self, looked: CachedAnswer | Follow, refusal: TokenwayError | None
    ) -> TokenwayError | None:
        """It takes no money and no tokens, but it is a request as any other, for those who limit how many there are.

        A hit that holds money gives it back with its first message; whoever follows, which may take long, now.
        """
        if isinstance(looked, CachedAnswer) if refusal is None else refusal.reason is not Reason.BUDGET_EXCEEDED:
            return None
        again = await self._refusal(self._account.reserve_nothing)
        return again if again is not None and again.reason is Reason.BUDGET_EXCEEDED else None

    async def _refusal(self, reserve: Callable[[Model], Awaitable[None]]) -> TokenwayError | None:
        try:
            await reserve(self._generating.model)
        except TokenwayError as error:
            return error
        return None

    def _answer(self, looking: Looking | None, looked: Looked) -> AsyncGenerator[Started | Delta]:
        if isinstance(looked, CachedAnswer):
            return self._replayed(looked)
        if isinstance(looked, Follow) and looking is not None:
            return self._shared(looking, looked)
        return self._generated(looking, looked)

    async def _replayed(self, cached: CachedAnswer) -> AsyncGenerator[Started | Delta]:
        # At once: a slow reader must not hold money until its lease expires and is presumed spent.
        _ = self._account.close(Outcome.CACHED, why=self._plan.why)
        self._given = Given(Outcome.CACHED, cached.finish_reason, cached.origin)
        yield self._started(_GIVEN[Outcome.CACHED])
        for delta in cached.deltas:
            yield delta

    async def _shared(self, looking: Looking, follow: Follow) -> AsyncGenerator[Started | Delta]:
        """Another's answer as it comes; and where nobody makes it any more, one of its own."""
        following = Following(
            looking=looking, follow=follow, look_up=self._look_up, clock=self._tools.clock, wait=self._wait
        )
        self._given = following
        async with aclosing(following.deltas()) as deltas:
            async for delta in deltas:
                if not self._has_started:
                    yield self._started(_GIVEN[following.outcome])
                yield delta
        if following.end is None:
            self._given = None
            async with aclosing(self._taken_over(following)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        if not self._has_started:
            yield self._started(_GIVEN[following.outcome])
        _ = self._account.close(following.outcome, why=self._plan.why)

    async def _taken_over(self, following: Following) -> AsyncGenerator[Started | Delta]:
        """What the caller has of it already must come again; it gets what is new."""
        await self._account.reserve(self._generating.model)
        run, has_started = following.delivered.run(), self._has_started
        async with aclosing(self._generated(following.looking, following.takes_over)) as pieces:
            async for piece in pieces:
                if not isinstance(piece, Started):
                    new = run.new_of(piece)
                    if new is not None:
                        yield new
                elif not has_started:
                    yield piece
        if self._generating.finish_reason not in _BY_BUDGET:
            run.end()

    async def _generated(self, looking: Looking | None, looked: Looked) -> AsyncGenerator[Started | Delta]:
        verdict = looked if isinstance(looked, CacheVerdict) else CacheVerdict.MISS
        self._storing.as_of = 0 if looking is None else looking.as_of
        if isinstance(looked, Lead) and looking is not None:
            self._storing.lead(looked.token, request_id=self._request_id)
            self._leading = await self._open.enter_async_context(Leading(looking=looking, storing=self._storing))
        try:
            async with aclosing(self._generating.events()) as events:
                async for event in events:
                    if not isinstance(event, EngineStarted):
                        yield event
                        continue
                    if self._leading is not None and not self._storing.leads:
                        await self._look_up.leave()  # another model answers, which is not what they ask who follow
                    yield self._started(verdict)
        except TokenwayError as error:
            if error.reason not in _ITS_OWN:
                self._storing.fail()  # before the lead is given back
            raise

    async def _finished(self) -> Finished:
        if self._given is None:
            return await self._settled(self._guard.ended_by or self._generating.finish_reason)
        finish_reason = self._guard.ended_by or self._given.finish_reason
        return Finished(finish_reason, self._receipts.given(self._given.outcome, self._given.origin))

    async def _settled(self, finish_reason: FinishReason) -> Finished:
        outcome = Outcome.BUDGET if finish_reason in _BY_BUDGET else Outcome.FINISHED
        settling = self._account.close(outcome, why=self._plan.why)
        storing = self._storing.finish(self._request_id, self._account.usage, finish_reason, guarded=self._guard.acted)
        # So that whoever has read the last message finds the money booked and the answer cached; but not at any price.
        if storing is not None:
            await asyncio.wait({storing}, timeout=self._at_most(self._tools.cache_wait_seconds))
            if self._leading is not None and self._storing.leads:
                await self._leading.ended(within_seconds=self._at_most(self._tools.cache_wait_seconds))
        await asyncio.wait({settling}, timeout=self._at_most(_SETTLE_WAIT_SECONDS))
        return Finished(finish_reason, self._receipts.settled(outcome, settling))

    def _at_most(self, seconds: float) -> float:
        """Half of the time left, or less: an answer that is whole must not miss its deadline for its receipt."""
        remaining = self._remaining_seconds()
        return seconds if remaining is None else min(seconds, max(0.0, remaining / 2))

    def _close(self, outcome: Outcome) -> None:
        """The end of every request. Nothing here waits: the caller may be gone, its deadline past."""
        receipt = self._receipts.settled(outcome, self._account.close(outcome, why=self._plan.why))
        if outcome not in _BY_PLAN and receipt.cost_micro_usd:
            self._on_receipt(receipt)
        if warnings := self._account.warnings:
            self._on_warnings(warnings)
            self._tools.watcher.warned(self._question.principal, warnings)
        elsewhere = self._wait.seconds + self._sending_seconds()
        self._tools.watcher.ended(receipt, overhead_seconds=max(0.0, receipt.duration_seconds - elsewhere))

    @property
    def _has_started(self) -> bool:
        return self._receipts.first_token_seconds is not None

    def _started(self, verdict: CacheVerdict) -> Started:
        """Of an answer that this request took over, the caller's first token was another's."""
        if not self._has_started:
            seconds = self._receipts.first_token_seconds = self._receipts.elapsed_seconds
            self._tools.watcher.first_token(self._generating.model.name, after_seconds=seconds)
        return Started(self._request_id, self._generating.model.name, self._plan.why, verdict)
