"""The look-up of one request: the one that is open, and another in its place."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

from libs.background import Background
from services.router.domain.answer import CacheVerdict
from services.router.domain.ports import Cache, CacheQuestion, Looked, Looking
from services.router.domain.storing import Storing

# As long as the cache may take for an answer that is whole.
_ENDING_SECONDS = 2.0


class LookUp:
    """At most one is open; it is for its owner to leave it in the end."""

    def __init__(self, *, cache: Cache, background: Background, question: CacheQuestion, storing: Storing) -> None:
        self._cache, self._background, self._question, self._storing = cache, background, question, storing
        self._open = AsyncExitStack()
        self._looking: Looking | None = None

    async def found(self) -> tuple[Looking | None, Looked]:
        """What there is; what was open before is left. Nothing is looked up where nothing may be."""
        await self.leave()
        reads = self._storing.reads
        if not reads and not self._storing.writes:
            return None, CacheVerdict.BYPASSED
        looking = self._looking = await self._open.enter_async_context(
            self._cache.lookup(self._question, single_flight=self._storing.single_flight, refresh=not reads)
        )
        return looking, await looking.found()

    async def leave(self) -> None:
        """On purpose: a lead is given back. Not while the cache is being told how its answer has ended: whoever follows
        would begin another meanwhile. Nobody waits for that.
        """
        opened, ending = self._open.pop_all(), self._storing.ending
        if ending is None or self._looking is None:
            await opened.aclose()
        else:
            _ = self._background.begin(_left_after(ending, self._looking, opened), name="leave a look-up")


async def _left_after(ending: asyncio.Task[None], looking: Looking, opened: AsyncExitStack) -> None:
    async with opened:
        with suppress(TimeoutError):
            async with asyncio.timeout(_ENDING_SECONDS):
                await asyncio.wait({ending})
                while await looking.followed():
                    pass  # the cache ends a look-up whose answer has ended
