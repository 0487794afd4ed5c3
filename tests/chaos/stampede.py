"""Waves of clients who ask the same at once, each wave struck in its own way; and what came of each."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from libs.errors import Reason, TokenwayError
from libs.settings import schema
from libs.testing.valkey import RedisServer, valkey_binary
from services.mesh.client.admin import AdminClient, administering
from services.mesh.client.router import RouterAddress, connected
from tests.chaos.cache_mesh import CACHES, ROUTERS, CacheMesh, Tier, cache_mesh
from tests.chaos.run import folder
from tests.mesh.in_process import ADMIN_KEY, KEY, question
from tests.mesh.twice import events, text
from tokenway.client.router import RouterClient
from tokenway.common.v1 import generation_pb2

WORDS = 40
PACE = 20
# Ample: the answer takes 2 s, and nobody waits for one lost leader for longer than that.
DEADLINE_SECONDS = 30.0
_LEASE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to strike, in the midst of a wave's answer, and how many generations it may cost; None: any number."""

    name: str
    strike: Callable[[Stampede], Awaitable[None]]
    most_generations: int | None
    # Who ask something else each at the same time.
    others: int = 0


@dataclass(slots=True)
class Wave:
    """What a wave's clients got, and what the engine made for them."""

    kind: Kind
    generations: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    cut: int = 0

    @property
    def hung(self) -> int:
        return self.endings[Reason.OUT_OF_TIME]

    @property
    def too_many(self) -> int:
        most = self.kind.most_generations
        return 0 if most is None else max(0, self.generations - most)


class Stampede:
    """The mesh, its clients, and a wave after the other."""

    def __init__(
        self,
        mesh: CacheMesh,
        redis: RedisServer,
        *,
        clients: Sequence[RouterClient],
        admins: Sequence[AdminClient],
        seed: int,
    ) -> None:
        self.mesh, self.redis, self.clients, self.admins = mesh, redis, clients, admins
        self.lot = random.Random(seed)
        self.first: asyncio.Task[None] | None = None

    async def wave(self, kind: Kind, *, askers: int, number: int) -> Wave:
        """All ask for words that nobody has asked for before, and are to get these words."""
        wave, made = Wave(kind), self.mesh.made_requests()
        words = " ".join(f"w{number}.{each}" for each in range(WORDS))
        asking = [asyncio.create_task(self._ask(wave, words, place)) for place in range(askers)]
        others = [asyncio.create_task(self._ask_otherwise(number, place)) for place in range(kind.others)]
        self.first = asking[0]
        # In the midst of the answer; not at its beginning, when some have not asked yet.
        await asyncio.sleep(WORDS / PACE * self.lot.uniform(0.4, 0.7))
        await kind.strike(self)
        await asyncio.gather(*asking, *others, return_exceptions=True)
        await self.mesh.restored()
        wave.generations = len(self.mesh.made_requests() - made) - kind.others
        return wave

    async def _ask_otherwise(self, number: int, place: int) -> None:
        request = question(f"What else is number {number}.{place} good for?")
        _ = await events(self.clients[place % len(self.clients)], request, seconds=DEADLINE_SECONDS)

    async def _ask(self, wave: Wave, words: str, place: int) -> None:
        request = question(f"[[echo={words}]] [[pace={PACE}]]", max_tokens=WORDS * 4)
        # The first leads, so that who leads can be struck.
        await asyncio.sleep(0 if not place else 0.1)
        try:
            answer = await events(self.clients[place % len(self.clients)], request, seconds=DEADLINE_SECONDS)
        except TokenwayError as error:
            wave.endings[error.reason] += 1
            return
        except asyncio.CancelledError:
            wave.endings["left"] += 1
            raise
        finished, got = answer[-1].finished, text(answer)
        wave.endings[generation_pb2.FinishReason.Name(finished.finish_reason)] += 1
        wave.cut += got != words and words.startswith(got)
        wave.wrong += not words.startswith(got)


async def nothing(_: Stampede) -> None:
    """The answer is made in peace."""


async def leader_leaves(stampede: Stampede) -> None:
    assert stampede.first is not None
    stampede.first.cancel()


async def leaders_router(stampede: Stampede) -> None:
    """The first client asks the first router."""
    await stampede.mesh.kill(ROUTERS[0])


async def a_replica(stampede: Stampede) -> None:
    await stampede.mesh.kill(stampede.lot.choice(CACHES))


async def a_pause(stampede: Stampede) -> None:
    """Longer than a lease: whatever it led is another's by the time that it goes on."""
    await stampede.mesh.pause(stampede.lot.choice(CACHES), seconds=_LEASE_SECONDS + 1)


async def redis_frozen(stampede: Stampede) -> None:
    stampede.redis.freeze()
    try:
        await asyncio.sleep(_LEASE_SECONDS + 1)
    finally:
        stampede.redis.thaw()


async def redis_killed(stampede: Stampede) -> None:
    stampede.redis.kill()
    await asyncio.sleep(0.5)
    stampede.redis.start()


KINDS = (
    Kind("nothing", nothing, 1),
    Kind("the leader leaves", leader_leaves, 2),
    Kind("the leader's router is killed", leaders_router, 2),
    Kind("a replica is killed", a_replica, 2),
    Kind("a replica stands still for 3 s", a_pause, 2),
    # Who follows cannot know what becomes of the answer, and does not wait longer than a lease.
    Kind("the cache's Redis stands still for 3 s", redis_frozen, None),
    Kind("the cache's Redis is killed", redis_killed, None),
)


BUSY = Kind("64 others keep the encoder busy", nothing, 1, others=64)


@asynccontextmanager
async def stampede(*, seed: int, cache: str = "services.cache", tier: Tier = "exact") -> AsyncIterator[Stampede]:
    """With another module in place of the cache: a mutant of it, or one with an encoder of the tests'."""
    async with AsyncExitStack() as stack:
        home = stack.enter_context(folder())
        money = stack.enter_context(RedisServer(binary=valkey_binary(), folder=_sub(home, "money")))
        redis = stack.enter_context(RedisServer(binary=valkey_binary(), folder=_sub(home, "cache")))
        stores = schema.Stores(redis_url=money.url, cache_redis_url=redis.url)
        mesh = await stack.enter_async_context(cache_mesh(home, stores, seed=seed, cache=cache, tier=tier))
        places = [mesh.address(each) for each in ROUTERS]
        clients = [await stack.enter_async_context(connected(RouterAddress(each, KEY))) for each in places]
        admins = [await stack.enter_async_context(administering(RouterAddress(each, ADMIN_KEY))) for each in places]
        yield Stampede(mesh, redis, clients=clients, admins=admins, seed=seed)


def _sub(home: Path, name: str) -> Path:
    found = home / name
    found.mkdir()
    return found
