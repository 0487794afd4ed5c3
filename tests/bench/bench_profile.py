"""Where the router's time goes: one router under cProfile while 32 clients ask new questions, then while they read long
streams.

The profiler slows small functions most, so shares mislead a little; the calls an answer are exact.
"""

from __future__ import annotations

import pstats
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.bench_mesh import benched_mesh
from tests.bench.load import Order
from tests.bench.measure import Table

_ROOT = Path(__file__).parents[2]
_ROWS = 25
# Of a function (file, line, name): calls without recursion, calls, own seconds, seconds with callees, and its callers.
Row = tuple[int, int, float, float, object]
Stats = dict[tuple[str, int, str], Row]


async def bench(*, quick: bool) -> Sequence[Table]:
    seconds = 3 if quick else 10
    asking = Order("router", clients=32, seconds=seconds)
    streaming = Order("router", clients=32, seconds=0, tokens=50 * seconds, pace=50)
    return (
        *await profiled(asking, "32 clients ask new questions; an answer"),
        *await profiled(streaming, f"32 streams of {streaming.tokens} tokens, 50 a second; a stream"),
    )


async def profiled(order: Order, what: str) -> tuple[Table, ...]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "router.prof"
        async with benched_mesh() as mesh:
            router = mesh.processes["router"]
            await router.stop()
            at = router.command.index("services.router")
            router.command = (*router.command[:at], "tests.bench.profiled", str(file), *router.command[at:])
            await router.start()
            assert router.running is not None
            await mesh.load.carry_out(Order("router", clients=1, seconds=0))  # connects, and makes what is made once
            router.running.send_signal(signal.SIGUSR1)
            seen = await mesh.load.carry_out(order)
            router.running.send_signal(signal.SIGUSR2)
            await router.stop()
        stats: Stats = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]  # typeshed leaves it out
    ours = {place: row for place, row in stats.items() if _is_ours(place[0])}
    return (
        _table(f"{what}: own time, all", stats, seen.answers, by=lambda row: row[2]),
        _table(f"{what}: own time, this repository", ours, seen.answers, by=lambda row: row[2]),
        _table(f"{what}: with callees, this repository", ours, seen.answers, by=lambda row: row[3]),
    )


def _table(title: str, stats: Stats, answers: int, *, by: Callable[[Row], float]) -> Table:
    rows = []
    for (file, line, name), row in sorted(stats.items(), key=lambda item: by(item[1]), reverse=True)[:_ROWS]:
        _, calls, own, total, _ = row
        place = f"{_short(file)}:{line} {name}" if line else name
        rows.append((place[-90:], *(f"{each / answers:.2f}" for each in (calls, own * 1e6, total * 1e6))))
    return Table(title, ("function", "calls", "own CPU µs", "with callees µs"), tuple(rows))


def _is_ours(file: str) -> bool:
    return file.startswith(f"{_ROOT}/") and "site-packages" not in file


def _short(file: str) -> str:
    return file.removeprefix(f"{_ROOT}/").rpartition("site-packages/")[2]
