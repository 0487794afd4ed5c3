"""A flight as the followers at one replica see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from libs.clock import Clock
from libs.errors import Reason, TokenwayError
from services.cache.domain.flight import GO_ON_ALONE, Follow, Progress
from services.cache.domain.found import Found, Miss, SharedEnd, SharedPieces
from services.cache.domain.ports import Flights

# News may be lost: so often it is looked without any.
_LOOK_SECONDS = 0.25
# So much is handed on at once, to each who comes late or reads slowly: the same bytes for all.
_BLOCK_BYTES = 16 << 10


class Followed:
    """Read once for all who follow, from its beginning, and kept for those who come later or read slowly.

    It is over once there is an `end`, once it is `lost`, or once there is an `error`: where nothing can be learnt of it
    for as long as a lease lasts.
    """

    def __init__(self, *, flights: Flights, follow: Follow, clock: Clock) -> None:
        self.follow = follow
        self.end: bytes | None = None
        self.lost = False
        self.error: TokenwayError | None = None
        self.followers = 0
        self.reader: asyncio.Task[None] | None = None
        self._flights, self._clock = flights, clock
        # What has come, joined; the last one grows until it is full.
        self._blocks: list[bytes] = []
        self._position = 0
        self._news, self._changed = asyncio.Event(), asyncio.Event()

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.end is not None or self.lost or self.error is not None

    async def events(self) -> AsyncGenerator[SharedPieces | SharedEnd | Found]:
        """All that has come, block by block, then what comes, until it is over. After its end the answer's, or a miss
        where followers had better go on alone; nothing where it is lost; SERVICE_UNAVAILABLE after an error.
        """
        block, had_bytes = 0, 0
        while True:
            changed = self._changed
            if block < len(self._blocks) and (new := self._blocks[block][had_bytes:]):
                had_bytes += len(new)
                yield SharedPieces(new)
            elif block + 1 < len(self._blocks):
                block, had_bytes = block + 1, 0
            elif self.over:
                break
            else:
                await changed.wait()
        if self.error is not None:
            raise self.error
        if self.end is not None:
            yield Found(Miss()) if self.end == GO_ON_ALONE else SharedEnd(self.end)

    def close(self) -> None:
        """Nobody follows any more."""
        if self.reader is not None:
            self.reader.cancel()

    def look(self) -> None:
        """There is news."""
        self._news.set()

    async def read(self) -> None:
        """Follows it until it is over."""
        try:
            await self._read()
        finally:
            # Whatever went wrong here: nobody waits for what nobody reads.
            if not self.over:
                self.error = TokenwayError(
                    Reason.INTERNAL, f"nobody reads the flight {self.follow.flight.token} any more"
                )
            self._tell()

    async def _read(self) -> None:
        known_at = self._clock.monotonic()
        while not self.over:
            self._news.clear()
            try:
                self._take(await self._flights.progress(self.follow.flight, after=self._position))
                known_at = self._clock.monotonic()
            except TokenwayError as error:
                if self._clock.monotonic() - known_at >= self._flights.lease_seconds:
                    self.error = error
            if not self.over:
                await self._until_news()

    def _take(self, progress: Progress) -> None:
        for piece in filter(None, progress.pieces):
            if self._blocks and len(self._blocks[-1]) < _BLOCK_BYTES:
                self._blocks[-1] += piece
            else:
                self._blocks.append(piece)
        self._position, self.end, self.lost = progress.position, progress.end, progress.lost
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _until_news(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._news.wait()
