"""How long an exact hit takes on the server, beside a bare GET of the same bytes from the same process and Redis.

The caller is a process of its own, as the router is: python -m tests.bench.bench_cache FOLDER LOOKUPS.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import structlog
import uvloop
from redis.asyncio import Redis

from libs.redis_client import redis_client
from libs.testing.runtime import recorded_runtime
from libs.testing.valkey import RedisServer, valkey_binary
from tests.bench.measure import Table, in_turns, percentile
from tests.rpc.cache.served import LOOKUP, STOP, Served, delta, header, question, serving
from tokenway.cache.v1 import cache_pb2 as pb

LOOKUP_SPAN = "tokenway.cache.v1.CacheService/Lookup"
ANSWER_TOKENS = 64
_ON_THE_SERVER = "hit, on the server"
QUESTION = question("What is the capital of France? " * 20)


async def bench(*, quick: bool) -> Sequence[Table]:
    rounds, lookups = (2, 300) if quick else (10, 300)
    with tempfile.TemporaryDirectory(prefix="tokenway-") as name:
        folder = Path(name)
        # A flush at every write is for tests of crashes.
        with RedisServer(binary=valkey_binary(), folder=folder, options=("--appendonly", "no")) as server:
            redis = redis_client(server.url)
            async with serving(folder, redis_url=server.url) as cache:
                await cache.fill(header(QUESTION, ttl_seconds=3_600), delta(*["word "] * ANSWER_TOKENS), STOP)
                gc.freeze()  # as libs.rpc.process does once it serves
                table = await measured(cache, redis, folder, lookups=lookups, rounds=rounds)
            await redis.aclose()
    return (table,)


async def measured(cache: Served, redis: Redis, folder: Path, *, lookups: int, rounds: int) -> Table:
    [entry] = [key async for key in redis.scan_iter("tw:cache:*:answer:*")]
    await redis.set("bare", await redis.hget(entry, "body") or b"")

    async def bare_gets() -> list[float]:
        return [await timed_get(redis) for _ in range(lookups)]

    cases = {"hit, at the caller": lambda: call_from_another_process(folder, lookups), "bare GET": bare_gets}
    seconds = {name: list(chain(*each)) for name, each in (await in_turns(cases, rounds=rounds)).items()}
    served = [
        (each.end_time or 0) - (each.start_time or 0) for each in cache.recorded.spans() if each.name == LOOKUP_SPAN
    ]
    seconds[_ON_THE_SERVER] = [nanos / 1e9 for nanos in served[lookups:]]  # without those that warmed up
    rows = tuple(_row(name, each) for name, each in seconds.items())
    title = f"{lookups * rounds:,} exact hits of {ANSWER_TOKENS} tokens, one after another"
    return Table(title, ("", "p50 ms", "target", "p99 ms", "target"), rows)


def _row(name: str, seconds: list[float]) -> tuple[str, ...]:
    p50, p99 = (f"{percentile(seconds, percent) * 1e3:.3f}" for percent in (50, 99))
    most = ("≤ 1", "≤ 5") if name == _ON_THE_SERVER else ("", "")
    return name, p50, most[0], p99, most[1]


async def timed_get(redis: Redis) -> float:
    began = time.perf_counter()
    await redis.get("bare")
    return time.perf_counter() - began


async def call_from_another_process(folder: Path, lookups: int) -> list[float]:
    """Seconds that each lookup took, as the caller sees it."""
    caller = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.bench_cache", str(folder), str(lookups), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await caller.communicate()
    if caller.returncode:
        raise RuntimeError(f"the caller ended with {caller.returncode}")
    return [float(line) for line in out.split()]


async def call(folder: str, lookups: int) -> None:
    client = recorded_runtime().runtime.client(f"unix:{folder}/cache.sock", service="cache")
    for _ in range(lookups):
        began = time.perf_counter()
        async with client.stream(LOOKUP, pb.LookupRequest(question=QUESTION)) as stream:
            events = [event async for event in stream]
        print(time.perf_counter() - began)
        assert events[0].found.verdict == pb.VERDICT_HIT
    await client.close()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    uvloop.run(call(sys.argv[1], int(sys.argv[2])))
