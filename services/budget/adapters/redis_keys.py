"""API keys in Redis; `libs.keys` has the format, which the router reads."""

from __future__ import annotations

from collections.abc import Mapping

from redis.asyncio import Redis

from libs.keys import StoredKey, redis_key, to_json
from services.budget.adapters.redis_outages import or_unavailable


class RedisKeys:
    """A KeyStore in Redis."""

    def __init__(self, *, redis: Redis, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds

    async def add(self, keys: Mapping[str, StoredKey]) -> int:
        # One by one: on a cluster each has a slot of its own, and this is done once, at start.
        added = 0
        for sha256_hex, key in keys.items():
            async with or_unavailable(self._timeout_seconds):
                added += bool(await self._redis.set(redis_key(sha256_hex), to_json(key), nx=True))
        return added
