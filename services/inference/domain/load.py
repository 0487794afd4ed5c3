"""How busy an engine is, counted where requests come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """The load now. KV cache usage is a share, 0 to 1."""

    running: int
    waiting: int
    kv_cache_usage: float


@dataclass(slots=True)
class InFlight:
    """One request in the engine: the tokens that it has in the KV cache, once it has begun."""

    kv_cache_tokens: int = 0


class Occupancy:
    """Counts requests from their coming to their going, however they go.

    An engine's own gauges hear of an abort late or never (vllm#22545, vllm#29928), so they are not asked. A prefix
    that several requests share is counted for each: the KV cache usage is an upper bound.
    """

    def __init__(self, *, max_sequences: int, kv_cache_tokens: int) -> None:
        self._max_sequences = max_sequences
        self._kv_cache_tokens = kv_cache_tokens
        self._requests: dict[int, InFlight] = {}
        self._changed: asyncio.Future[None] | None = None

    @contextmanager
    def holding(self) -> Iterator[InFlight]:
        """A place for one request, given back on exit."""
        request = InFlight()
        self._requests[id(request)] = request
        self._announce()
        try:
            yield request
        finally:
            del self._requests[id(request)]
            self._announce()

    def load(self) -> Load:
        """Waiting is what exceeds the sequences that the engine runs at once. Any thread may ask."""
        requests = tuple(self._requests.values())  # in one step: a scrape is no part of the event loop
        running = min(len(requests), self._max_sequences)
        used = sum(each.kv_cache_tokens for each in requests)
        return Load(running, len(requests) - running, min(1.0, used / self._kv_cache_tokens))

    async def change(self) -> None:
        """Returns once a request has come or gone after this call."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)  # others wait for the same future

    def _announce(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
