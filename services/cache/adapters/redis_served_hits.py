"""Served hits in Redis: what may be reported is worth a day, and no more than a cache's own durability.

tw:cache:{acme}:served:<request id>   hash: who got it, where the answer lies, who made it, and how near it was
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from services.cache.adapters.answer_keys import prefix
from services.cache.adapters.redis_outages import Outages
from services.cache.domain.found import Kind
from services.cache.domain.key import AnswerKey
from services.cache.domain.served_hit import ServedHit

_KEPT_SECONDS = 86_400
_FIELDS = ("by", "key", "kind", "cos", "votes", "source")


class RedisServedHits:
    """A ServedHits."""

    def __init__(self, *, redis: Redis, outages: Outages) -> None:
        self._redis: Any = redis  # its stubs mix the types of sync and async clients
        self._outages = outages

    async def remember(self, hits: Sequence[ServedHit]) -> None:
        async with self._outages.guarded(), self._redis.pipeline(transaction=False) as pipeline:
            for hit in hits:
                entry = _entry(hit.key.organisation, hit.request_id)
                values = (
                    hit.key_id,
                    hit.key.digest,
                    hit.kind,
                    repr(hit.similarity),
                    repr(hit.votes),
                    hit.source_request_id,
                )
                pipeline.hset(entry, mapping=dict(zip(_FIELDS, values, strict=True)))
                pipeline.expire(entry, _KEPT_SECONDS)
            await pipeline.execute()

    async def find(self, organisation: str, request_id: str) -> ServedHit | None:
        async with self._outages.guarded():
            values = await self._redis.hmget(_entry(organisation, request_id), _FIELDS)
        if None in values:
            return None
        by, digest, kind, cosine, votes, source = values
        return ServedHit(
            request_id=request_id,
            key_id=by.decode(),
            key=AnswerKey(organisation, digest),
            kind=Kind(kind.decode()),
            similarity=float(cosine),
            votes=float(votes),
            source_request_id=source.decode(),
        )

    async def forget(self, hit: ServedHit) -> bool:
        async with self._outages.guarded():
            return bool(await self._redis.delete(_entry(hit.key.organisation, hit.request_id)))


def _entry(organisation: str, request_id: str) -> str:
    return f"{prefix(organisation)}:served:{request_id}"
