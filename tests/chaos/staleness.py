"""The same few questions over and over, while what was answered is invalidated and the cache is struck."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from libs.errors import Reason, TokenwayError
from tests.chaos.cache_mesh import CACHES
from tests.chaos.dated_engine import dated
from tests.chaos.stampede import Stampede
from tests.mesh.in_process import question
from tests.mesh.twice import events, text
from tokenway.router.v1 import admin_pb2, router_pb2

QUESTIONS = 4
ASKERS = 8
WORDS = 20
PACE = 20
_DEADLINE_SECONDS = 15.0
_BETWEEN_DROPS_SECONDS = 0.3
# Of the drops of one question, where somebody got a stored answer to it.
_REPORTED = 0.5
_BETWEEN_STRIKES_SECONDS = 1.0
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Drop:
    """Of this question alone, or of all; in nanoseconds when it was asked for, and when it was known to be done."""

    question: int | None
    sent_at: int
    done_at: int

    def forbids(self, answer: Answer) -> bool:
        """It was done before this was asked, and this was begun before it."""
        about = self.question is None or self.question == answer.question
        return about and self.done_at < answer.asked_at and answer.begun_at < self.sent_at


@dataclass(frozen=True, slots=True)
class Answer:
    """Nanoseconds: when it was asked for, and when the engine began it."""

    question: int
    asked_at: int
    begun_at: int


@dataclass(slots=True)
class Staleness:
    """What came of it."""

    drops: list[Drop] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    strikes: Counter[str] = field(default_factory=Counter)
    # Of each question a request that got a stored answer.
    hits: dict[int, str] = field(default_factory=dict)
    mixed: int = 0
    cut: int = 0

    @property
    def stale(self) -> int:
        return sum(any(each.forbids(answer) for each in self.drops) for answer in self.answers)

    @property
    def hung(self) -> int:
        return self.endings[Reason.OUT_OF_TIME]

    def __str__(self) -> str:
        listed = (", ".join(f"{count} {name}" for name, count in each.most_common()) for each in self._counters())
        return f"{QUESTIONS} questions over and over, {len(self.drops)} invalidations: {'; struck: '.join(listed)}"

    def _counters(self) -> tuple[Counter[str], Counter[str]]:
        return self.endings, self.strikes


async def staleness(stampede: Stampede, *, seconds: float) -> Staleness:
    """So long."""
    found, ends_at = Staleness(), time.monotonic() + seconds
    async with _going_on(_drop, stampede, found), _going_on(_strike, stampede, found), asyncio.TaskGroup() as asking:
        for place in range(ASKERS):
            asking.create_task(_ask(stampede, found, place, ends_at))
    await stampede.mesh.restored()
    return found


@asynccontextmanager
async def _going_on(
    what: Callable[[Stampede, Staleness], Awaitable[None]], stampede: Stampede, found: Staleness
) -> AsyncIterator[None]:
    """Over and over while the block runs; the last is waited for."""
    ended = asyncio.Event()

    async def over_and_over() -> None:
        while not ended.is_set():
            await what(stampede, found)

    task = asyncio.create_task(over_and_over())
    try:
        yield
    finally:
        ended.set()
        await task


async def _ask(stampede: Stampede, found: Staleness, place: int, ends_at: float) -> None:
    while time.monotonic() < ends_at:
        number, asked_at = stampede.lot.randrange(QUESTIONS), time.monotonic_ns()
        client = stampede.clients[place % len(stampede.clients)]
        try:
            answer = await events(client, _question(number), seconds=_DEADLINE_SECONDS)
        except TokenwayError as error:
            found.endings[error.reason] += 1
            continue
        words = text(answer).split()
        if (started := answer[0].started).cache_verdict == router_pb2.CACHE_VERDICT_HIT:
            found.hits[number] = started.request_id
        verdict = router_pb2.CacheVerdict.Name(started.cache_verdict)
        found.endings[verdict.removeprefix("CACHE_VERDICT_")] += 1
        found.mixed += len(set(words)) > 1
        found.cut += len(words) < WORDS
        found.answers += [Answer(number, asked_at, int(each.removeprefix("t"))) for each in words[:1]]
        await asyncio.sleep(stampede.lot.uniform(0, 0.1))


def _question(number: int) -> router_pb2.GenerateRequest:
    asked = question(f"[[echo={dated(WORDS)}]] [[pace={PACE}]] What is number {number} worth?", max_tokens=WORDS * 4)
    asked.labels["number"] = str(number)
    return asked


async def _drop(stampede: Stampede, found: Staleness) -> None:
    await asyncio.sleep(stampede.lot.uniform(0, 2 * _BETWEEN_DROPS_SECONDS))
    number, dropped = stampede.lot.choice([None, *range(QUESTIONS)]), True
    sent_at = time.monotonic_ns()
    try:
        if number in found.hits and stampede.lot.random() < _REPORTED:
            client = stampede.lot.choice(stampede.clients)
            dropped = await client.report_bad_hit(found.hits.pop(number), timeout_seconds=_DEADLINE_SECONDS)
        else:
            await stampede.lot.choice(stampede.admins).invalidate_cache(_invalidation(number, stampede.lot))
    except TokenwayError:
        return  # nobody was told that it is done
    if dropped:
        found.drops.append(Drop(number, sent_at, time.monotonic_ns()))


def _invalidation(number: int | None, lot: random.Random) -> admin_pb2.InvalidateCacheRequest:
    if number is not None:
        return admin_pb2.InvalidateCacheRequest(tag=f"number={number}")
    everything = ({"all": True}, {"model": "small"}, {"model": "small", "model_revision": "1"})
    return admin_pb2.InvalidateCacheRequest(**lot.choice(everything))


async def _strike(stampede: Stampede, found: Staleness) -> None:
    await asyncio.sleep(_BETWEEN_STRIKES_SECONDS)
    name = stampede.lot.choice(sorted(_STRIKES))
    found.strikes[name] += 1
    await _STRIKES[name](stampede)
    await stampede.mesh.restored()


async def _a_replica_killed(stampede: Stampede) -> None:
    await stampede.mesh.kill(stampede.lot.choice(CACHES))


async def _a_replica_paused(stampede: Stampede) -> None:
    """With whatever lies in its sockets."""
    await stampede.mesh.pause(stampede.lot.choice(CACHES), seconds=_PAUSE_SECONDS)


async def _redis_killed(stampede: Stampede) -> None:
    stampede.redis.kill()
    stampede.redis.start()


_STRIKES: dict[str, Callable[[Stampede], Awaitable[None]]] = {
    "a replica killed": _a_replica_killed,
    "a replica paused": _a_replica_paused,
    "Redis killed": _redis_killed,
}
