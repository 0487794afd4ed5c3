"""How much memory the semantic index takes at its cap, past it, and after an hour of coming and going.

Each case is a process of its own: python -m tests.bench.bench_cache_memory CASE ENTRIES.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import random
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from libs import minilm
from libs.testing.clock import ManualClock
from services.cache import server as _all_that_a_cache_imports  # noqa: F401 # it takes memory
from services.cache.adapters.faiss_index import FaissIndex
from services.cache.adapters.onnx_encoder import OnnxEncoder
from services.cache.domain.key import AnswerKey
from services.cache.domain.ports import IndexEntry
from tests.bench.measure import Table

# Questions to a partition. At 65 and 4,097 an index of FAISS has just begun.
CASES = {"alone": 1, "8 together": 8, "65 together": 65, "4,097 together": 4_097, "all together": 10**9}
MOST_BYTES = 2_048
BASE_MB = 250
TTL_SECONDS = 600
HOUR_SECONDS = 3_600


async def bench(*, quick: bool) -> Sequence[Table]:
    entries = 10_000 if quick else 100_000
    measured = {case: await _in_a_process(case, entries) for case in CASES}
    allowed_mb = BASE_MB + MOST_BYTES * entries / 1e6
    rows = tuple(
        (case, *(f"{each:,}" for each in found.entry_bytes), f"≤ {MOST_BYTES:,}", f"{found.most_mb:.0f}")
        for case, found in measured.items()
    )
    base = max(found.base_mb for found in measured.values())
    return (
        Table(
            f"Bytes an entry of the index, at a cap of {entries:,}, by how many are in a partition",
            ("", "full", "twice past it", "an hour later", "target", f"MB ever, of {allowed_mb:.0f} allowed"),
            rows,
            (
                f"the hour: each lives for {TTL_SECONDS // 60} minutes, and as many come as fill the index",
                f"MB ever: the whole process, its start included; allowed: {BASE_MB} and {MOST_BYTES:,} bytes an entry",
            ),
        ),
        Table(
            "A cache with its encoder and no entry",
            ("", "MB", "target"),
            (("in memory", f"{base:.0f}", f"≤ {BASE_MB}"),),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Memory:
    """Of one process: bytes an entry when full, past it and an hour later; MB with none, and MB at most."""

    entry_bytes: list[int]
    base_mb: float
    most_mb: float


async def _in_a_process(case: str, entries: int) -> _Memory:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.bench_cache_memory", case, str(entries), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the case {case} ended with {process.returncode}")
    return _Memory(**json.loads(out))


def measure(case: str, entries: int) -> None:
    """Prints one JSON line."""
    with OnnxEncoder(minilm.encoder_folder()) as encoder:
        asyncio.run(encoder.embed("How much is it, and when does it come?"))
        gc.collect()
        base = _resident_bytes()
        filling = _Filling(CASES[case], entries)
        figures = [filling.full(), filling.past(), filling.after_an_hour()]
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024
    entry_bytes = [round((each - base) / entries) for each in figures]
    print(json.dumps(asdict(_Memory(entry_bytes, base_mb=base / 1e6, most_mb=most / 1e6))))


class _Filling:
    """An index, and questions that come one by one; every one of them is new."""

    def __init__(self, together: int, entries: int) -> None:
        self._together, self._entries = together, entries
        self._clock = ManualClock()
        self._index = FaissIndex(dimensions=minilm.DIMENSIONS, max_entries=entries, clock=self._clock)
        self._number = 0
        self._draw = random.Random(1)
        self._vector = np.random.default_rng(1).standard_normal(minilm.DIMENSIONS).astype(np.float16).tobytes()

    def full(self) -> int:
        self._come(self._entries)
        return _resident_bytes()

    def past(self) -> int:
        self._come(self._entries)
        assert len(self._index) == self._entries
        return _resident_bytes()

    def after_an_hour(self) -> int:
        a_second = self._entries // TTL_SECONDS
        for _ in range(HOUR_SECONDS):
            self._clock.advance(1)
            self._come(a_second)
        assert 0 < len(self._index) <= self._entries
        return _resident_bytes()

    def _come(self, questions: int) -> None:
        for _ in range(questions):
            self._number += 1
            # Whoever comes meets others, of which some have been there for long.
            partition = self._number // self._together if self._draw.random() < 0.9 else self._draw.randrange(50)
            ttl_seconds = TTL_SECONDS * (0.9 + 0.2 * self._draw.random())
            key = AnswerKey(f"tenant-{self._number % 100}", hashlib.sha256(str(self._number).encode()).digest())
            where = hashlib.sha256(str(partition).encode()).digest()
            self._index.put(IndexEntry(key, where, self._vector, self._clock.now() + ttl_seconds))


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    measure(sys.argv[1], int(sys.argv[2]))
