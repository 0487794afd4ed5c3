"""Every implementation of the Ledger port, each with its books and a clock that the test owns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from prometheus_client import CollectorRegistry

from libs.clock import Clock, SystemClock
from libs.redis_client import redis_or_cluster
from libs.testing.bookkeeper import InMemoryBookkeeper
from libs.testing.journal import InMemoryJournal
from libs.testing.ledger import InMemoryLedger
from libs.testing.ledger_books import RedisBooks
from services.budget.adapters.away_metrics import AwayMetrics
from services.budget.adapters.observed_ledger import LedgerMetrics, ObservedLedger
from services.budget.adapters.redis_bookkeeper import RedisBookkeeper
from services.budget.adapters.redis_calls import RedisCalls
from services.budget.adapters.redis_ledger import RedisLedger
from services.budget.adapters.redis_organisations import RedisOrganisations
from services.budget.domain.archive import Archive
from services.budget.domain.arrears import AwayTerms
from services.budget.domain.away_ledger import AwayLedger
from services.budget.domain.bookkeeper import Bookkeeper
from services.budget.domain.lease import LeasePolicy
from services.budget.domain.limits import Account, Kind
from services.budget.domain.ports import Ledger
from services.budget.domain.receipt import Receipt
from services.budget.domain.windows import Window

POLICY = LeasePolicy(lifetime_seconds=60)


class Books(Protocol):
    """What a ledger has written, seen from outside."""

    def used_and_reserved(
        self, organisation: str, account: Account, window: Window, at_ms: int, kind: Kind = Kind.MONEY
    ) -> tuple[int, int]: ...

    def receipts(self, organisation: str) -> list[Receipt]: ...


def ms(text: str) -> int:
    """Milliseconds since the epoch of a moment such as "2024-02-29T23:59:59"."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@dataclass(slots=True)
class LedgerClock:
    """The time of a ledger under test."""

    now_ms: int = ms("2024-02-28T10:15:00")

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)


@dataclass(frozen=True, slots=True)
class Tried:
    """A ledger under test."""

    ledger: Ledger
    books: Books
    clock: LedgerClock
    bookkeeper: Bookkeeper


def in_memory(policy: LeasePolicy, *, archive: Archive | None = None) -> Tried:
    clock = LedgerClock()
    ledger = InMemoryLedger(policy=policy, now_ms=clock)
    return Tried(ledger, ledger, clock, InMemoryBookkeeper(ledger, archive=archive))


def open_when_away(policy: LeasePolicy) -> Tried:
    """That one is never away, so nothing may differ; nor where it is observed."""
    inner = in_memory(policy)
    terms = {"acme": AwayTerms(cap_micro_usd=10**9, window=Window.DAY)}
    ledger = AwayLedger(
        inner.ledger,
        journal=InMemoryJournal(),
        terms=terms,
        lease_seconds=policy.lifetime_seconds,
        clock=SystemClock(),
        watcher=AwayMetrics(CollectorRegistry()),
    )
    observed = ObservedLedger(ledger, metrics=LedgerMetrics(CollectorRegistry()))
    return replace(inner, ledger=observed)


@asynccontextmanager
async def in_redis(
    url: str,
    policy: LeasePolicy,
    *,
    timeout_seconds: float = 30,
    archive: Archive | None = None,
    wall_clock: Clock | None = None,
) -> AsyncIterator[Tried]:
    """A busy machine is not an outage, so Redis has time; a test about outages gives it less.

    The wall clock says when an organisation was last heard of.
    """
    clock, redis, books = LedgerClock(), redis_or_cluster(url, decode_responses=True), RedisBooks(url)
    organisations = RedisOrganisations(redis=redis, clock=wall_clock or SystemClock())
    calls = RedisCalls(redis, timeout_seconds=timeout_seconds)
    ledger = RedisLedger(
        redis=redis,
        calls=calls,
        organisations=organisations,
        policy=policy,
        timeout_seconds=timeout_seconds,
        now_ms=clock,
    )
    try:
        async with calls:
            bookkeeper = RedisBookkeeper(
                redis=redis,
                calls=calls,
                organisations=organisations,
                timeout_seconds=timeout_seconds,
                receipt_days=35,
                archive=archive,
                now_ms=clock,
            )
            yield Tried(ledger, books, clock, bookkeeper)
    finally:
        books.close()
        await redis.aclose()
