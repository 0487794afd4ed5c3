"""How well the guards' detectors find what they look for, beside two libraries, and what a guarded answer costs.

The labelled texts were written before the patterns; the held-out half was not looked at while they were made. `make
bench-guard` gets the libraries; without them ours stand alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from libs.clock import SystemClock
from libs.generation.question import Question
from libs.rpc.delta import ProtoDelta
from services.router.domain.answer import CacheVerdict, Delta, Started
from services.router.domain.ask import Ask
from services.router.domain.guards.answer_guard import OutputGuard, Unguarded
from services.router.domain.guards.guard import Guard
from services.router.domain.guards.policy import Action, Direction, GuardPolicy, Pii
from services.router.domain.guards.rules import rules_of
from services.router.domain.guards.scanner import Scanner
from tests.bench.measure import Table, in_turns, ratio
from tests.unit.router.guards.findings import Finding, findings
from tests.unit.router.guards.labelled import Labelled, labelled
from tests.unit.router.guards.watching import Watcher
from tokenway.common.v1 import generation_pb2

# The interpreter of an environment that has the libraries; `make bench-guard` names it.
_LIBRARIES = "GUARD_LIBRARIES_PYTHON"
_ALL = dict.fromkeys(Pii, Action.REDACT)
_POLICIES = {"cards": GuardPolicy(output={Pii.CARD: Action.REDACT}), "every kind": GuardPolicy(_ALL, _ALL)}
_PROSE = Path("README.md").read_text(encoding="utf-8")
_STARTED = Started("request", "model", "why", CacheVerdict.MISS)


async def bench(*, quick: bool) -> Sequence[Table]:
    texts, scanner = labelled(), Scanner(rules_of(_POLICIES["every kind"], Direction.OUTPUT))
    found = {"ours": [findings(scanner, each.text) for each in texts]}
    speed: dict[str, float] = {"ours": _micro_seconds_per_kib(partial(findings, scanner), rounds=3 if quick else 10)}
    for name, result in (await _libraries()).items():
        found[name] = [[(kind, start, end) for kind, start, end in each] for each in result["found"]]
        speed[name] = result["micro_seconds_per_kib"]
    return _accuracy(texts, found), _speed(speed), await _cost(rounds=3 if quick else 20)


async def _libraries() -> dict[str, Any]:
    """What each library found; nothing where there are none."""
    python = os.environ.get(_LIBRARIES)
    if not python:
        return {}
    process = await asyncio.create_subprocess_exec(
        python, "-m", "tests.bench.guard_libraries", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(_PROSE.encode())
    if process.returncode:
        raise RuntimeError(f"the libraries' process ended with {process.returncode}")
    return dict(json.loads(out))


def _accuracy(texts: Sequence[Labelled], found: dict[str, list[list[Finding]]]) -> Table:
    rows = []
    for kind in Pii:
        for half, held_out in (("seen", False), ("held out", True)):
            cells = [_precision_and_recall(kind, texts, each, held_out=held_out) for each in found.values()]
            rows.append((f"{kind}, {half}", *(cell for pair in cells for cell in pair)))
    columns = ("", *(f"{name}: {what}" for name in found for what in ("precision", "recall")))
    values = sum(len(each.places) for each in texts)
    title = f"{values} made-up values and {sum(each.is_look_alike for each in texts)} look-alikes, half held out"
    notes = (
        "recall: values that one finding covers from end to end; precision: findings that touch a value of their kind",
        *(("ours alone: the libraries are not here (make bench-guard gets them)",) if len(found) == 1 else ()),
    )
    return Table(title, columns, tuple(rows), notes)


def _precision_and_recall(
    kind: str, texts: Sequence[Labelled], found: list[list[Finding]], *, held_out: bool
) -> tuple[str, str]:
    """As percentages; a dash where a library has no detector of the kind."""
    if not any(each[0] == kind for inside in found for each in inside):
        return "–", "–"
    right = wrong = covered = values = 0
    for text, inside in zip(texts, found, strict=True):
        if text.held_out is not held_out:
            continue
        places = text.places if text.kind == kind else frozenset()
        mine = [(start, end) for each, start, end in inside if each == kind]
        touching = [any(start < end_ and start_ < end for start_, end_ in places) for start, end in mine]
        right, wrong = right + sum(touching), wrong + len(mine) - sum(touching)
        values += len(places)
        covered += sum(any(start <= start_ and end_ <= end for start, end in mine) for start_, end_ in places)
    return f"{100 * right / max(1, right + wrong):.1f}", f"{100 * covered / values:.1f}"


def _speed(micro_seconds_per_kib: dict[str, float]) -> Table:
    rows = tuple((name, f"{each:,.0f}") for name, each in micro_seconds_per_kib.items())
    return Table("A whole text of prose without findings", ("", "CPU µs a KiB"), rows)


def _micro_seconds_per_kib(find: Callable[[str], object], *, rounds: int) -> float:
    def seconds() -> float:
        began = time.process_time()
        find(_PROSE)
        return time.process_time() - began

    return min(seconds() for _ in range(rounds)) * 1e6 / (len(_PROSE) / 1024)


async def _cost(*, rounds: int) -> Table:
    """The prose as an answer, a word a delta."""
    words = re.findall(r"\s*\S+", _PROSE)
    deltas = [ProtoDelta.of(generation_pb2.Delta(text=[each], token_counts=[1])) for each in words]
    watcher = Watcher()
    guards = {name: Guard(each, watcher=watcher, clock=SystemClock()) for name, each in _POLICIES.items()}
    cases: dict[str, Callable[[], Awaitable[float]]] = {"no guard": lambda: _seconds(Unguarded(), deltas)}
    for name, guard in guards.items():
        cases[name] = partial(_guarded_seconds, guard, deltas)
    seconds = await in_turns(cases, rounds=rounds)
    rows = tuple(
        (
            name,
            f"{median(each) / len(deltas) * 1e6:.2f}",
            f"{median(each) / (len(_PROSE) / 1024) * 1e6:,.0f}",
            f"{ratio(each, seconds['no guard']):.1f}",
        )
        for name, each in seconds.items()
    )
    held = f"{max(each for _, each in watcher.holds)} characters held at most"
    title = f"The same text as an answer of {len(deltas):,} deltas, without the rest of the router"
    return Table(title, ("output guard", "CPU µs a delta", "a KiB", "× none"), rows, (held,))


async def _guarded_seconds(guard: Guard, deltas: Iterable[Delta]) -> float:
    guarded = await guard.question(Ask(Question("a question")))
    return await _seconds(guarded.answer, deltas)


async def _seconds(guard: OutputGuard, deltas: Iterable[Delta]) -> float:
    began = time.process_time()
    async with aclosing(guard.guarded(_stream(deltas))) as pieces:
        async for _ in pieces:
            pass
    return time.process_time() - began


async def _stream(deltas: Iterable[Delta]) -> AsyncGenerator[Started | Delta]:
    yield _STARTED
    for each in deltas:
        yield each
