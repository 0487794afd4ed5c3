"""The whole mesh as real processes, beside a bare grpc.aio server and beside the inference service alone.

Everything is on: key, routing, lookup, reservation, lease, settlement, cache fill, traces (made, exported nowhere),
metrics; Valkey flushes each write, as it does by default. The engine is scripted and takes no time.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from libs.settings import schema
from libs.testing.valkey import RedisServer, valkey_binary
from tests.bench.load import Load, Order, Seen, load
from tests.bench.measure import Table, cpu_seconds, in_turns, percentile, ratio
from tests.mesh.in_process import limit, model, organisations, settings
from tests.mesh.processes import Process, processes

SERVICES = ("router", "budget", "cache", "inference", "valkey")
HELLO, INFERENCE, MESH, HITS = "bare grpc.aio", "inference alone", "mesh, new questions", "mesh, cache hits"
# How many of a hundred requests are traced.
SAMPLED = {percent: f"mesh, new, {percent} % traced" for percent in (10, 1, 0)}
CLIENTS = (1, 32)


@dataclass(frozen=True, slots=True)
class Figures:
    """One case in one round."""

    seen: Seen
    # Of each process that took part.
    cpu_seconds: Mapping[str, float]

    @property
    def answers_per_second(self) -> float:
        return self.seen.answers / self.seen.seconds

    @property
    def tokens_per_second(self) -> float:
        return self.seen.tokens / self.seen.seconds


@dataclass(frozen=True, slots=True)
class BenchedMesh:
    """What runs, and who asks it."""

    load: Load
    pids: Mapping[str, int]
    processes: Mapping[str, Process]

    async def measure(self, order: Order) -> Figures:
        before = {name: cpu_seconds(pid) for name, pid in self.pids.items()}
        seen = await self.load.carry_out(order)
        return Figures(seen, {name: cpu_seconds(pid) - before[name] for name, pid in self.pids.items()})


async def bench(*, quick: bool) -> Sequence[Table]:
    rounds, seconds = (2, 0.4) if quick else (5, 1.5)
    asked, streamed = _asked(seconds), _streamed(seconds)
    async with benched_mesh() as mesh:
        cases: dict[Any, Callable[[], Coroutine[Any, Any, Figures]]] = {
            case: partial(mesh.measure, order) for case, order in (asked | streamed).items()
        }
        figures = await in_turns(cases, rounds=rounds)
    answers = {case: figures[case] for case in asked}
    return _answers(answers), _cpu(answers), _streams({case: figures[case] for case in streamed})


def _asked(seconds: float) -> dict[tuple[str, int], Order]:
    targets = {
        HELLO: partial(Order, "hello"),
        INFERENCE: partial(Order, "inference"),
        MESH: partial(Order, "router"),
        **{path: partial(Order, "router", traced_percent=percent) for percent, path in SAMPLED.items()},
        HITS: partial(Order, "router", repeats=True),
    }
    return {(path, clients): order(clients, seconds) for clients in CLIENTS for path, order in targets.items()}


def _streamed(seconds: float) -> dict[tuple[str, str], Order]:
    """One long answer at a time, as fast as it goes; and as many as there are clients, at 50 tokens a second each."""
    paced = partial(Order, clients=CLIENTS[-1], seconds=0, tokens=round(50 + 100 * seconds), pace=50)
    fast = partial(Order, clients=1, seconds=seconds, tokens=2_000)
    return {
        (path, name): order(target)
        for name, order in (("1 × full pace", fast), (f"{CLIENTS[-1]} × 50 a second", paced))
        for path, target in ((INFERENCE, "inference"), (MESH, "router"))
    }


def _answers(figures: Mapping[tuple[str, int], Sequence[Figures]]) -> Table:
    def speeds(path: str, clients: int) -> list[float]:
        return [each.answers_per_second for each in figures[path, clients]]

    def row(path: str, clients: int) -> tuple[str, ...]:
        here = figures[path, clients]
        first = [seconds for each in here for seconds in each.seen.first_token_seconds]
        whole, alone = _median_answer(here), _median_answer(figures[INFERENCE, clients])
        return (
            path,
            str(clients),
            f"{statistics.median(speeds(path, clients)):,.0f}",
            *(f"{ratio(speeds(path, clients), speeds(beside, clients)):.3f}" for beside in (HELLO, INFERENCE)),
            *(f"{percentile(first, each) * 1e3:.2f}" for each in (50, 99)),
            f"{whole * 1e3:.2f}",
            f"{(whole - alone) * 1e3:+.2f}",
        )

    columns = (
        "path",
        "clients",
        "answers/s",
        "× bare",
        "× inference",
        "first token p50 ms",
        "p99",
        "whole p50",
        "added",
    )
    notes = (
        "Answers of 32 tokens in one delta. Medians of rounds in which the paths take turns; ratios within a round.",
        "added: to the median answer of the inference service alone. The clients are one more process on these cores.",
    )
    return Table("Answers", columns, tuple(row(*case) for case in figures), notes)


def _cpu(figures: Mapping[tuple[str, int], Sequence[Figures]]) -> Table:
    names = (*SERVICES, "hello", "load")

    def row(path: str, clients: int) -> tuple[str, ...]:
        used = _cpu_per(figures[path, clients], lambda each: each.seen.answers)
        own = sum(used[name] for name in names if name != "load")
        return path, str(clients), *(_or_dash(used[name] * 1e3, 2) for name in names), f"{own * 1e3:.2f}"

    notes = ("Idle work of the others (health checks, sweeps) is in it, which shows where answers are few.",)
    title = "CPU seconds per 1,000 answers, by process"
    columns = ("path", "clients", *names, "all but load")
    return Table(title, columns, tuple(row(*case) for case in figures), notes)


def _streams(figures: Mapping[tuple[str, str], Sequence[Figures]]) -> Table:
    names = (*SERVICES, "load")

    def row(path: str, how: str) -> tuple[str, ...]:
        here = figures[path, how]
        speeds = [each.tokens_per_second for each in here]
        beside = [each.tokens_per_second for each in figures[INFERENCE, how]]
        deltas = sum(each.seen.deltas for each in here)
        used = _cpu_per(here, lambda each: each.seen.tokens)
        return (
            f"{path}, {how}",
            f"{statistics.median(speeds):,.0f}",
            f"{ratio(speeds, beside):.3f}",
            f"{sum(each.seen.tokens for each in here) / deltas:.1f}",
            *(_or_dash(used[name] * 1e6, 1) for name in names),
        )

    columns = ("path", "tokens/s", "× inference", "tokens/delta", *(f"{name} µs" for name in names))
    notes = ("µs: CPU a token, by process.",)
    return Table("Long streams", columns, tuple(row(*case) for case in figures), notes)


def _median_answer(figures: Sequence[Figures]) -> float:
    return statistics.median(seconds for each in figures for seconds in each.seen.answer_seconds)


def _cpu_per(figures: Sequence[Figures], count: Callable[[Figures], int]) -> dict[str, float]:
    """Over all rounds: the clock of a process is too coarse for a median of short ones."""
    counted = sum(count(each) for each in figures)
    return {name: sum(each.cpu_seconds[name] for each in figures) / counted for name in figures[0].cpu_seconds}


def _or_dash(figure: float, digits: int) -> str:
    return f"{figure:.{digits}f}" if round(figure, digits) else "–"


@asynccontextmanager
async def benched_mesh() -> AsyncIterator[BenchedMesh]:
    """The mesh, the bare server and the load, all as processes on unix sockets."""
    with (
        tempfile.TemporaryDirectory(prefix="tw-") as name,
        RedisServer(binary=valkey_binary(), folder=Path(name)) as valkey,
    ):
        folder = Path(name)
        async with AsyncExitStack() as stack:
            started = await stack.enter_async_context(processes(_settings(folder, valkey.url), folder))
            hello = Process("hello", (sys.executable, "-m", "tests.bench.hello", f"unix:{folder}/hello.sock"), {})
            await hello.start()
            stack.push_async_callback(hello.stop)
            sockets = {"hello": "hello", "inference": "small", "router": "router"}
            asking = await stack.enter_async_context(
                load({target: f"unix:{folder}/{socket}.sock" for target, socket in sockets.items()})
            )
            pids = {
                "valkey": await _pid_of_valkey(valkey.url),
                "load": asking.pid,
                "inference": _pid(started["small-0"]),
            }
            pids |= {name: _pid(started[name]) for name in ("router", "budget", "cache")} | {"hello": _pid(hello)}
            yield BenchedMesh(asking, pids, started)


def _settings(folder: Path, redis_url: str) -> schema.Settings:
    engine = schema.ScriptedEngine(
        kind="scripted", tokens_per_second=1_000_000, first_token_seconds=0, allow_directives=True
    )
    # Nobody runs out of money; three limits are what a reservation has to look at.
    rich = organisations(limit("1000000"), limit("1000000", "day"), limit("1000000", "month"))
    return settings(folder, redis_url, models=(model("small", folder, engine=engine),), organisations=rich)


def _pid(process: Process) -> int:
    assert process.running is not None
    return process.running.pid


async def _pid_of_valkey(url: str) -> int:
    async with Redis.from_url(url) as redis:
        return int((await redis.info("server"))["process_id"])
