"""API keys in Redis; `libs.keys` has the format, which the router reads.

On a cluster a key and its organisation's index lie in different slots, so no step changes both. The key is stored
first, and what dies in between leaves a key that is not listed, and whose text was told to nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from libs.keys import StoredKey, from_json, index_key, redis_key, to_json
from libs.redis_client import RedisClient
from services.budget.adapters.redis_outages import or_unavailable
from services.budget.domain.errors import key_exists, key_not_found

# An index holds, by key id, the hashes that have it, with a blank between. 1: the id is this hash's alone.
_CLAIM = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return (not held or held == ARGV[2]) and 1 or 0
"""
_ADD = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
elseif not string.find(held, ARGV[2], 1, true) then
  redis.call('HSET', KEYS[1], ARGV[1], held .. ' ' .. ARGV[2])
end
"""
# Nothing is changed that was changed since it was read.
_SWAP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
_READ_AT_ONCE = 100


class RedisKeys:
    """A KeyStore in Redis."""

    def __init__(self, *, redis: RedisClient, timeout_seconds: float) -> None:
        self._redis: Any = redis  # its stubs mix the types of sync and async clients
        self._timeout_seconds = timeout_seconds

    async def add(self, keys: Mapping[str, StoredKey]) -> int:
        # One by one: on a cluster each has a slot of its own, and this is done once, at start.
        added = 0
        for sha256_hex, key in keys.items():
            async with or_unavailable(self._timeout_seconds):
                is_new, stored = await self._stored(sha256_hex, key)
                await self._redis.eval(_ADD, 1, index_key(stored.organisation), stored.key_id, sha256_hex)
            added += is_new
        return added

    async def create(self, sha256_hex: str, key: StoredKey) -> None:
        async with or_unavailable(self._timeout_seconds):
            is_new, stored = await self._stored(sha256_hex, key)
            if (stored.organisation, stored.key_id) != (key.organisation, key.key_id):
                raise key_exists(key.key_id)
            if not await self._redis.eval(_CLAIM, 1, index_key(key.organisation), key.key_id, sha256_hex):
                if is_new:
                    await self._redis.delete(redis_key(sha256_hex))
                raise key_exists(key.key_id)

    async def of(self, organisation: str) -> tuple[StoredKey, ...]:
        async with or_unavailable(self._timeout_seconds):
            index = await self._redis.hgetall(index_key(organisation))
        hashes = [each for held in index.values() for each in str(held).split()]
        found: list[StoredKey] = []
        for first in range(0, len(hashes), _READ_AT_ONCE):
            async with or_unavailable(self._timeout_seconds):
                read = await asyncio.gather(*map(self._read, hashes[first : first + _READ_AT_ONCE]))
            found += [key for key in read if key is not None and key.organisation == organisation]
        return tuple(sorted(found, key=lambda key: key.key_id))

    async def revoke(self, organisation: str, key_id: str, *, at: datetime) -> StoredKey:
        async with or_unavailable(self._timeout_seconds):
            held = await self._redis.hget(index_key(organisation), key_id)
        ended = [await self._ended(each, organisation, at) for each in str(held or "").split()]
        found = [key for key in ended if key is not None]
        if not found:
            raise key_not_found(key_id)
        return found[-1]

    async def _ended(self, sha256_hex: str, organisation: str, at: datetime) -> StoredKey | None:
        while True:
            async with or_unavailable(self._timeout_seconds):
                before = await self._redis.get(redis_key(sha256_hex))
                if before is None or (key := from_json(before)).organisation != organisation:
                    return None
                if key.revoked_at is not None:
                    return key
                revoked = replace(key, revoked_at=at)
                if await self._redis.eval(_SWAP, 1, redis_key(sha256_hex), before, to_json(revoked)):
                    return revoked

    async def _stored(self, sha256_hex: str, key: StoredKey) -> tuple[bool, StoredKey]:
        """Whether it is new, and what is there now."""
        if await self._redis.set(redis_key(sha256_hex), to_json(key), nx=True):
            return True, key
        return False, await self._read(sha256_hex) or key

    async def _read(self, sha256_hex: str) -> StoredKey | None:
        text = await self._redis.get(redis_key(sha256_hex))
        return None if text is None else from_json(text)
