"""This replica's index, kept as Redis says: by a stream of changes, and by all answers where some of those were lost.

What the index misses costs a hit; what it has too much is never served, for Redis has the last word on each answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from redis import exceptions
from redis.asyncio import Redis

from services.cache.adapters import index_entries
from services.cache.adapters.index_entries import CHANGES
from services.cache.domain.ports import VectorIndex

_ANSWERS = "tw:cache:{*}:answer:*"
# Of the connection that waits for changes; it also looks for a gap that often.
_WAIT_SECONDS = 1.0
_AGAIN_SECONDS = 0.25
# One step of either kind keeps the event loop for 2 ms or so.
_READ_AT_ONCE = 100
# Of reading all answers: nobody waits for it, and a step that is given up means to begin anew.
_STEP_SECONDS = 5.0
# One command for all of them: a pipeline of HMGETs takes half as long again, most of it to write commands.
_READ_ENTRIES = """
local found = {}
for number, entry in ipairs(KEYS) do found[number] = redis.call('HMGET', entry, unpack(ARGV)) end
return found
"""


@dataclass(frozen=True, slots=True)
class _Place:
    """In the stream: the last change that was read, and how many there had been with it since the stream began."""

    change: bytes
    number: int


class Replica:
    """Follows with a connection of its own. `timeout_seconds` is for what Redis can answer at once."""

    def __init__(
        self,
        *,
        redis: Redis,
        index: VectorIndex,
        encoder: str,
        dimensions: int,
        timeout_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rebuilds = 0
        self._redis: Any = redis  # its stubs mix the types of sync and async clients
        self._index = index
        self._encoder, self._dimensions = encoder, dimensions
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._place: _Place | None = None
        self._current_at = monotonic()
        self._log = structlog.get_logger("cache")

    @property
    def behind_seconds(self) -> float:
        """How long ago it last knew that it had read all changes: at least so fresh is the index."""
        return self._monotonic() - self._current_at

    async def follow(self) -> None:
        """For ever. While Redis is away the index stays as it is; after any other failure, which is logged, all is read
        anew.
        """
        while True:
            try:
                await self._follow()
            except (TimeoutError, OSError, exceptions.RedisError):
                await asyncio.sleep(_AGAIN_SECONDS)
            except Exception as error:
                self._log.error("changes of the semantic index not taken in: reading all anew", exc_info=error)
                self._place = None
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _follow(self) -> None:
        if self._place is None:
            self._place = await self._rebuilt()
        place, whole = await self._read(self._place)
        self._place = place
        if place is None:
            self._log.warning("changes of the semantic index were lost: reading all answers anew")
        elif whole:
            self._current_at = self._monotonic()
            await self._wait(place)

    async def _wait(self, place: _Place) -> None:
        """Until there is something new, or for a second."""
        async with asyncio.timeout(_WAIT_SECONDS + self._timeout_seconds):
            await self._redis.xread({CHANGES: place.change}, count=1, block=int(_WAIT_SECONDS * 1_000))

    async def _read(self, place: _Place) -> tuple[_Place | None, bool]:
        """Takes in what is new; the place after it, and whether that is all; no place where something is missing.

        What came is read together with how many there were ever: so no cut of the stream, no restart of Redis without
        its data and no other Redis passes unnoticed.
        """
        async with asyncio.timeout(self._timeout_seconds), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xinfo_stream(CHANGES)
            pipeline.xrange(CHANGES, min=b"(" + place.change, count=_READ_AT_ONCE)
            info, changes = await pipeline.execute(raise_on_error=False)
        end = _end(info)
        if isinstance(changes, Exception):
            raise changes
        for _, change in changes:
            self._take_in(change)
        reached = _Place(changes[-1][0] if changes else place.change, place.number + len(changes))
        if len(changes) == _READ_AT_ONCE:
            return reached, False
        return (reached, True) if reached == end else (None, False)

    def _take_in(self, change: dict[bytes, bytes]) -> None:
        for gone in index_entries.dropped_in(change):
            self._index.remove(gone)
        if joined := index_entries.joined_in(change):
            self._index.join(*joined)
        self._put([change.get(field.encode()) for field in index_entries.FIELDS])

    def _put(self, values: list[bytes | None]) -> None:
        entry = index_entries.entry_of(values, encoder=self._encoder, dimensions=self._dimensions)
        if entry is not None:
            self._index.put(entry)

    async def _rebuilt(self) -> _Place:
        """Reads every answer that has a vector. What changes meanwhile is read after it, from the place returned."""
        self._index.clear()
        async with asyncio.timeout(self._timeout_seconds), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xinfo_stream(CHANGES)
            [info] = await pipeline.execute(raise_on_error=False)
        place, cursor, first = _end(info), 0, True
        while cursor or first:
            first = False
            async with asyncio.timeout(_STEP_SECONDS):
                # Hashes alone: a tag that callers have named may look like an answer.
                cursor, entries = await self._redis.scan(cursor, match=_ANSWERS, count=_READ_AT_ONCE, _type="hash")
                await self._load(entries)
        self.rebuilds += 1
        return place

    async def _load(self, entries: list[bytes]) -> None:
        if entries:
            for values in await self._redis.eval(_READ_ENTRIES, len(entries), *entries, *index_entries.FIELDS):
                self._put(values)


def _end(info: Any) -> _Place:
    """Of the stream as XINFO tells of it; one that is not there has had no change."""
    if isinstance(info, exceptions.ResponseError) and "no such key" in str(info):
        return _Place(b"0-0", 0)
    if isinstance(info, Exception):
        raise info
    return _Place(info["last-generated-id"], info["entries-added"])
