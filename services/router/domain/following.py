"""The answer that another request is having made, as this one gets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

from libs.clock import Clock
from libs.errors import Reason, TokenwayError
from services.router.domain.answer import CachedFrom, CacheKind, CacheVerdict, Delta, FinishReason, Outcome
from services.router.domain.delivered import Delivered
from services.router.domain.engine_wait import EngineWait
from services.router.domain.look_up import LookUp
from services.router.domain.ports import CachedAnswer, Follow, Lead, Looked, Looking, SharedEnd, SharedEvent

# A replica of the cache that was killed takes its look-ups along; the next one may know the same leader.
_LOOK_AGAIN_SECONDS = 2.0
_PAUSE_SECONDS = 0.1


class Following:
    """Delivers each piece once, whoever makes it: the leader, those who take its place, or the cache at last.

    Once `deltas` has ended, `end` is set; or else this request is to generate for itself, as what `takes_over` says.
    """

    def __init__(
        self,
        *,
        looking: Looking,
        follow: Follow,
        look_up: LookUp,
        clock: Clock,
        wait: EngineWait,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.looking: Looking | None = looking
        self._look_up, self._clock, self._wait, self._sleep = look_up, clock, wait, sleep
        self._origin = follow.origin
        self.delivered = Delivered()
        self.end: SharedEnd | None = None
        self.takes_over: Lead | CacheVerdict = CacheVerdict.MISS

    @property
    def outcome(self) -> Outcome:
        """SHARED, unless the end is that of a stored answer: CACHED."""
        return Outcome.SHARED if self._origin.kind is CacheKind.SHARED else Outcome.CACHED

    @property
    def finish_reason(self) -> FinishReason:
        """Before the end: of one that this request's guard ends."""
        return self.end.finish_reason if self.end else FinishReason.CONTENT_FILTER

    @property
    def origin(self) -> CachedFrom:
        """Whose answer it is."""
        return replace(self._origin, original_usage=self.end.usage) if self.end else self._origin

    async def deltas(self) -> AsyncGenerator[Delta]:
        """What is new. OUT_OF_TIME; STREAM_BROKEN where nobody makes the rest of what was delivered."""
        run = self.delivered.run()
        async with aclosing(self._events()) as events:
            async for event in events:
                match event:
                    case Follow(origin):
                        self._origin, run = origin, self.delivered.run()
                    case CachedAnswer():
                        self._origin, run = event.origin, self.delivered.run()
                        for delta in event.deltas:
                            if (new := self._new(run.new_of(delta))) is not None:
                                yield new
                        run.end()
                        self.end = SharedEnd(event.finish_reason, event.origin.original_usage)
                        return
                    case SharedEnd():
                        run.end()
                        self.end = event
                        return
                    case Lead() | CacheVerdict():
                        self.takes_over = event
                        return
                    case _:
                        if (new := self._new(run.new_of(event))) is not None:
                            yield new

    def _new(self, delta: Delta | None) -> Delta | None:
        if delta is not None:
            self.delivered.add(delta)
        return delta

    async def _events(self) -> AsyncGenerator[SharedEvent]:
        """Of one look-up after the other, until one says what this request has come to."""
        while True:
            if self.looking is not None:
                try:
                    async with aclosing(self.looking.shared()) as events:
                        async for event in self._wait.over(events):
                            yield event
                except TokenwayError as error:
                    if error.reason is Reason.OUT_OF_TIME:
                        raise
            yield await self._looked_again()

    async def _looked_again(self) -> Looked:
        """Patiently, for the one that makes the answer may not have been hit; UNAVAILABLE where nobody knows."""
        give_up_at = self._clock.monotonic() + _LOOK_AGAIN_SECONDS
        while True:
            self.looking, looked = await self._look_up.found()
            if looked is not CacheVerdict.UNAVAILABLE or self._clock.monotonic() >= give_up_at:
                return looked
            await self._sleep(_PAUSE_SECONDS)
