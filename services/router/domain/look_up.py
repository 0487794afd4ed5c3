"""The look-up of one request: the one that is open, and another in its place."""

from __future__ import annotations

from contextlib import AsyncExitStack

from services.router.domain.answer import CacheVerdict
from services.router.domain.ports import Cache, CacheQuestion, Looked, Looking
from services.router.domain.storing import Storing


class LookUp:
    """At most one is open; it is for its owner to leave it in the end."""

    def __init__(self, *, cache: Cache, question: CacheQuestion, storing: Storing) -> None:
        self._cache, self._question, self._storing = cache, question, storing
        self._open = AsyncExitStack()

    async def found(self) -> tuple[Looking | None, Looked]:
        """What there is; what was open before is left. Nothing is looked up where nothing may be."""
        await self.leave()
        reads = self._storing.reads
        if not reads and not self._storing.writes:
            return None, CacheVerdict.BYPASSED
        looking = await self._open.enter_async_context(
            self._cache.lookup(self._question, single_flight=self._storing.single_flight, refresh=not reads)
        )
        return looking, await looking.found()

    async def leave(self) -> None:
        """On purpose: a lead is given back."""
        await self._open.aclose()
