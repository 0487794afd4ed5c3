"""Which labelled questions the semantic tier would serve from which, beside its targets and beside GPTCache.

`make bench-cache` gets the library; without it ours stands alone. DATA=FOLDER takes other pairs than the shipped half.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.cache.domain.key import last_user_text
from services.cache.domain.model import Tier
from services.cache.domain.ports import Encoder
from tests.bench.measure import Table, percentile
from tests.contract.encoders import onnx_encoder
from tests.unit.cache import fow
from tests.unit.cache.fow import Judge, Pair, Served

# The interpreter of an environment that has it; `make bench-cache` names it.
_LIBRARY = "CACHE_LIBRARY_PYTHON"
# Another folder of labelled pairs.
_DATA = "DATA"
# Its own default; and where its score is the cosine of the balanced tier: 1 - (2 - 2 x 0.90) / 4.
_LIBRARY_THRESHOLDS = {"default 0.8, cosine 0.60": 0.8, "at 0.95, cosine 0.90": 0.95}
# Cosine, most traps and least should-hits in percent.
_TIERS = {"balanced, 0.90": (0.90, 6, 45), "strict, 0.95": (0.95, 3, 32), "at 0.97": (0.97, 1, 25)}
_COLUMNS = ("", "traps served wrong %", "target", "should-hits served %", "target")


async def bench(*, quick: bool) -> Sequence[Table]:
    folder = Path(os.environ.get(_DATA) or fow.SHIPPED)
    labelled, conversations = fow.pairs(folder), fow.conversations(folder)
    library = await _library(labelled)
    with onnx_encoder() as encoder:
        judge = Judge(encoder)
        cosines = [await judge.nearness(pair) for pair in labelled]
        bare = [await fow.cosine(last_user_text(pair.asked), last_user_text(pair.stored), encoder) for pair in labelled]
        in_conversations = [await judge.nearness(pair) for pair in conversations]
        seconds = {"ours": await _look_ups(labelled, encoder)}
    rows = [
        _row(name, fow.served(labelled, cosines, cosine), f"≤ {traps}", f"≥ {hits}")
        for name, (cosine, traps, hits) in _TIERS.items()
    ]
    rows.append(_row("encoder alone, 0.90", fow.served(labelled, bare, 0.90)))
    for name, threshold in _LIBRARY_THRESHOLDS.items() if library else ():
        hits = [float(each) for each in library["served"][str(threshold)]]
        rows.append(_row(f"GPTCache, {name}", fow.served(labelled, hits, 1.0)))
    rows.append(_row("conversations, balanced", fow.served(conversations, in_conversations, 0.90), "0"))
    if library:
        seconds["GPTCache"] = library["seconds"]
    return _quality(labelled, conversations, rows, alone=not library), _speed(seconds, len(labelled))


def _row(name: str, served: Served, traps: str = "", should_hits: str = "") -> tuple[str, ...]:
    return name, f"{served.traps:.1f}", traps, f"{served.should_hits:.1f}", should_hits


def _quality(
    labelled: Sequence[Pair], conversations: Sequence[Pair], rows: list[tuple[str, ...]], *, alone: bool
) -> Table:
    same = sum(each.same_answer for each in labelled)
    title = f"{same} pairs of questions that share an answer and {len(labelled) - same} traps"
    notes = (
        f"conversations: {sum(not each.same_answer for each in conversations)} traps of {len(conversations)} pairs",
        *(("ours alone: GPTCache is not here (make bench-cache gets it)",) if alone else ()),
    )
    return Table(title, _COLUMNS, tuple(rows), notes)


def _speed(seconds: dict[str, list[float]], stored: int) -> Table:
    rows = tuple(
        (name, *(f"{percentile(each, percent) * 1e3:.2f}" for percent in (50, 99))) for name, each in seconds.items()
    )
    notes = ("all of it but the transport; answers lie in memory, GPTCache's in SQLite in memory",)
    return Table(f"A look-up among {stored} questions, in process", ("", "p50 ms", "p99 ms"), rows, notes)


async def _look_ups(labelled: Sequence[Pair], encoder: Encoder) -> list[float]:
    """Seconds that each took."""
    judge = Judge(encoder)
    for pair in labelled:
        await judge.store(pair.stored)
    found = []
    for pair in labelled:
        began = time.perf_counter()
        await judge.semantic.find(pair.asked, Tier.BALANCED)
        found.append(time.perf_counter() - began)
    return found


async def _library(labelled: Sequence[Pair]) -> dict[str, Any]:
    """What it served and how long it took; nothing where it is not."""
    python = os.environ.get(_LIBRARY)
    if not python:
        return {}
    process = await asyncio.create_subprocess_exec(
        python, "-m", "tests.bench.cache_library", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    pairs = [(last_user_text(each.stored), last_user_text(each.asked)) for each in labelled]
    given = {"pairs": pairs, "thresholds": list(_LIBRARY_THRESHOLDS.values())}
    out, _ = await process.communicate(json.dumps(given).encode())
    if process.returncode:
        raise RuntimeError(f"the library's process ended with {process.returncode}")
    return dict(json.loads(out))
