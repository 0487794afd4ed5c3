"""Reservations a second of the ledger in Redis, beside the least that a script call can cost, in the same run.

A reservation is a Reserve and its Settle, two calls: of a key and its organisation, with limits of money by the hour,
day and month; and of a key, its user, team and organisation, with limits of every kind over every window. The bare call
is an EVALSHA of `return 1` through the same client. All with so many callers at once, in one process.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from libs.clock import SystemClock
from libs.money import Price, Usage, UsageSource
from libs.redis_client import RedisClient, redis_client
from libs.testing.valkey import RedisServer, valkey_binary
from services.budget.adapters.redis_ledger import RedisLedger
from services.budget.adapters.redis_organisations import RedisOrganisations
from services.budget.domain.lease import LeasePolicy, Reservation, ReservationId
from services.budget.domain.limits import Kind, Limit, Principal, why_uncounted
from services.budget.domain.money import MAX_LIMIT
from services.budget.domain.receipt import Outcome, Settlement
from services.budget.domain.windows import Window
from tests.bench.measure import Table, in_turns, percentile, ratio

CALLERS = (1, 32)
ADA = Principal(key_id="ada", organisation="acme")
BOB = Principal(key_id="bob", organisation="umbrella", user="bob", team="ops")
# What limits there are, by whom they limit: 2 accounts × 3, and 4 accounts × 18.
FEW = ((Kind.MONEY, Window.HOUR), (Kind.MONEY, Window.DAY), (Kind.MONEY, Window.MONTH))
ALL = tuple((kind, window) for kind in Kind for window in Window if not why_uncounted(kind, window))
PRICE = Price(200_000, 100_000, 200_000, "1")
USAGE = Usage(120, 0, 200, UsageSource.ENGINE)


Case = tuple[str, int]
Pair = Callable[[], Awaitable[None]]
Limits = tuple[tuple[Kind, Window], ...]
BARE = "bare EVALSHA"
LEDGERS = {
    f"ledger, {len(each.accounts()) * len(limits)} limits": (each, limits) for each, limits in ((ADA, FEW), (BOB, ALL))
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What so many callers got done in one round."""

    seconds: float
    pair_seconds: list[float]
    our_cpu_seconds: float
    redis_cpu_seconds: float

    @property
    def pairs_per_second(self) -> float:
        return len(self.pair_seconds) / self.seconds


async def bench(*, quick: bool) -> Sequence[Table]:
    rounds, seconds = (2, 0.4) if quick else (5, 1.0)
    with (
        tempfile.TemporaryDirectory(prefix="tokenway-") as folder,
        RedisServer(binary=valkey_binary(), folder=Path(folder)) as server,  # each write is flushed, as by default
    ):
        redis = redis_client(server.url, decode_responses=True)
        pairs = {BARE: await _two_bare_calls(redis)}
        for name, (principal, limits) in LEDGERS.items():
            pairs[name] = await _reservations(redis, principal, limits)
        cases = {
            (name, callers): partial(_measured, pair, callers, seconds, redis)
            for callers in CALLERS
            for name, pair in pairs.items()
        }
        measured = await in_turns(cases, rounds=rounds)
        await redis.aclose()
    return (_table(measured),)


async def _two_bare_calls(redis: RedisClient) -> Pair:
    bare = await redis.script_load("return 1")

    async def two() -> None:
        for _ in range(2):
            await redis.evalsha(bare, 1, "tw:{acme}:clock")

    return two


async def _reservations(redis: RedisClient, principal: Principal, limits: Limits) -> Pair:
    ledger, ids = await _ledger(redis, principal, limits), count()

    async def one() -> None:
        name = ReservationId(f"r{next(ids)}")
        await ledger.reserve(Reservation(name, name, principal, "llama-3-7b", PRICE, 200, 256, 512))
        why = "cheapest of 3 that qualify"
        await ledger.settle(Settlement(name, principal.organisation, USAGE, Outcome.FINISHED, why))

    return one


async def _ledger(redis: RedisClient, principal: Principal, limits: Limits) -> RedisLedger:
    ledger = RedisLedger(
        redis=redis,
        organisations=RedisOrganisations(redis=redis, clock=SystemClock()),
        policy=LeasePolicy(),
        timeout_seconds=5,
    )
    for account in principal.accounts():
        for kind, window in limits:
            await ledger.put_limit(principal.organisation, Limit(account, window, MAX_LIMIT, kind))
    return ledger


async def _measured(do: Pair, callers: int, seconds: float, redis: RedisClient) -> Measured:
    took: list[float] = []
    redis_cpu, our_cpu = await _cpu_seconds(redis), time.process_time()
    began = time.perf_counter()

    async def caller() -> None:
        while (start := time.perf_counter()) < began + seconds:
            await do()
            took.append(time.perf_counter() - start)

    await asyncio.gather(*(caller() for _ in range(callers)))
    elapsed, our_cpu = time.perf_counter() - began, time.process_time() - our_cpu
    return Measured(elapsed, took, our_cpu, await _cpu_seconds(redis) - redis_cpu)


async def _cpu_seconds(redis: RedisClient) -> float:
    used = await redis.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def _table(measured: Mapping[Case, Sequence[Measured]]) -> Table:
    def speeds(case: Case) -> list[float]:
        return [each.pairs_per_second for each in measured[case]]

    def row(case: Case) -> tuple[str, ...]:
        name, callers = case
        here = measured[case]
        took = [seconds for each in here for seconds in each.pair_seconds]
        return (
            name,
            str(callers),
            f"{statistics.median(speeds(case)):,.0f}",
            f"{ratio(speeds(case), speeds((BARE, callers))):.2f}",
            *(f"{percentile(took, percent) * 1e3:.2f}" for percent in (50, 99)),
            f"{sum(each.our_cpu_seconds for each in here) / len(took) * 1e6:.0f}",
            f"{sum(each.redis_cpu_seconds for each in here) / len(took) * 1e6:.0f}",
        )

    columns = ("a pair is two calls", "callers", "pairs/s", "× bare", "p50 ms", "p99 ms", "our CPU µs", "Redis CPU µs")
    return Table("The ledger: Reserve and Settle", columns, tuple(row(case) for case in measured))
