"""Hashes of any size, read in steps: nobody waits behind one long answer."""

from __future__ import annotations

from typing import Any

from libs.redis_client import RedisClient
from services.budget.adapters.redis_outages import or_unavailable

_FIELDS_A_STEP = 1_000


async def hash_in_steps(redis: RedisClient, key: str, *, timeout_seconds: float) -> dict[str, str]:
    """Every field that was there all the while, as it stood when its step was read; each step has so much time."""
    # A step may bring a field again, as it stands then.
    found: dict[str, str] = {}
    cursor = 0
    while True:
        async with or_unavailable(timeout_seconds):
            reply: Any = await redis.hscan(key, cursor, count=_FIELDS_A_STEP)
        cursor, fields = reply
        found |= fields
        if not cursor:
            return found
