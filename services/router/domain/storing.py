"""Keeps an answer for the cache while it streams, where it may be kept at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from libs.background import Background
from libs.money import Usage
from services.router.domain.answer import Delta, FinishReason
from services.router.domain.ask import CacheMode
from services.router.domain.catalogue import Model
from services.router.domain.ports import Cache, CacheQuestion

# The modes in which a request takes an answer from the cache.
READING = frozenset({CacheMode.POLICY, CacheMode.READ_ONLY})


class Storing:
    """Collects deltas up to a cap, and sends a whole answer to the cache in the background."""

    def __init__(self, *, cache: Cache, background: Background, question: CacheQuestion, max_tokens: int) -> None:
        self._cache, self._background, self._question = cache, background, question
        self._room = max_tokens
        self._deltas: list[Delta] = []
        mode, enabled = question.ask.cache_mode, question.policy.enabled
        self.reads = enabled and mode in READING
        self.writes = enabled and mode in {CacheMode.POLICY, CacheMode.REFRESH}

    def add(self, delta: Delta) -> None:
        """One more; an answer that grows past the cap is dropped and not stored."""
        if not self.writes:
            return
        self._room -= delta.tokens
        if self._room < 0:
            self.drop()
        else:
            self._deltas.append(delta)

    def drop(self) -> None:
        """It will not be stored."""
        self.writes = False
        self._deltas.clear()

    def finish(
        self, model: Model, request_id: str, usage: Usage, finish_reason: FinishReason
    ) -> asyncio.Task[None] | None:
        """Stores the answer if it is whole, as that of the model that gave it; None where there is nothing to store."""
        if not self.writes or finish_reason is not FinishReason.STOP:
            return None
        question = replace(self._question, model=model)
        filling = self._cache.fill(
            question, request_id=request_id, deltas=self._deltas, finish_reason=finish_reason, usage=usage
        )
        return self._background.begin(filling, name="fill")
