"""So many requests over all endings, in turn and at once, with kills between them; then the book of what came of it."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from libs.telemetry import tracing
from libs.telemetry.otlp import OtlpTarget
from libs.telemetry.otlp_receiver import otlp_receiver
from libs.testing.valkey import RedisServer, valkey_binary
from tests.truth.book import Book
from tests.truth.cast import Cast, cast
from tests.truth.kills import Kills
from tests.truth.mesh import killable_mesh
from tests.truth.reaper import Reaper
from tests.truth.scenarios import SCENARIOS

_AT_ONCE = 32
_REQUESTS_PER_KILL = 500
_KILLS_AT_LEAST = 2


async def truth(*, requests: int, seed: int = 0) -> Book:
    """Asks so many requests and a few more, for some endings take two; judged when every process has ended."""
    kills = Kills()
    book = Book(kills)
    with (
        tempfile.TemporaryDirectory(prefix="tw-") as name,
        RedisServer(binary=valkey_binary(), folder=Path(name)) as valkey,
    ):
        collector = f"unix:{name}/collector.sock"
        async with otlp_receiver(collector, sink=book), _judging(book):
            await _ask(requests, Path(name), (valkey.url, collector), book, kills, seed=seed)
    book.judge(final=True)
    return book


async def _ask(requests: int, folder: Path, addresses: tuple[str, str], book: Book, kills: Kills, *, seed: int) -> None:
    redis_url, collector = addresses
    provider = tracing.tracer_provider(
        "caller", endpoints=[OtlpTarget(collector)], sampling_ratio=1, instance_id="caller"
    )
    try:
        async with (
            killable_mesh(folder, redis_url=redis_url, collector=collector) as processes,
            cast(folder, tracer=provider.get_tracer("caller"), began=book.began, seed=seed) as callers,
        ):
            reaper = Reaper(processes, cast=callers, kills=kills)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_kill(reaper, max(_KILLS_AT_LEAST, requests // _REQUESTS_PER_KILL)))
                deck = _deck(requests, seed)
                for _ in range(_AT_ONCE):
                    tasks.create_task(_play(deck, callers))
    finally:
        # In a thread: it waits for a collector that runs in this loop.
        await asyncio.to_thread(tracing.shut_down, provider)


async def _kill(reaper: Reaper, times: int) -> None:
    for number in range(times):
        await reaper.strike(number)


def _deck(requests: int, seed: int) -> Iterator[str]:
    """Every ending as often as every other, in no order."""
    names = [list(SCENARIOS)[number % len(SCENARIOS)] for number in range(requests)]
    random.Random(seed).shuffle(names)
    return iter(names)


async def _play(deck: Iterator[str], callers: Cast) -> None:
    for ending in deck:
        await SCENARIOS[ending](callers.stage(), ending)


@asynccontextmanager
async def _judging(book: Book) -> AsyncIterator[None]:
    async def judge() -> None:
        while True:
            await asyncio.sleep(1)
            book.judge()

    judging = asyncio.create_task(judge())
    try:
        yield
    finally:
        judging.cancel()
        with suppress(asyncio.CancelledError):
            await judging
