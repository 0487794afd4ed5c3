"""Attempts: the candidates in turn, each with its retries, until one has given its first token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from libs.errors import Reason, TokenwayError
from libs.resilience.retry import Retry
from services.router.domain.account import Account
from services.router.domain.ask import Ask
from services.router.domain.catalogue import Model
from services.router.domain.engine_wait import EngineWait
from services.router.domain.ports import Attempt, EngineEvent, Engines, EngineStarted, Watcher
from services.router.domain.route import Plan

# Another replica, or another model, may do what this one cannot.
_ELSEWHERE = frozenset(
    {
        Reason.QUEUE_FULL,
        Reason.SERVICE_UNAVAILABLE,
        Reason.ENGINE_DEAD,
        Reason.DRAINING,
        Reason.STREAM_BROKEN,
        Reason.INTERNAL,
        Reason.CONTEXT_TOO_LONG,
        # The engine's doing, when a draining replica has run out of patience: our own caller's leaving is no error.
        Reason.CANCELLED,
    }
)
# The same model may do it a moment later. A prompt that is too long stays too long.
_LATER = _ELSEWHERE - {Reason.CONTEXT_TOO_LONG, Reason.INTERNAL}
_RETRY_AFTER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that gave a first token: from here no other model can take over."""

    attempt: Attempt
    started: EngineStarted
    # The delta that came first, and all that follows.
    events: AsyncIterator[EngineEvent]
    first: EngineEvent


class Trying:
    """Opens the first attempt that works, and counts those that were made."""

    def __init__(
        self,
        *,
        engines: Engines,
        retry: Retry,
        ask: Ask,
        request_id: str,
        account: Account,
        watcher: Watcher,
        wait: EngineWait,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        remaining_seconds: Callable[[], float | None],
    ) -> None:
        self._engines, self._retry, self._account = engines, retry, account
        self._ask, self._request_id = ask, request_id
        self._watcher, self._wait = watcher, wait
        self._sleep, self._remaining_seconds = sleep, remaining_seconds
        self._failures: dict[str, TokenwayError] = {}
        self.attempts = 0

    async def begin(self, plan: Plan, stack: AsyncExitStack) -> Begun:
        """The first candidate's answer, or the next one's; the stack owns it. The first candidate is reserved already.

        ALL_CANDIDATES_FAILED names every model's error; one that only the caller can mend is raised as it is.
        """
        for place, model in enumerate(plan.candidates):
            if place:
                before = plan.candidates[place - 1].name
                self._watcher.fell_back(before, after=self._failures[before].reason)
                await self._account.reserve(model)
            last = place == len(plan.candidates) - 1
            try:
                return await self._with_retries(model, stack, last=last)
            except TokenwayError as error:
                if error.reason not in _ELSEWHERE:
                    raise
        raise self._all_failed(self._failures)

    async def _with_retries(self, model: Model, stack: AsyncExitStack, *, last: bool) -> Begun:
        def retryable(error: TokenwayError) -> bool:
            # While another model is left to try, waiting for a dead one helps nobody; a full one is worth the wait.
            return error.reason in _LATER if last else error.reason is Reason.QUEUE_FULL

        async for attempt in self._retry.of(retryable, sleep=self._pause, remaining_seconds=self._remaining_seconds):
            with attempt:
                return await self._once_per_replica(model, stack)
        raise AssertionError("tenacity raises the last error")

    async def _once_per_replica(self, model: Model, stack: AsyncExitStack) -> Begun:
        """One try on each replica, without waiting between: they fail one by one, seldom together."""
        tried: set[str] = set()
        for left in reversed(range(max(1, self._engines.replicas(model.name)))):
            try:
                return await self._once(model, tried, stack)
            except TokenwayError as error:
                if not left or error.reason not in _LATER:
                    raise
        raise AssertionError("the last replica's error is raised")

    async def _once(self, model: Model, tried: set[str], stack: AsyncExitStack) -> Begun:
        if model.name in self._failures:
            self._watcher.retried(model.name, after=self._failures[model.name].reason)
        self.attempts += 1
        attempt = Attempt(self._request_id, self._ask, model, self.attempts, tried)
        try:
            begun = await self._opened(attempt, stack)
        except TokenwayError as error:
            self._failures[model.name] = error
            self._watcher.attempted(model.name, failure=error.reason)
            raise
        except asyncio.CancelledError:
            self._watcher.attempted(model.name, failure=Reason.CANCELLED)
            raise
        self._watcher.attempted(model.name, failure=None)
        return begun

    async def _opened(self, attempt: Attempt, stack: AsyncExitStack) -> Begun:
        async with AsyncExitStack() as opened:
            events = self._wait.over(await opened.enter_async_context(self._engines.generate(attempt)))
            started = await anext(events)
            if not isinstance(started, EngineStarted):
                message = f"{attempt.model.name} began with {type(started).__name__}"
                raise TokenwayError(Reason.STREAM_BROKEN, message)
            first = await anext(events)
            stack.push_async_exit(opened.pop_all())
            return Begun(attempt, started, events, first)

    async def _pause(self, seconds: float) -> None:
        with self._wait:
            await self._sleep(seconds)

    def _all_failed(self, failures: dict[str, TokenwayError]) -> TokenwayError:
        errors = list(failures.values())
        if {each.reason for each in errors} <= {Reason.CONTEXT_TOO_LONG, Reason.QUEUE_FULL}:
            return errors[-1]
        listed = "; ".join(f"{model}: {error.message}" for model, error in failures.items())
        return TokenwayError(
            Reason.ALL_CANDIDATES_FAILED,
            f"every candidate failed in {self.attempts} attempts: {listed}",
            metadata={"attempts": str(self.attempts)} | {model: error.reason for model, error in failures.items()},
            retry_after_seconds=_RETRY_AFTER_SECONDS,
        )
