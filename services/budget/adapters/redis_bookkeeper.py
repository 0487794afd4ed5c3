"""The sums over the ledger's receipts, as lua/days.lua keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from redis.asyncio import Redis

from services.budget.adapters.redis_ledger import key_of
from services.budget.adapters.redis_outages import or_unavailable
from services.budget.domain.spend import Spender, Spent

# So that nobody waits for one long answer.
_FIELDS_A_STEP = 1_000


class RedisBookkeeper:
    """A Bookkeeper over the keys of a RedisLedger."""

    def __init__(self, *, redis: Redis, timeout_seconds: float) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds

    async def spent_on(self, organisation: str, day: date) -> Mapping[Spender, Spent]:
        key = key_of(organisation, f"days:{day:%Y%m%d}")
        # A step may bring a field again, as it stands then.
        found: dict[Spender, Spent] = {}
        cursor = 0
        while True:
            async with or_unavailable(self._timeout_seconds):
                reply: Any = await self._redis.hscan(key, cursor, count=_FIELDS_A_STEP)
            cursor, fields = reply
            found |= {_spender(str(field)): _spent(str(value)) for field, value in fields.items()}
            if not cursor:
                return {spender: spent for spender, spent in found.items() if spent}


def _spender(field: str) -> Spender:
    # A model's name is the last: it alone may hold whatever it likes.
    return Spender(*field.split("\n", 3))


def _spent(value: str) -> Spent:
    return Spent(*map(int, value.split(" ")))
