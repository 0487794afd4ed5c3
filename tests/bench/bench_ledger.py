"""Reservations a second of the ledger in Redis, beside the least that a script call can cost, in the same run.

A reservation is a Reserve and its Settle, two calls: of a key and its organisation, with limits of money by the hour,
day and month; and of a key, its user, team and organisation, with limits of every kind over every window. The bare call
is an EVALSHA of `return 1` through the same client: each alone, and together with those of the same tick, as the
ledger's go. All with so many callers at once, in one process, over twelve organisations: on one server that flushes
every write, on one that flushes every second, and on a cluster of three such as the first.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle
from pathlib import Path

from libs.clock import SystemClock
from libs.money import Price, Usage, UsageSource
from libs.redis_client import RedisClient, redis_or_cluster
from libs.testing.valkey import RedisServer, valkey_binary
from libs.testing.valkey_cluster import ValkeyCluster
from services.budget.adapters.redis_calls import RedisCalls, Script
from services.budget.adapters.redis_ledger import RedisLedger
from services.budget.adapters.redis_organisations import RedisOrganisations
from services.budget.domain.lease import LeasePolicy, Reservation, ReservationId
from services.budget.domain.limits import Kind, Limit, Principal, why_uncounted
from services.budget.domain.money import MAX_LIMIT
from services.budget.domain.receipt import Outcome, Settlement
from services.budget.domain.windows import Window
from tests.bench.measure import Table, in_turns, percentile, ratio

CALLERS = (1, 32)
# They lie on all three nodes.
ORGANISATIONS = tuple(f"organisation-{number}" for number in range(12))
# What limits there are, by whom they limit: 2 accounts × 3, and 4 accounts × 21.
FEW = ((Kind.MONEY, Window.HOUR), (Kind.MONEY, Window.DAY), (Kind.MONEY, Window.MONTH))
ALL = tuple((kind, window) for kind in Kind for window in Window if not why_uncounted(kind, window))
PRICE = Price(200_000, 100_000, 200_000, "1")
USAGE = Usage(120, 0, 200, UsageSource.ENGINE)
BARE = Script("return 1")

Case = tuple[str, str, int]
Pair = Callable[[], Awaitable[None]]
Limits = tuple[tuple[Kind, Window], ...]
ALONE, TOGETHER = "bare EVALSHA, each alone", "bare EVALSHA, together"


@dataclass(frozen=True, slots=True)
class Store:
    """Where a ledger is."""

    redis: RedisClient
    servers: tuple[RedisServer, ...]

    def cpu_seconds(self) -> float:
        """Of all its servers."""
        return sum(map(_cpu_seconds, self.servers))


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
    rounds, seconds = (1, 0.15) if quick else (5, 1.0)
    async with AsyncExitStack() as stack:
        stores = {name: await stack.enter_async_context(store()) for name, store in STORES.items()}
        cases = {
            (where, what, callers): partial(_measured, pair, callers, seconds, store)
            for where, store in stores.items()
            for what, pair in (await _pairs(store.redis)).items()
            for callers in CALLERS
        }
        measured = await in_turns(cases, rounds=rounds)
    return tuple(_table(where, measured) for where in stores)


@asynccontextmanager
async def _one_server(flush: str) -> AsyncIterator[Store]:
    options = ("--appendfsync", flush)
    with (
        tempfile.TemporaryDirectory(prefix="tokenway-") as folder,
        RedisServer(binary=valkey_binary(), folder=Path(folder), options=options) as server,
    ):
        redis = redis_or_cluster(server.url, decode_responses=True)
        async with redis:
            yield Store(redis, (server,))


@asynccontextmanager
async def _cluster() -> AsyncIterator[Store]:
    with tempfile.TemporaryDirectory(prefix="tokenway-") as folder, ValkeyCluster(folder=Path(folder)) as cluster:
        redis = redis_or_cluster(cluster.url, decode_responses=True)
        async with redis:
            yield Store(redis, (*cluster.others, cluster.primary))


STORES: dict[str, Callable[[], AbstractAsyncContextManager[Store]]] = {
    "one server, appendfsync always": partial(_one_server, "always"),
    "one server, appendfsync everysec": partial(_one_server, "everysec"),
    "three primaries, appendfsync always": _cluster,
}


async def _pairs(redis: RedisClient) -> dict[str, Pair]:
    calls = RedisCalls(redis, timeout_seconds=5)
    for each in ORGANISATIONS:  # each node has to know it
        await calls.call(BARE, [f"tw:{{{each}}}:clock"], ())
    few = [Principal(key_id="ada", organisation=each) for each in ORGANISATIONS]
    every = [Principal(key_id="bob", organisation=each, user="bob", team="ops") for each in ORGANISATIONS]
    return {
        ALONE: _two_bare_calls(lambda keys: redis.evalsha(BARE.sha, 1, *keys)),
        TOGETHER: _two_bare_calls(lambda keys: calls.call(BARE, keys, ())),
        f"ledger, {len(few[0].accounts()) * len(FEW)} limits": await _reservations(redis, few, FEW),
        f"ledger, {len(every[0].accounts()) * len(ALL)} limits": await _reservations(redis, every, ALL),
    }


def _two_bare_calls(call: Callable[[list[str]], Awaitable[object]]) -> Pair:
    turns = cycle([[f"tw:{{{each}}}:clock"] for each in ORGANISATIONS])

    async def two() -> None:
        keys = next(turns)
        for _ in range(2):
            await call(keys)

    return two


async def _reservations(redis: RedisClient, principals: Sequence[Principal], limits: Limits) -> Pair:
    ledger, turns, ids = await _ledger(redis, principals, limits), cycle(principals), count()

    async def one() -> None:
        name, principal = ReservationId(f"{principals[0].key_id}-{next(ids)}"), next(turns)
        await ledger.reserve(Reservation(name, name, principal, "llama-3-7b", PRICE, 200, 256, 512))
        why = "cheapest of 3 that qualify"
        await ledger.settle(Settlement(name, principal.organisation, USAGE, Outcome.FINISHED, why))

    return one


async def _ledger(redis: RedisClient, principals: Sequence[Principal], limits: Limits) -> RedisLedger:
    ledger = RedisLedger(
        redis=redis,
        calls=RedisCalls(redis, timeout_seconds=5),
        organisations=RedisOrganisations(redis=redis, clock=SystemClock()),
        policy=LeasePolicy(),
        timeout_seconds=5,
    )
    for principal in principals:
        every = [Limit(account, window, MAX_LIMIT, kind) for account in principal.accounts() for kind, window in limits]
        await asyncio.gather(*(ledger.put_limit(principal.organisation, each) for each in every))
    return ledger


async def _measured(do: Pair, callers: int, seconds: float, store: Store) -> Measured:
    took: list[float] = []
    redis_cpu, our_cpu = store.cpu_seconds(), time.process_time()
    began = time.perf_counter()

    async def caller() -> None:
        while (start := time.perf_counter()) < began + seconds:
            await do()
            took.append(time.perf_counter() - start)

    await asyncio.gather(*(caller() for _ in range(callers)))
    elapsed, our_cpu = time.perf_counter() - began, time.process_time() - our_cpu
    return Measured(elapsed, took, our_cpu, store.cpu_seconds() - redis_cpu)


def _cpu_seconds(server: RedisServer) -> float:
    with server.client() as client:
        used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def _table(where: str, measured: Mapping[Case, Sequence[Measured]]) -> Table:
    def speeds(case: Case) -> list[float]:
        return [each.pairs_per_second for each in measured[case]]

    def row(case: Case) -> tuple[str, ...]:
        _, what, callers = case
        here = measured[case]
        took = [seconds for each in here for seconds in each.pair_seconds]
        ours, redis = (
            sum(seconds) / len(took)
            for seconds in zip(*((each.our_cpu_seconds, each.redis_cpu_seconds) for each in here), strict=True)
        )
        return (
            what,
            str(callers),
            f"{statistics.median(speeds(case)):,.0f}",
            f"{ratio(speeds(case), speeds((where, ALONE, callers))):.2f}",
            *(f"{percentile(took, percent) * 1e3:.2f}" for percent in (50, 99)),
            f"{ours * 1e6:.0f}",
            f"{redis * 1e6:.0f}",
            f"{1 / (ours + redis):,.0f}",
        )

    columns = ("a pair is two calls", "callers", "pairs/s", "× alone", "p50 ms", "p99 ms")
    costs = ("our CPU µs", "Redis CPU µs", "pairs/s a core")
    rows = tuple(row(case) for case in measured if case[0] == where)
    return Table(f"The ledger on {where}: Reserve and Settle", (*columns, *costs), rows)
