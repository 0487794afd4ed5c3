"""How long the semantic index takes to find the nearest, a replica to learn of an answer, and to read all anew."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis

from libs import minilm
from libs.background import running
from libs.clock import SystemClock
from libs.redis_client import redis_client
from libs.testing.valkey import RedisServer, valkey_binary
from services.cache.adapters import index_entries
from services.cache.adapters.answer_keys import entry_key
from services.cache.adapters.faiss_index import FaissIndex
from services.cache.adapters.redis_answers import RedisAnswers
from services.cache.adapters.redis_outages import Outages
from services.cache.adapters.redis_replica import Replica
from services.cache.domain.key import AnswerKey
from services.cache.domain.ports import IndexEntry
from tests.bench.measure import Table, percentile
from tests.contract.answer_stores import in_memory

ORGANISATION = "acme"
ENCODER = "of the bench"
SECONDS = 60.0


class NoticingIndex(FaissIndex):
    """Tells when it has learnt of an entry."""

    def __init__(self, *, max_entries: int) -> None:
        super().__init__(dimensions=minilm.DIMENSIONS, max_entries=max_entries, clock=SystemClock())
        self.noticed: dict[AnswerKey, float] = {}
        self.changed = asyncio.Event()

    def put(self, entry: IndexEntry) -> AnswerKey | None:
        self.noticed[entry.key] = time.perf_counter()
        self.changed.set()
        return super().put(entry)


async def bench(*, quick: bool) -> Sequence[Table]:
    with tempfile.TemporaryDirectory(prefix="tokenway-") as name:
        folder = Path(name)
        with RedisServer(binary=valkey_binary(), folder=folder, options=("--appendonly", "no")) as server:
            lag = await _lag(server.url, answers=300 if quick else 3_000)
            server.flush()
            rebuild = await _rebuild(server.url, entries=10_000 if quick else 100_000)
    searches = _searches(rounds=20 if quick else 200)
    return searches, Table("Replicas", ("", "measured", "target"), (*lag, rebuild))


def _searches(*, rounds: int) -> Table:
    """Of the index alone."""
    rows = []
    for number in (1, 63, 64, 1_000, 10_000, 100_000):
        index = FaissIndex(dimensions=minilm.DIMENSIONS, max_entries=number, clock=SystemClock())
        vectors = _vectors(number)
        for place, vector in enumerate(vectors):
            key = AnswerKey(ORGANISATION, _digest(str(place)))
            index.put(IndexEntry(key, b"p", vector.tobytes(), time.time() + 3_600))
        query, seconds = vectors[0].astype(np.float32).tobytes(), []
        for _ in range(rounds):
            began = time.perf_counter()
            assert index.nearest(ORGANISATION, b"p", query, limit=4)
            seconds.append(time.perf_counter() - began)
        rows.append((f"{number:,}", *(f"{percentile(seconds, each) * 1e3:.3f}" for each in (50, 99))))
    return Table("The nearest in a partition, by its questions", ("", "p50 ms", "p99 ms"), tuple(rows))


async def _lag(url: str, *, answers: int) -> tuple[tuple[str, ...], ...]:
    """From the moment at which an answer is stored to that at which another replica's index has it."""
    index, seconds = NoticingIndex(max_entries=answers), []
    async with _redis_answers(url) as store, _replica(url, index):
        for number, vector in enumerate(_vectors(answers)):
            key = AnswerKey(ORGANISATION, _digest(str(number)))
            now = time.time()
            given = replace(in_memory().answer(), created_at=now, expires_at=now + 3_600)
            await store.put(key, given, vector=vector.astype(np.float32).tobytes())
            stored = time.perf_counter()
            await _until(index, key)
            seconds.append(max(0.0, index.noticed[key] - stored))
    return tuple(
        (f"an answer is known to another, p{percent}", f"{percentile(seconds, percent) * 1e3:.2f} ms", target)
        for percent, target in ((50, ""), (99, "≤ 10 ms"))
    )


async def _rebuild(url: str, *, entries: int) -> tuple[str, ...]:
    redis, soon = redis_client(url), time.time() + 3_600
    vectors = _vectors(1_000)
    for start in range(0, entries, 1_000):
        await _put_raw(redis, range(start, start + 1_000), vectors, soon)
    index = FaissIndex(dimensions=minilm.DIMENSIONS, max_entries=entries, clock=SystemClock())
    began = time.perf_counter()
    async with _replica(url, index) as replica:
        while not replica.rebuilds:  # noqa: ASYNC110 # it sets no event
            await asyncio.sleep(0.01)
        seconds = time.perf_counter() - began
    assert len(index) == entries
    await redis.aclose()
    return f"{entries:,} read anew", f"{seconds:.2f} s", "≤ 5 s" if entries == 100_000 else ""


async def _put_raw(redis: Redis, numbers: range, vectors: NDArray[np.float16], expires_at: float) -> None:
    """As answers are stored, with a body of 1 KB; fifty to a partition."""
    now = time.time()
    async with redis.pipeline(transaction=False) as pipeline:
        for number, vector in zip(numbers, vectors, strict=True):
            key = AnswerKey(ORGANISATION, _digest(str(number)))
            given = replace(
                in_memory().answer(), partition=_digest(f"p{number // 50}"), created_at=now, expires_at=expires_at
            )
            single = vector.astype(np.float32).tobytes()
            fields: dict[Any, Any] = {**index_entries.fields_of(key, given, single, encoder=ENCODER)}
            _ = pipeline.hset(entry_key(ORGANISATION, key.digest), mapping={**fields, "body": b"x" * 1_000})
        await pipeline.execute()


@asynccontextmanager
async def _redis_answers(url: str) -> AsyncIterator[RedisAnswers]:
    redis, clock = redis_client(url), SystemClock()
    outages = Outages(timeout_seconds=SECONDS)
    yield RedisAnswers(redis=redis, outages=outages, clock=clock, unreadable=lambda: None, encoder=ENCODER)
    await redis.aclose()


@asynccontextmanager
async def _replica(url: str, index: FaissIndex) -> AsyncIterator[Replica]:
    redis = redis_client(url)
    replica = Replica(redis=redis, index=index, encoder=ENCODER, dimensions=minilm.DIMENSIONS, timeout_seconds=SECONDS)
    async with running(replica.follow(), name="replica"):
        yield replica
    await redis.aclose()


async def _until(index: NoticingIndex, key: AnswerKey) -> None:
    while key not in index.noticed:
        index.changed.clear()
        await index.changed.wait()


def _vectors(number: int) -> NDArray[np.float16]:
    drawn = np.random.default_rng(1).standard_normal((number, minilm.DIMENSIONS), np.float32)
    halved: NDArray[np.float16] = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)
    return halved


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
