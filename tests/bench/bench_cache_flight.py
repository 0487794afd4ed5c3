"""What a stampede costs: a hundred who ask the same at once, through the mesh as real processes; and what the readiness
for one costs whoever is alone.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from libs.settings import schema
from libs.testing.valkey import RedisServer, valkey_binary
from services.mesh.client.router import RouterAddress, connected
from tests.bench.measure import Table, in_turns, percentile, ratio
from tests.mesh.in_process import KEY, OTHER_KEY, model, organisations, question, settings
from tests.mesh.processes import processes
from tokenway.client.router import RouterClient
from tokenway.router.v1 import router_pb2

ASKERS = 100
WORDS = 40
PACE = 100
ON, OFF = "single-flight on", "single-flight off"


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer: how it was found, and the milliseconds to its first text and to its end."""

    verdict: int
    first_ms: float
    whole_ms: float


async def bench(*, quick: bool) -> Sequence[Table]:
    stampedes, alone = (2, 50) if quick else (5, 200)
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        made = folder / "made.jsonl"
        with RedisServer(binary=valkey_binary(), folder=folder) as redis:
            async with AsyncExitStack() as stack:
                given = _settings(folder, redis.url, made)
                await stack.enter_async_context(processes(given, folder))
                address = given.services.router.listen
                clients = {
                    ON: await stack.enter_async_context(connected(RouterAddress(address, KEY))),
                    OFF: await stack.enter_async_context(connected(RouterAddress(address, OTHER_KEY))),
                }
                return (await _stampedes(clients, made, rounds=stampedes), await _alone(clients, rounds=alone))


def _settings(folder: Path, redis_url: str, made: Path) -> schema.Settings:
    engine = schema.ScriptedEngine(
        kind="scripted",
        first_token_seconds=0,
        tokens_per_second=1_000_000,
        answer_tokens=8,
        max_num_seqs=1_000,
        allow_directives=True,
        made_tokens_file=str(made),
    )
    on, off = organisations()
    off = off.model_copy(update={"cache": schema.CachePolicy(single_flight=False)})
    router = schema.Router(listen=f"unix:{folder}/router.sock", max_concurrent_requests=1_000)
    given = settings(folder, redis_url, models=(model("small", folder, engine=engine),), organisations=(on, off))
    telemetry = schema.Telemetry(log_level="error", sampling_ratio=0)
    return given.model_copy(
        update={"telemetry": telemetry, "services": given.services.model_copy(update={"router": router})}
    )


async def _stampedes(clients: dict[str, RouterClient], made: Path, *, rounds: int) -> Table:
    numbers = count()

    async def stampede(case: str) -> tuple[list[Seen], int]:
        before = _generations(made)
        words = " ".join(f"w{next(numbers)}.{each}" for each in range(WORDS))
        asked = question(f"[[echo={words}]] [[pace={PACE}]]", max_tokens=4 * WORDS)
        seen = await asyncio.gather(*(_ask(clients[case], asked) for _ in range(ASKERS)))
        return seen, _generations(made) - before

    found = await in_turns({case: partial(stampede, case) for case in clients}, rounds=rounds)
    rows = []
    for case, results in found.items():
        seen = [each for result, _ in results for each in result]
        generations = ", ".join(str(generated) for _, generated in results)
        leaders = [each for each in seen if each.verdict != router_pb2.CACHE_VERDICT_SHARED]
        followers = [each for each in seen if each.verdict == router_pb2.CACHE_VERDICT_SHARED]
        rows.append((case, generations, _ms(leaders), _ms(followers), f"{percentile(_whole(seen), 99):.0f}"))
    title = f"{ASKERS} who ask the same at once, an answer of {WORDS} tokens at {PACE} a second"
    columns = ("", "generations a round", "first text, who generates: p50 ms", "who follow", "whole answer p99 ms")
    return Table(title, columns, tuple(rows))


async def _alone(clients: dict[str, RouterClient], *, rounds: int) -> Table:
    numbers = count()

    async def ask(case: str) -> float:
        return (await _ask(clients[case], question(f"new {next(numbers)}"))).whole_ms

    found = await in_turns({case: partial(ask, case) for case in clients}, rounds=rounds)
    rows = tuple((case, *(f"{percentile(each, percent):.2f}" for percent in (50, 99))) for case, each in found.items())
    note = f"On beside off, the median of rounds: {ratio(found[ON], found[OFF]):.2f}."
    title = f"{rounds} new questions, one after another, an answer of 8 tokens that takes the engine no time"
    return Table(title, ("", "p50 ms", "p99 ms"), rows, (note,))


async def _ask(client: RouterClient, request: router_pb2.GenerateRequest) -> Seen:
    began, first, verdict = time.perf_counter(), 0.0, 0
    async with client.stream_generate(request, timeout_seconds=60) as stream:
        async for event in stream:
            if event.HasField("started"):
                verdict = event.started.cache_verdict
            elif not first:
                first = time.perf_counter()
    return Seen(verdict, (first - began) * 1e3, (time.perf_counter() - began) * 1e3)


def _generations(made: Path) -> int:
    if not made.exists():
        return 0
    return len({json.loads(line)["request_id"] for line in made.read_text().splitlines()})


def _whole(seen: Sequence[Seen]) -> list[float]:
    return [each.whole_ms for each in seen]


def _ms(seen: Sequence[Seen]) -> str:
    return f"{statistics.median(each.first_ms for each in seen):.0f}" if seen else "–"
