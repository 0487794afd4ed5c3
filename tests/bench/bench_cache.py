"""How long an exact hit takes on the server, beside a bare GET of the same bytes from the same process and Redis.

Run it: python -m tests.bench.bench_cache [lookups]. The caller is a process of its own, as the router is.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
import uvloop
from redis.asyncio import Redis

from libs.testing.runtime import recorded_runtime
from libs.testing.valkey import RedisServer, valkey_binary
from services.cache.adapters.redis_client import redis_client
from tests.rpc.cache.served import LOOKUP, STOP, Served, delta, header, question, serving
from tokenway.cache.v1 import cache_pb2 as pb

LOOKUP_SPAN = "tokenway.cache.v1.CacheService/Lookup"
ANSWER_TOKENS = 64
# Lookups and GETs take turns, so that whatever else this machine does falls on both.
ROUNDS = 10
QUESTION = question("What is the capital of France? " * 20)


async def serve_and_measure(lookups: int) -> None:
    with tempfile.TemporaryDirectory(prefix="tokenway-") as name:
        folder = Path(name)
        # A flush at every write is for tests of crashes.
        with RedisServer(binary=valkey_binary(), folder=folder, options=("--appendonly", "no")) as server:
            redis = redis_client(server.url)
            async with serving(folder, redis_url=server.url) as cache:
                await cache.fill(header(QUESTION), delta(*["word "] * ANSWER_TOKENS), STOP)
                gc.freeze()  # as libs.rpc.process does once it serves
                await take_turns(cache, redis, folder, lookups // ROUNDS)
            await redis.aclose()


async def take_turns(cache: Served, redis: Redis, folder: Path, batch: int) -> None:
    [entry] = [key async for key in redis.scan_iter("tw:cache:*:answer:*")]
    await redis.set("bare", await redis.hget(entry, "body") or b"")
    bare: list[float] = []
    seen: list[float] = []
    for round_ in range(ROUNDS + 1):  # the first warms up
        seen_now = await call_from_another_process(folder, batch)
        bare_now = [await timed_get(redis) for _ in range(batch)]
        if round_:
            seen += seen_now
            bare += bare_now
    served = [
        (each.end_time or 0) - (each.start_time or 0) for each in cache.recorded.spans() if each.name == LOOKUP_SPAN
    ]
    print(f"{batch * ROUNDS} exact hits of {ANSWER_TOKENS} tokens, one after another")
    report("bare GET", bare)
    report("hit, on the server", [nanos / 1e9 for nanos in served[batch:]])
    report("hit, at the caller", seen)


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


def report(name: str, seconds: Sequence[float]) -> None:
    cuts = statistics.quantiles(seconds, n=100)
    print(f"{name:>20}: p50 {cuts[49] * 1e3:6.3f} ms   p99 {cuts[98] * 1e3:6.3f} ms")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    match sys.argv[1:]:
        case [folder, lookups]:
            uvloop.run(call(folder, int(lookups)))
        case arguments:
            uvloop.run(serve_and_measure(int(arguments[0]) if arguments else 3_000))
