"""What the ledger costs as organisations become many and their ledgers long: memory, and time a reservation.

An organisation has four scopes, a key with its user, team and organisation, each with a limit of money by the day and
by the month. A reservation is a Reserve and its Settle, of an organisation by chance, eight at once; in the same rounds
there are the bare EVALSHA of `return 1`, and reservations of the first hundred organisations alone. Memory is Redis's
own word (`used_memory`, `MEMORY USAGE`), without its append-only file.

The Redis of the PATH is measured where there is one: Debian's has the allocator of most that are in production,
jemalloc; that of the embedded Valkey, else, is the C library's.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from libs.clock import SystemClock
from libs.money import Price, Usage, UsageSource
from libs.redis_client import RedisClient, redis_client
from libs.testing.valkey import RedisServer, redis_binary, valkey_binary
from services.budget.adapters.redis_calls import RedisCalls
from services.budget.adapters.redis_ledger import RedisLedger, key_of
from services.budget.adapters.redis_organisations import RedisOrganisations
from services.budget.domain.lease import LeasePolicy, Reservation, ReservationId
from services.budget.domain.limits import Limit, Principal
from services.budget.domain.money import MAX_LIMIT
from services.budget.domain.receipt import Outcome, Settlement
from services.budget.domain.windows import Window
from tests.bench.measure import Table, in_turns, percentile, ratio

ORGANISATIONS, QUICK_ORGANISATIONS = (100, 1_000, 10_000), (100, 300)
RECEIPTS, QUICK_RECEIPTS = (100, 1_000, 20_000), (100, 1_000)
SCOPES = 4
LIMITED = (Window.DAY, Window.MONTH)
PRICE = Price(200_000, 100_000, 200_000, "1")
USAGE = Usage(120, 0, 200, UsageSource.ENGINE)
_CALLERS, _FILLERS = 8, 64
_SAMPLED = 200
_FEW = 100
_LONG = "long"

Do = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Measured:
    """What eight callers got done in one round."""

    seconds: float
    took_seconds: list[float]
    redis_cpu_seconds: float

    @property
    def a_second(self) -> float:
        return len(self.took_seconds) / self.seconds

    @property
    def redis_seconds_each(self) -> float:
        return self.redis_cpu_seconds / len(self.took_seconds)


class Scale:
    """A ledger that grows while it is measured."""

    def __init__(self, redis: RedisClient, *, rounds: int, seconds: float) -> None:
        self._redis, self._rounds, self._seconds = redis, rounds, seconds
        self._ids, self._chance = count(), random.Random(0)
        self._ledger = RedisLedger(
            redis=redis,
            calls=RedisCalls(redis, timeout_seconds=30),
            organisations=RedisOrganisations(redis=redis, clock=SystemClock()),
            policy=LeasePolicy(),
            timeout_seconds=30,
        )

    async def by_organisations(self, sizes: Sequence[int]) -> Table:
        """Memory and time as there are more organisations."""
        # Every script is loaded, and every connection made.
        await self._founded("o0")
        await self._at_once(self._reserved("o0") for _ in range(4 * _FILLERS))
        there_are, rows = 1, []
        for size in sizes:
            before = await self._used_bytes()
            await self._at_once(self._founded(f"o{each}") for each in range(there_are, size))
            bytes_a_scope = (await self._used_bytes() - before) / (size - there_are) / SCOPES
            there_are = size
            rows.append((f"{size:,}", f"{bytes_a_scope:,.0f}", *await self._timed(size)))
        columns = ("organisations", "bytes a scope", *_TIMES)
        notes = (
            "bytes a scope: a fourth of what an organisation that is new holds after one reservation: money by hour,",
            "day, month and in total, limits, sums of the day, receipt, reservation, index and clock",
            f"× few: Redis's CPU beside that of the first {_FEW} alone, in the same rounds",
        )
        return Table(f"The ledger on {await self._server()}, as organisations become many", columns, tuple(rows), notes)

    async def by_receipts(self, sizes: Sequence[int]) -> Table:
        """Memory and time as one organisation's ledger becomes long."""
        await self._founded(_LONG)
        there_are, rows = 1, []
        for size in sizes:
            await self._at_once(self._reserved(_LONG) for _ in range(there_are, size))
            there_are = size
            times = await self._timed(None)
            rows.append((f"{size:,}", *map(str, await self._receipt_bytes()), *times))
            there_are = int(await self._redis.xlen(key_of(_LONG, "receipts")))
        columns = ("receipts of one organisation", "bytes a receipt", "in the index", "reservation", *_TIMES)
        notes = ("bytes a receipt in the ledger, for 35 days; of its reservation, for 25 hours",)
        return Table("The ledger, as it becomes long", columns, tuple(rows), notes)

    async def _timed(self, organisations: int | None) -> tuple[str, ...]:
        """Of the organisations so far, by chance; of the one with the long ledger."""
        bare = await self._redis.script_load("return 1")

        async def call_twice() -> None:
            for _ in range(2):
                await self._redis.evalsha(bare, 1, "tw:{o0}:clock")

        async def reserve() -> None:
            await (self._reserved(_LONG) if organisations is None else self._reserved_by_chance(organisations))

        few = partial(self._reserved_by_chance, _FEW)
        doing: dict[str, Do] = {"bare": call_twice, "few": few, "ledger": reserve}
        cases = {name: partial(self._measured, do) for name, do in doing.items()}
        measured = await in_turns(cases, rounds=self._rounds)
        speeds = {name: [each.a_second for each in rounds] for name, rounds in measured.items()}
        redis = {name: [each.redis_seconds_each for each in rounds] for name, rounds in measured.items()}
        took = [seconds for each in measured["ledger"] for seconds in each.took_seconds]
        return (
            f"{statistics.median(speeds['ledger']):,.0f}",
            f"{ratio(speeds['ledger'], speeds['bare']):.2f}",
            f"{percentile(took, 50) * 1e3:.2f}",
            f"{statistics.median(redis['ledger']) * 1e6:.0f}",
            f"{ratio(redis['ledger'], redis['few']):.2f}",
        )

    async def _measured(self, do: Do) -> Measured:
        took: list[float] = []
        cpu, began = await self._redis_cpu_seconds(), time.perf_counter()

        async def caller() -> None:
            while (start := time.perf_counter()) < began + self._seconds:
                await do()
                took.append(time.perf_counter() - start)

        await asyncio.gather(*(caller() for _ in range(_CALLERS)))
        return Measured(time.perf_counter() - began, took, await self._redis_cpu_seconds() - cpu)

    async def _at_once(self, doing: Iterator[Awaitable[None]]) -> None:
        async def filler() -> None:
            for each in doing:
                await each

        await asyncio.gather(*(filler() for _ in range(_FILLERS)))

    async def _founded(self, organisation: str) -> None:
        for account in _principal(organisation).accounts():
            for window in LIMITED:
                await self._ledger.put_limit(organisation, Limit(account, window, MAX_LIMIT))
        await self._reserved(organisation)

    async def _reserved_by_chance(self, organisations: int) -> None:
        await self._reserved(f"o{self._chance.randrange(organisations)}")

    async def _reserved(self, organisation: str) -> None:
        name = ReservationId(f"{next(self._ids):032x}")
        principal = _principal(organisation)
        await self._ledger.reserve(Reservation(name, name, principal, "llama-3-7b", PRICE, 200, 256, 512))
        why = "cheapest of 3 that qualify"
        await self._ledger.settle(Settlement(name, organisation, USAGE, Outcome.FINISHED, why))

    async def _receipt_bytes(self) -> tuple[int, int, int]:
        """A receipt in the stream, its place in the index, and its reservation while that is remembered."""
        receipts = int(await self._redis.xlen(key_of(_LONG, "receipts")))
        stream, index = [await self._bytes(key_of(_LONG, each)) for each in ("receipts", "requests")]
        entries: Any = await self._redis.xrevrange(key_of(_LONG, "receipts"), count=_SAMPLED)
        names = [key_of(_LONG, f"reserved:{fields['reservation_id']}") for _, fields in entries]
        reservations = [await self._bytes(each) for each in names]
        return stream // receipts, index // receipts, round(statistics.mean(reservations))

    async def _server(self) -> str:
        told = await self._redis.info()
        # Valkey's own version is beside that of the Redis that it can stand in for.
        name = f"Valkey {told['valkey_version']}" if "valkey_version" in told else f"Redis {told['redis_version']}"
        return f"{name}, {told['mem_allocator']}"

    async def _bytes(self, key: str) -> int:
        return int(await self._redis.memory_usage(key, samples=0) or 0)

    async def _used_bytes(self) -> int:
        return int((await self._redis.info("memory"))["used_memory"])

    async def _redis_cpu_seconds(self) -> float:
        used = await self._redis.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


_TIMES = ("pairs/s", "× bare", "p50 ms", "Redis CPU µs", "× few")


async def bench(*, quick: bool) -> Sequence[Table]:
    rounds, seconds = (1, 0.2) if quick else (5, 1.0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenway-")))
        # Without rewriting its append-only file, which is a copy of itself in the middle of a round.
        options = ("--auto-aof-rewrite-percentage", "0")
        binary = redis_binary() or valkey_binary()
        server = stack.enter_context(RedisServer(binary=binary, folder=folder, options=options))
        redis = redis_client(server.url, decode_responses=True)
        scale = Scale(redis, rounds=rounds, seconds=seconds)
        tables = (
            await scale.by_organisations(QUICK_ORGANISATIONS if quick else ORGANISATIONS),
            await scale.by_receipts(QUICK_RECEIPTS if quick else RECEIPTS),
        )
        await redis.aclose()
    return tables


def _principal(organisation: str) -> Principal:
    return Principal(key_id="ci", organisation=organisation, user="ada", team="compilers")
