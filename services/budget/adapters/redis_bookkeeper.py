"""The sums over the ledger's receipts, and the ledger's end."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import date
from functools import partial

from libs.errors import TokenwayError
from libs.redis_client import RedisClient
from services.budget.adapters.redis_calls import RedisCalls
from services.budget.adapters.redis_hashes import hash_in_steps
from services.budget.adapters.redis_ledger import key_of
from services.budget.adapters.redis_organisations import RedisOrganisations
from services.budget.adapters.redis_outages import or_unavailable
from services.budget.adapters.redis_replies import old_receipt
from services.budget.adapters.redis_scripts import OrganisationScript
from services.budget.adapters.redis_snapshots import sums_of
from services.budget.adapters.redis_verification import OvertakenError, RedisVerification
from services.budget.domain.archive import Archive
from services.budget.domain.limits import WINDOWS
from services.budget.domain.spend import Spender, Spent
from services.budget.domain.verification import Finding

# So that nobody waits behind one long step.
_TRIMMED_A_STEP = 50
# Long beside writing a step's receipts: if it takes longer all the same, another archives them too.
_TURN_MS = 60_000
_DAY_MS = 86_400_000


class RedisBookkeeper:
    """A Bookkeeper over the keys of a RedisLedger. `now_ms` stands in for the server's clock, in tests alone."""

    def __init__(
        self,
        *,
        redis: RedisClient,
        calls: RedisCalls,
        organisations: RedisOrganisations,
        timeout_seconds: float,
        receipt_days: int,
        archive: Archive | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._redis = redis
        self._organisations = organisations
        self._timeout_seconds = timeout_seconds
        self._archive = archive
        self._owner = uuid.uuid4().hex
        self._old = {"most": _TRIMMED_A_STEP, "kept_ms": receipt_days * _DAY_MS}
        script = partial(OrganisationScript, calls=calls, timeout_seconds=timeout_seconds, now_ms=now_ms)
        self._claim_old = script("organisation", "old_receipts", "claim_old")
        self._trim = script("calendar", "organisation", "days", "old_receipts", "trim")
        self._names = script("organisation", "names")
        self._snapshot = script("organisation", "snapshot")

    async def spent_on(self, organisation: str, day: date) -> Mapping[Spender, Spent]:
        key = key_of(organisation, f"days:{day:%Y%m%d}")
        return sums_of(await hash_in_steps(self._redis, key, timeout_seconds=self._timeout_seconds))

    async def trim(self) -> int:
        async with or_unavailable(self._timeout_seconds):
            announced, silent = await self._organisations.announced(), await self._organisations.silent()
        trimmed, failed = 0, None
        for organisation in dict.fromkeys((*announced, *silent)):
            try:
                of_it, left = await self._trim_one(organisation)
            except TokenwayError as error:  # its primary is away: those on others need not wait for that
                failed = error
                continue
            trimmed += of_it
            if not left and organisation in silent:
                async with or_unavailable(self._timeout_seconds):
                    await self._organisations.ended(organisation)
        if failed:
            raise failed
        return trimmed

    async def verify(self, organisation: str) -> AsyncGenerator[Finding]:
        while True:
            verification = RedisVerification(
                organisation,
                redis=self._redis,
                names=self._names,
                snapshot=self._snapshot,
                timeout_seconds=self._timeout_seconds,
                receipts_kept_seconds=self._old["kept_ms"] / 1000,
            )
            try:
                async with aclosing(verification.findings()) as findings:
                    async for finding in findings:
                        yield finding
            except OvertakenError:
                continue
            return

    async def _trim_one(self, organisation: str) -> tuple[int, int]:
        """How many, and how many receipts it has still."""
        trimmed = 0
        while True:
            archived = False if self._archive is None else await self._archived(organisation, self._archive)
            step, left = await self._trim(organisation, **self._old, windows=WINDOWS, archived=archived)
            trimmed += step
            if step < _TRIMMED_A_STEP:
                return trimmed, left

    async def _archived(self, organisation: str, archive: Archive) -> list[str]:
        """The ids of the oldest receipts, now that the archive has them; none while another is about it."""
        entries = await self._claim_old(organisation, **self._old, owner=self._owner, turn_ms=_TURN_MS)
        if entries:
            await archive.keep([old_receipt(organisation, entry, fields) for entry, fields in entries])
        return [entry for entry, _ in entries]
