"""What the cache is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from libs.errors import Reason, TokenwayError
from libs.minilm import encoder_folder
from libs.settings.schema import Settings
from services.cache.domain.model import Tier

_EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class TierPolicy:
    """How far an organisation's semantic hits go, and how many of the calibrated tier's may be wrong."""

    tier: Tier
    wrong_share: float


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """One replica; all of them are told the same, but for their addresses."""

    listen: str
    metrics_listen: str
    drain_seconds: float
    redis_url: str
    max_answer_bytes: int
    # What the router waits for, once it has the exact verdict.
    semantic_seconds: float = 0.05
    # Stored, of all organisations.
    max_answers: int = 100_000
    # Rows of the semantic index.
    max_entries: int = 100_000
    # Only looked into where someone needs it.
    encoder_folder: Path = Path("encoder")
    # Of each organisation with a semantic tier.
    tiers: Mapping[str, TierPolicy] = field(default_factory=dict)
    # The router waits 20 ms for a verdict. This is the most that a Fill, which nobody waits for, may take of Redis at a
    # time; and more than a pause of this process, which must not pass for an outage of Redis.
    redis_timeout_seconds: float = 0.25
    # How long a replica that says nothing goes on leading; its followers wait for as long.
    flight_lease_seconds: float = 2.0

    @classmethod
    def from_settings(cls, settings: Settings, *, environment: Mapping[str, str] = os.environ) -> Self:
        """INVALID_REQUEST when no Redis is named."""
        section = settings.services.cache
        return cls(
            listen=section.listen,
            metrics_listen=section.metrics,
            drain_seconds=section.drain_seconds,
            redis_url=_redis_url(settings),
            max_answer_bytes=section.max_answer_bytes,
            semantic_seconds=settings.services.router.cache_semantic_seconds,
            max_answers=section.max_answers,
            max_entries=section.max_entries,
            encoder_folder=encoder_folder(environment),
            tiers={
                each.name: TierPolicy(Tier[each.cache.tier.upper()], each.cache.wrong_share)
                for each in settings.organisations
                if each.cache.is_semantic
            },
        )

    @property
    def semantic(self) -> bool:
        """Does anyone need the encoder and the index?"""
        return bool(self.tiers)


def _redis_url(settings: Settings) -> str:
    stores = settings.stores
    named = [url for url in (stores.cache_redis_url, stores.redis_url) if url not in (None, _EMBEDDED)]
    if not named:
        message = (
            "the embedded Valkey is started by `tokenway up`, not by a single service: set REDIS_URL or"
            " stores.redis_url to a Redis that runs"
        )
        raise TokenwayError(Reason.INVALID_REQUEST, message)
    return str(named[0])
