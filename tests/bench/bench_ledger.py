"""Reservations a second of the ledger in Redis, beside the least that a script call can cost, in the same run.

    python -m tests.bench.bench_ledger [--seconds 3] [--fsync always|everysec|no]

A reservation is a Reserve and its Settle, in an organisation with limits in all of its scopes and windows: two calls.
The bare call is an EVALSHA of `return 1` through the same client. Both with so many callers at once, in one process.
The processor's time is told too: it says more on a machine that does other things meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import quantiles

from redis.asyncio import Redis

from libs.clock import SystemClock
from libs.money import Price, Usage, UsageSource
from libs.testing.valkey import RedisServer, valkey_binary
from services.budget.adapters.redis_client import redis_client
from services.budget.adapters.redis_ledger import RedisLedger
from services.budget.adapters.redis_organisations import RedisOrganisations
from services.budget.domain.lease import LeasePolicy, Reservation, ReservationId
from services.budget.domain.limits import WINDOWS, Limit, Principal
from services.budget.domain.money import MAX_LIMIT_MICRO_USD
from services.budget.domain.receipt import Outcome, Settlement

CALLERS = (1, 32)
ADA = Principal(key_id="ada", organisation="acme")
PRICE = Price(200_000, 100_000, 200_000, "1")
USAGE = Usage(120, 0, 200, UsageSource.ENGINE)


@dataclass(frozen=True, slots=True)
class Measured:
    """What so many callers got done."""

    per_second: float
    p50_ms: float
    p99_ms: float
    our_cpu_us: float
    redis_cpu_us: float


async def main(seconds: float, fsync: str) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="tokenway-") as folder,
        RedisServer(binary=valkey_binary(), folder=Path(folder), options=("--appendfsync", fsync)) as server,
    ):
        redis = redis_client(server.url)
        ledger = await _ledger(redis)
        ids = count()

        async def reservation() -> None:
            name = ReservationId(f"r{next(ids)}")
            await ledger.reserve(Reservation(name, name, ADA, "llama-3-7b", PRICE, 200, 256, 512))
            await ledger.settle(Settlement(name, "acme", USAGE, Outcome.FINISHED, "cheapest of 3 that qualify"))

        bare = await redis.script_load("return 1")

        async def two_bare_calls() -> None:
            for _ in range(2):
                await redis.evalsha(bare, 1, "tw:{acme}:clock")

        print(f"appendfsync {fsync}; a pair is two script calls: Reserve and Settle, or two that do nothing")
        print(f"{'callers':>8} {'':12} {'pairs/s':>9} {'p50 ms':>8} {'p99 ms':>8} {'our µs':>8} {'Redis µs':>8}")
        for callers in CALLERS:
            least = await _measured(two_bare_calls, callers, seconds, redis)
            ours = await _measured(reservation, callers, seconds, redis)
            _print(callers, "bare EVALSHA", least)
            _print(callers, "ledger", ours)
            print(f"{callers:8} {'ratio':12} {ours.per_second / least.per_second:9.2f}")
        await redis.aclose()


async def _ledger(redis: Redis) -> RedisLedger:
    ledger = RedisLedger(
        redis=redis,
        organisations=RedisOrganisations(redis=redis, clock=SystemClock()),
        policy=LeasePolicy(),
        timeout_seconds=5,
    )
    for account in ADA.accounts():
        for window in WINDOWS:
            await ledger.put_limit("acme", Limit(account, window, MAX_LIMIT_MICRO_USD))
    return ledger


async def _measured(do: Callable[[], Awaitable[None]], callers: int, seconds: float, redis: Redis) -> Measured:
    took: list[float] = []
    redis_cpu, our_cpu = await _cpu_seconds(redis), time.process_time()
    began = time.perf_counter()

    async def caller() -> None:
        while (start := time.perf_counter()) < began + seconds:
            await do()
            took.append(time.perf_counter() - start)

    await asyncio.gather(*(caller() for _ in range(callers)))
    elapsed, our_cpu = time.perf_counter() - began, time.process_time() - our_cpu
    redis_cpu = await _cpu_seconds(redis) - redis_cpu
    cuts, pairs = quantiles(took, n=100), len(took)
    return Measured(pairs / elapsed, cuts[49] * 1e3, cuts[98] * 1e3, our_cpu / pairs * 1e6, redis_cpu / pairs * 1e6)


async def _cpu_seconds(redis: Redis) -> float:
    used = await redis.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def _print(callers: int, name: str, each: Measured) -> None:
    times = f"{each.p50_ms:8.2f} {each.p99_ms:8.2f} {each.our_cpu_us:8.0f} {each.redis_cpu_us:8.0f}"
    print(f"{callers:8} {name:12} {each.per_second:9.0f} {times}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--fsync", choices=("always", "everysec", "no"), default="always")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.seconds, arguments.fsync))
