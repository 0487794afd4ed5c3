"""Every implementation of the AnswerStore port, each with a clock that the test owns; and answers to put in."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from libs.money import Usage, UsageSource
from libs.redis_client import redis_client
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from services.cache.adapters.redis_answers import RedisAnswers
from services.cache.adapters.redis_outages import Outages
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import (
    AnswerPart,
    StoredAnswer,
    TokenLogprob,
    TopLogprobs,
)
from services.cache.domain.ports import AnswerStore
from services.cache.domain.stats import Stats

# Ample: a busy machine is no outage. Tests of outages give their own.
TIMEOUT_SECONDS = 5.0
MANY = 100_000


@dataclass(frozen=True, slots=True)
class Tried:
    """A store under test."""

    answers: AnswerStore
    clock: ManualClock
    stats: Stats

    def answer(
        self,
        text: str = "Paris.",
        *,
        ttl_seconds: float = 60,
        model: str = "small",
        revision: str = "1",
        tags: tuple[str, ...] = (),
    ) -> StoredAnswer:
        """One that was made just now, with something in every field."""
        chosen = TokenLogprob(text[:1], -0.25)
        return StoredAnswer(
            whole=AnswerPart(
                text=("", *text),
                token_counts=(2, *[1] * len(text)),
                logprobs=(TopLogprobs(chosen, (chosen,)),),
                reasoning=("hm ☃",),
            ),
            usage=Usage(12, 4, len(text) + 2, UsageSource.ENGINE),
            model=model,
            model_revision=revision,
            tags=tags,
            created_at=self.clock.now(),
            expires_at=self.clock.now() + ttl_seconds,
            source_request_id="req-1",
            source_traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            asked="Which city?",
            partition=hashlib.sha256(b"a partition").digest(),
        )


def key(name: str, organisation: str = "acme") -> AnswerKey:
    """A key by a name of the test's."""
    return AnswerKey(organisation, hashlib.sha256(name.encode()).digest())


def in_memory(*, max_answers: int = MANY) -> Tried:
    clock = ManualClock()
    return Tried(InMemoryAnswers(clock=clock, max_answers=max_answers), clock, Stats())


@asynccontextmanager
async def in_redis(
    url: str, *, timeout_seconds: float = TIMEOUT_SECONDS, encoder: str = "", max_answers: int = MANY
) -> AsyncIterator[Tried]:
    redis, clock, stats = redis_client(url), ManualClock(), Stats()
    outages = Outages(timeout_seconds=timeout_seconds)
    try:
        answers = RedisAnswers(
            redis=redis,
            outages=outages,
            clock=clock,
            unreadable=stats.found_unreadable,
            encoder=encoder,
            max_answers=max_answers,
        )
        yield Tried(answers, clock, stats)
    finally:
        await redis.aclose()
