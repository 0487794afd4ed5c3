"""Remembers hits beside their path: many in one step, and none that would make a hit wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from libs.background import Background
from services.cache.domain.found import Found, Hit, LookupEvent
from services.cache.domain.model import Principal
from services.cache.domain.ports import ServedHits
from services.cache.domain.served_hit import ServedHit

_BETWEEN_WRITES_SECONDS = 0.2


class HitLog:
    """Holds `most` hits that are not written yet; more, and what the store cannot take, are forgotten."""

    def __init__(
        self,
        *,
        served: ServedHits,
        background: Background,
        most: int = 10_000,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._served = served
        self._background = background
        self._most = most
        self._pause = pause
        self._waiting: list[ServedHit] = []
        self._writing = False
        self._one_write = asyncio.Lock()

    def heard(self, event: LookupEvent, principal: Principal, request_id: str) -> None:
        """Of a request's lookup, each event: keeps which answer it got. At once."""
        if not isinstance(event, Found) or not isinstance(hit := event.verdict, Hit) or hit.key is None:
            return
        source = hit.answer.source_request_id
        self._add(ServedHit(request_id, principal.key_id, hit.key, hit.kind, hit.similarity, hit.votes, source))

    def _add(self, hit: ServedHit) -> None:
        if len(self._waiting) >= self._most:
            return
        self._waiting.append(hit)
        if not self._writing:
            self._writing = True
            _ = self._background.begin(self._write(), name="served hits")

    async def find(self, organisation: str, request_id: str) -> ServedHit | None:
        """Also what is not written yet, or just being written, by this process."""
        await self._flush()
        return await self._served.find(organisation, request_id)

    async def forget(self, hit: ServedHit) -> bool:
        """Whether it was there still: of several at once, one hears so."""
        return await self._served.forget(hit)

    async def _write(self) -> None:
        try:
            await self._pause(_BETWEEN_WRITES_SECONDS)
        finally:
            self._writing = False
        await self._flush()

    async def _flush(self) -> None:
        async with self._one_write:
            hits, self._waiting = self._waiting, []
            if hits:
                await self._served.remember(hits)
