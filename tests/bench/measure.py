"""Measuring on a machine that does other things too: turns, medians, ratios within a round, and plain tables."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol, TypeVar

Case = TypeVar("Case", bound=Hashable)
Result = TypeVar("Result")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Table:
    """Figures to print: the first column is words, the others are numbers, and `notes` say how to read them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = (self.columns, *self.rows)
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        return "\n".join(
            [self.title, *(_aligned(each, widths) for each in lines), *(f"  {each}" for each in self.notes)]
        )


class Bench(Protocol):
    """One thing to measure. It fails for a wrong answer, never for a slow one; `quick` is for CI: half a minute."""

    async def __call__(self, *, quick: bool) -> Sequence[Table]: ...


async def in_turns(cases: Mapping[Case, Callable[[], Awaitable[Result]]], *, rounds: int) -> dict[Case, list[Result]]:
    """Each case once a round, so that whatever else the machine does falls on all; one round more warms up."""
    results: dict[Case, list[Result]] = {case: [] for case in cases}
    for round_ in range(rounds + 1):
        for case, measure in cases.items():
            result = await measure()
            if round_:
                results[case].append(result)
    return results


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """The median over the rounds: both sides of one round met the same machine."""
    return statistics.median(this / that for this, that in zip(these, those, strict=True))


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, all its threads, in user and system mode; counted in hundredths of a second."""
    # The second field is the program's name in parentheses, which may hold anything; utime and stime are 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def machine() -> str:
    """What the figures belong to."""
    packages = ", ".join(f"{each} {version(each)}" for each in ("grpcio", "protobuf", "uvloop"))
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{os.cpu_count()} cores, load {load}, Python {platform.python_version()}, {packages}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(("", first, *others)).rstrip()
