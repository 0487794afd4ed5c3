"""One request's answer, from its plan to its receipt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

from libs.background import Background
from libs.clock import Clock
from libs.errors import Reason, TokenwayError
from libs.money import Usage
from services.router.domain.account import Account
from services.router.domain.answer import CacheVerdict, Delta, Event, Finished, FinishReason, Outcome, Receipt, Started
from services.router.domain.catalogue import Model
from services.router.domain.engine_wait import EngineWait
from services.router.domain.guards.answer_guard import OutputGuard
from services.router.domain.ports import (
    Booked,
    Cache,
    CachedAnswer,
    CacheQuestion,
    EngineEvent,
    EngineFinished,
    EngineStarted,
    PassedLimit,
    Watcher,
)
from services.router.domain.route import Plan
from services.router.domain.storing import Storing
from services.router.domain.trying import Begun, Trying

# How long the last message waits for the ledger, and for the cache to have the answer.
_SETTLE_WAIT_SECONDS = 1.0
_TIMER_SECONDS = 0.002
_BY_BUDGET = frozenset({FinishReason.BUDGET, FinishReason.BUDGET_UNAVAILABLE})
_BY_PLAN = frozenset({Outcome.FINISHED, Outcome.CACHED, Outcome.BUDGET})


@dataclass(frozen=True, slots=True)
class Tools:
    """What every answer is made with."""

    cache: Cache
    background: Background
    watcher: Watcher
    clock: Clock
    cache_wait_seconds: float


class Answering:
    """Looks up and reserves at the same time, then replays or generates, and books however it ends."""

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
        self._request_id, self._account, self._trying, self._storing = request_id, account, trying, storing
        self._guard, self._remaining_seconds = guard, remaining_seconds
        self._on_receipt, self._on_warnings = on_receipt, on_warnings
        self._wait, self._sending_seconds = wait, sending_seconds
        self._arrived_at = tools.clock.monotonic()
        self._first_token_seconds: float | None = None
        self._model = plan.candidates[0]
        self._finish_reason = FinishReason.STOP

    async def events(self) -> AsyncGenerator[Event]:
        """Started, deltas, Finished. Leaving early books what was delivered and aborts the engine's work."""
        outcome = Outcome.FAILED  # unless it turns out otherwise
        try:
            found = await self._look_up_and_reserve()
            answer = self._replayed(found) if isinstance(found, CachedAnswer) else self._generated(found)
            async with aclosing(self._guard.guarded(answer)) as pieces:
                async for piece in pieces:
                    yield piece
            # The engine is done by now, or aborted where the guard ended the answer.
            finished = await self._finished(found)
            outcome = finished.receipt.outcome
            yield finished
        except TokenwayError as error:
            outcome = Outcome.DEADLINE if error.reason is Reason.OUT_OF_TIME else Outcome.FAILED
            raise
        except (asyncio.CancelledError, GeneratorExit):
            # The latter where the server was writing to a slow caller. Whoever leaves with the last message has it all.
            outcome = self._interrupted() if outcome is Outcome.FAILED else outcome
            raise
        finally:
            self._close(outcome)

    def _interrupted(self) -> Outcome:
        remaining = self._remaining_seconds()
        # Timers fire a millisecond early at times.
        return Outcome.DEADLINE if remaining is not None and remaining < _TIMER_SECONDS else Outcome.CANCELLED

    async def _look_up_and_reserve(self) -> CachedAnswer | CacheVerdict:
        """At the same time. A hit costs nothing, so it is served also when there is no money for more."""
        async with asyncio.TaskGroup() as both:
            looking = both.create_task(self._look_up())
            reserving = both.create_task(self._refusal(self._account.reserve))
        found, refusal = looking.result(), reserving.result()
        if refusal is not None and isinstance(found, CachedAnswer):
            refusal = await self._refusal_of_a_hit(refusal)
        if refusal is not None:
            raise refusal
        return found

    async def _refusal_of_a_hit(self, refusal: TokenwayError) -> TokenwayError | None:
        """It takes no money and no tokens, but it is a request as any other, for those who limit how many there are."""
        if refusal.reason is not Reason.BUDGET_EXCEEDED:
            return None
        again = await self._refusal(self._account.reserve_nothing)
        return again if again is not None and again.reason is Reason.BUDGET_EXCEEDED else None

    async def _look_up(self) -> CachedAnswer | CacheVerdict:
        if not self._storing.reads:
            return CacheVerdict.BYPASSED
        async with self._tools.cache.lookup(self._question) as looking:
            return await looking.found()

    async def _refusal(self, reserve: Callable[[Model], Awaitable[None]]) -> TokenwayError | None:
        try:
            await reserve(self._model)
        except TokenwayError as error:
            return error
        return None

    async def _replayed(self, cached: CachedAnswer) -> AsyncGenerator[Started | Delta]:
        # At once: a slow reader must not hold money until its lease expires and is presumed spent.
        _ = self._account.close(Outcome.CACHED, why=self._plan.why)
        yield self._started(CacheVerdict.HIT)
        for delta in cached.deltas:
            yield delta
        self._finish_reason = cached.finish_reason

    async def _generated(self, verdict: CacheVerdict) -> AsyncGenerator[Started | Delta]:
        async with AsyncExitStack() as stack:
            begun = await self._trying.begin(self._plan, stack)
            self._model = begun.attempt.model
            self._account.begin(
                input_tokens=begun.started.input_tokens, cached_input_tokens=begun.started.cached_input_tokens
            )
            yield self._started(verdict)
            async with aclosing(self._joined(begun)) as engine:
                async for event in engine:
                    if isinstance(event, EngineFinished):
                        self._account.counted(event.usage)
                        self._finish_reason = event.finish_reason
                    elif not isinstance(event, EngineStarted):
                        delta = await self._covered_part(event)
                        if delta is not None:
                            self._storing.add(delta)
                            yield delta
                        if delta is not event:
                            self._finish_reason = self._account.ended_by or FinishReason.BUDGET
                            break

    async def _joined(self, begun: Begun) -> AsyncGenerator[EngineEvent]:
        """The first event and the rest; an engine that fails now has broken an answer that somebody is reading."""
        yield begun.first
        try:
            async for event in begun.events:
                yield event
        except TokenwayError as error:
            if error.reason is Reason.OUT_OF_TIME:
                raise
            raise self._broken(begun.attempt.model, error) from error

    async def _covered_part(self, delta: Delta) -> Delta | None:
        """What the lease covers of a delta: all of it, its beginning, or nothing."""
        covered = await self._account.covered(delta.tokens)
        part = delta if covered >= delta.tokens else delta.first(covered)
        delivered = part.tokens if part is not None else 0
        self._account.delivered(delivered)
        if delivered < delta.tokens:
            self._tools.watcher.discarded(self._model.name, tokens=delta.tokens - delivered)
        return part

    async def _finished(self, found: CachedAnswer | CacheVerdict) -> Finished:
        finish_reason = self._guard.ended_by or self._finish_reason
        if isinstance(found, CachedAnswer):
            return Finished(finish_reason, self._receipt(Outcome.CACHED, booked=None, settled=True, cached=found))
        return await self._settled(finish_reason)

    async def _settled(self, finish_reason: FinishReason) -> Finished:
        if self._guard.acted:
            self._storing.drop()
        outcome = Outcome.BUDGET if finish_reason in _BY_BUDGET else Outcome.FINISHED
        settling = self._account.close(outcome, why=self._plan.why)
        storing = self._storing.finish(self._model, self._request_id, self._account.usage, finish_reason)
        # So that whoever has read the last message finds the money booked and the answer cached; but not at any price.
        if storing is not None:
            await asyncio.wait({storing}, timeout=self._at_most(self._tools.cache_wait_seconds))
        await asyncio.wait({settling}, timeout=self._at_most(_SETTLE_WAIT_SECONDS))
        booked, settled = _result(settling)
        return Finished(finish_reason, self._receipt(outcome, booked=booked, settled=settled))

    def _at_most(self, seconds: float) -> float:
        """Half of the time left, or less: an answer that is whole must not miss its deadline for its receipt."""
        remaining = self._remaining_seconds()
        return seconds if remaining is None else min(seconds, max(0.0, remaining / 2))

    def _close(self, outcome: Outcome) -> None:
        """The end of every request. Nothing here waits: the caller may be gone, its deadline past."""
        settling = self._account.close(outcome, why=self._plan.why)
        booked, settled = _result(settling)
        receipt = self._receipt(outcome, booked=booked, settled=settled)
        if outcome not in _BY_PLAN and receipt.cost_micro_usd:
            self._on_receipt(receipt)
        if warnings := self._account.warnings:
            self._on_warnings(warnings)
            self._tools.watcher.warned(self._question.principal, warnings)
        elsewhere = self._wait.seconds + self._sending_seconds()
        self._tools.watcher.ended(receipt, overhead_seconds=max(0.0, receipt.duration_seconds - elsewhere))

    def _started(self, verdict: CacheVerdict) -> Started:
        self._first_token_seconds = self._elapsed_seconds()
        self._tools.watcher.first_token(self._model.name, after_seconds=self._first_token_seconds)
        return Started(self._request_id, self._model.name, self._plan.why, verdict)

    def _receipt(
        self, outcome: Outcome, *, booked: Booked | None, settled: bool, cached: CachedAnswer | None = None
    ) -> Receipt:
        free = outcome is Outcome.CACHED or (self._account.usage.output_tokens == 0 and outcome is not Outcome.FINISHED)
        return Receipt(
            request_id=self._request_id,
            reservation_id="" if free else self._account.reservation_id,
            model=self._model.name,
            why=(booked and booked.why) or self._plan.why,
            usage=Usage() if free else self._account.usage,
            price=self._model.price,
            cost_micro_usd=0 if free else booked.cost_micro_usd if booked else self._account.cost_micro_usd,
            outcome=outcome,
            attempts=self._trying.attempts,
            settled=settled,
            key_id=self._question.principal.key_id,
            duration_seconds=self._elapsed_seconds(),
            time_to_first_token_seconds=self._first_token_seconds,
            cached=cached.origin if cached else None,
            uncovered_micro_usd=booked.uncovered_micro_usd if booked else 0,
        )

    def _elapsed_seconds(self) -> float:
        return self._tools.clock.monotonic() - self._arrived_at

    def _broken(self, model: Model, error: TokenwayError) -> TokenwayError:
        tokens = self._account.usage.output_tokens
        message = f"{model.name} broke off after {tokens} tokens, which are billed: {error.message}; ask again"
        return TokenwayError(Reason.STREAM_BROKEN, message, metadata={"model": model.name, "cause": error.reason})


def _result(task: asyncio.Task[Booked | None]) -> tuple[Booked | None, bool]:
    """What was booked, and whether the ledger is known to have it."""
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None, False
    return task.result(), True
