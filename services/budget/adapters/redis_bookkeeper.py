"""The sums over the ledger's receipts, and the ledger's end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import date
from typing import Any

from redis.asyncio import Redis

from services.budget.adapters.redis_ledger import key_of
from services.budget.adapters.redis_organisations import RedisOrganisations
from services.budget.adapters.redis_outages import or_unavailable
from services.budget.adapters.redis_scripts import OrganisationScript
from services.budget.adapters.redis_snapshots import sums_of
from services.budget.adapters.redis_verification import OvertakenError, RedisVerification
from services.budget.domain.limits import WINDOWS
from services.budget.domain.spend import Spender, Spent
from services.budget.domain.verification import Finding

# So that nobody waits for one long answer, or behind one long step.
_FIELDS_A_STEP = 1_000
_TRIMMED_A_STEP = 50
_DAY_MS = 86_400_000


class RedisBookkeeper:
    """A Bookkeeper over the keys of a RedisLedger. `now_ms` stands in for the server's clock, in tests alone."""

    def __init__(
        self,
        *,
        redis: Redis,
        organisations: RedisOrganisations,
        timeout_seconds: float,
        receipt_days: int,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._redis = redis
        self._organisations = organisations
        self._timeout_seconds = timeout_seconds
        self._receipt_days = receipt_days
        self._trim = OrganisationScript(
            *("calendar", "organisation", "days", "trim"), redis=redis, timeout_seconds=timeout_seconds, now_ms=now_ms
        )
        self._snapshot = OrganisationScript(
            "organisation", "snapshot", redis=redis, timeout_seconds=timeout_seconds, now_ms=now_ms
        )

    async def spent_on(self, organisation: str, day: date) -> Mapping[Spender, Spent]:
        key = key_of(organisation, f"days:{day:%Y%m%d}")
        # A step may bring a field again, as it stands then.
        found: dict[str, str] = {}
        cursor = 0
        while True:
            async with or_unavailable(self._timeout_seconds):
                reply: Any = await self._redis.hscan(key, cursor, count=_FIELDS_A_STEP)
            cursor, fields = reply
            found |= fields
            if not cursor:
                return sums_of(found)

    async def trim(self) -> int:
        async with or_unavailable(self._timeout_seconds):
            organisations = await self._organisations.announced()
        return sum([await self._trim_one(each) for each in organisations])

    async def verify(self, organisation: str) -> AsyncGenerator[Finding]:
        while True:
            verification = RedisVerification(
                organisation, redis=self._redis, script=self._snapshot, timeout_seconds=self._timeout_seconds
            )
            try:
                async with aclosing(verification.findings()) as findings:
                    async for finding in findings:
                        yield finding
            except OvertakenError:
                continue
            return

    async def _trim_one(self, organisation: str) -> int:
        trimmed = 0
        while True:
            step: int = await self._trim(
                organisation, most=_TRIMMED_A_STEP, kept_ms=self._receipt_days * _DAY_MS, windows=WINDOWS
            )
            trimmed += step
            if step < _TRIMMED_A_STEP:
                return trimmed
