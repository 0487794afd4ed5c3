"""How long a look-up in the semantic tier takes on the server: real encoder, guard, Redis and 10,000 questions nearby.

All of them lie in one partition, at random; the one that is asked in ever new words lies there too. The caller is a
process of its own, as the router is: python -m tests.bench.bench_cache_semantic FOLDER LOOKUPS. Its time is in none of
the figures, but it uses the same cores.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path

import numpy as np
import structlog
import uvloop

from libs.clock import SystemClock
from libs.rpc.client import Client
from libs.testing.runtime import recorded_runtime
from libs.testing.valkey import RedisServer, valkey_binary
from services.cache.adapters.faiss_index import FaissIndex
from services.cache.domain.key import AnswerKey
from services.cache.domain.lexical_guard.guard import objection
from services.cache.domain.model import Tier
from services.cache.domain.ports import Encoder, IndexEntry, Near
from tests.bench.bench_cache import LOOKUP_SPAN
from tests.bench.measure import Table, percentile
from tests.contract.encoders import onnx_encoder
from tests.rpc.cache.served import EXPLAIN, LOOKUP, STOP, Served, delta, header, question, serving
from tokenway.cache.v1 import cache_pb2 as pb

ROWS = 10_000
ORGANISATION = "acme"
STORED = "How do I reset the password of my account?"
_BEFORE = ("", "Please, ", "So, ", "Well, ", "Sorry, ", "Also, ", "Just, ", "Ok, ", "Um, ", "Yes, ", "Thanks, ", "Er, ")
_VERBS = ("how do I reset", "how can I reset", "how could I reset", "how should I reset", "how would I reset")
_AFTER = ("?", " please?", " thanks", "??", ".", " ?", "!")


def wordings() -> Iterator[str]:
    """The question in other words, never twice the same."""
    for before, verb, after in product(_BEFORE, _VERBS, _AFTER):
        yield f"{before}{verb} the password of my account{after}"


async def bench(*, quick: bool) -> Sequence[Table]:
    lookups = 100 if quick else 400
    with tempfile.TemporaryDirectory(prefix="tokenway-") as name, onnx_encoder() as encoder:
        folder = Path(name)
        index = _TimedIndex(dimensions=encoder.dimensions, max_entries=ROWS, clock=SystemClock())
        with RedisServer(binary=valkey_binary(), folder=folder, options=("--appendonly", "no")) as server:
            async with serving(folder, redis_url=server.url, semantic=True, encoder=encoder, index=index) as cache:
                await _fill(cache, index, encoder)
                gc.freeze()  # as libs.rpc.process does once it serves
                index.seconds = 0.0
                return await _measured(cache, index, folder, lookups)


async def _fill(cache: Served, index: FaissIndex, encoder: Encoder) -> None:
    """An index that is given is not fed from Redis: the stored question gets its place by hand, among strangers."""
    await cache.fill(header(question(STORED), ttl_seconds=3_600, tier=Tier.BALANCED), delta("Like this."), STOP)
    explained = await cache.unary(EXPLAIN, pb.ExplainRequest(question=question(STORED), tier=Tier.BALANCED))
    partition, expires_at = bytes.fromhex(explained.partition), SystemClock().now() + 3_600
    strangers = np.random.default_rng(0).normal(size=(ROWS - 1, encoder.dimensions))
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    for number, vector in enumerate(strangers):
        key = AnswerKey(ORGANISATION, number.to_bytes(32, "big"))
        index.put(IndexEntry(key, partition, vector.astype("<f2").tobytes(), expires_at))
    vector = np.array(array("f", (await encoder.embed(STORED)).vector))
    stored = AnswerKey(ORGANISATION, bytes.fromhex(explained.key))
    index.put(IndexEntry(stored, partition, vector.astype("<f2").tobytes(), expires_at))


async def _measured(cache: Served, index: _TimedIndex, folder: Path, lookups: int) -> tuple[Table, Table]:
    before = len(cache.recorded.spans())
    busy, on_the_loop = time.process_time(), time.thread_time()
    caller = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.bench_cache_semantic",
        str(folder),
        str(lookups),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await caller.communicate()
    if caller.returncode:
        raise RuntimeError(f"the caller ended with {caller.returncode}")
    busy, on_the_loop = time.process_time() - busy, time.thread_time() - on_the_loop
    spans = [each for each in cache.recorded.spans()[before:] if each.name == LOOKUP_SPAN]
    seconds = [((each.end_time or 0) - (each.start_time or 0)) / 1e9 for each in spans]
    p50, p99 = (f"{percentile(seconds, percent) * 1e3:.2f}" for percent in (50, 99))
    row = ("on the server", p50, "≤ 3.5", p99, f"{lookups / busy:.0f}", "≥ 350", f"{100 * int(out) / lookups:.0f}")
    columns = ("", "p50 ms", "target", "p99 ms", "a second of CPU", "target", "hits %")
    whole = Table(f"{lookups} semantic look-ups among {ROWS:,} questions of a partition", columns, (row,))
    guard = _guard_seconds(lookups)
    parts = {
        "encoder, in its thread": busy - on_the_loop,
        "looking among the rows": index.seconds,
        "lexical guard": guard,
        "the rest: gRPC, Redis, keys, telemetry": on_the_loop - index.seconds - guard,
    }
    return whole, _shares(parts, lookups)


def _shares(parts: Mapping[str, float], lookups: int) -> Table:
    whole = sum(parts.values())
    rows = tuple((name, f"{each / lookups * 1e3:.2f}", f"{100 * each / whole:.0f}") for name, each in parts.items())
    notes = ("the guard by itself, with warm caches; gRPC's own threads are counted with the encoder's",)
    return Table("Where the server's CPU goes", ("", "ms a look-up", "%"), rows, notes)


def _guard_seconds(lookups: int) -> float:
    began = time.thread_time()
    for text in islice(wordings(), lookups):
        objection(text, STORED)
    return time.thread_time() - began


class _TimedIndex(FaissIndex):
    """Adds up the CPU time of its look-ups."""

    seconds = 0.0

    def nearest(self, organisation: str, partition: bytes, vector: bytes, *, limit: int) -> list[Near]:
        began = time.thread_time()
        found = super().nearest(organisation, partition, vector, limit=limit)
        self.seconds += time.thread_time() - began
        return found


async def call(folder: str, lookups: int) -> None:
    """Prints how many were hits."""
    client = recorded_runtime().runtime.client(f"unix:{folder}/cache.sock", service="cache")
    hits = 0
    for text in islice(wordings(), lookups):
        asked = pb.LookupRequest(question=question(text), tier=Tier.BALANCED, single_flight=True)
        hits += await _verdict(client, asked) == pb.VERDICT_HIT
    print(hits)
    await client.close()


async def _verdict(client: Client, asked: pb.LookupRequest) -> int:
    """The last one. Who is made a leader gives the lead back."""
    async with client.stream(LOOKUP, asked) as stream:
        async for event in stream:
            if not event.found.semantic_pending:
                verdict: int = event.found.verdict
                return verdict
    raise RuntimeError("no verdict")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    uvloop.run(call(sys.argv[1], int(sys.argv[2])))
