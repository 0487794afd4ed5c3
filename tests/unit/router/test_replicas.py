"""Which replica gets an attempt, and how the set of them follows the world."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from libs.background import running
from libs.errors import Reason, TokenwayError
from services.router.adapters.replicas import Replicas

AWAY = TokenwayError(Reason.SERVICE_UNAVAILABLE, "nobody listens")


class FakeClient:
    """A connection that knows how its address feels."""

    def __init__(self, address: str, answers: dict[str, Exception]) -> None:
        self.address, self._answers, self.closed = address, answers, False

    async def unary(self, *_: object, **__: object) -> health_pb2.HealthCheckResponse:
        if self.address in self._answers:
            raise self._answers[self.address]
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        self.closed = True


class World:
    """Names and what they resolve to, addresses and how they answer."""

    def __init__(self, *addresses: str) -> None:
        self.names: dict[str, Sequence[str] | Exception] = {"model.test:1": addresses}
        self.answers: dict[str, Exception] = {}
        self.slow = asyncio.Event()
        self.slow.set()
        self.probes: list[FakeClient] = []
        self.dialled: dict[str, FakeClient] = {}
        self.replicas = Replicas(
            {"small": ["model.test:1"]},
            dial=self._dial,  # type: ignore[arg-type]
            probe=self._probe,  # type: ignore[arg-type]
            resolve=self._resolve,
        )

    def _dial(self, address: str, host: str | None) -> FakeClient:
        assert host == "model.test"
        self.dialled[address] = FakeClient(address, self.answers)
        return self.dialled[address]

    def _probe(self, address: str, host: str | None) -> FakeClient:
        self.probes.append(FakeClient(address, self.answers))
        return self.probes[-1]

    async def _resolve(self, endpoint: str) -> Sequence[str]:
        await self.slow.wait()
        found = self.names[endpoint]
        if isinstance(found, Exception):
            raise found
        return found

    def chosen(self, tried: set[str] | None = None) -> Any:
        return self.replicas.chosen("small", set() if tried is None else tried)

    def choice(self, tried: set[str] | None = None) -> str:
        with self.chosen(tried) as client:
            return str(client.address)


async def test_the_replica_with_the_fewest_open_streams_is_chosen() -> None:
    world = World("a:1", "b:1")
    await world.replicas.resolve()
    with world.chosen() as first, world.chosen() as second:
        assert [first.address, second.address] == ["a:1", "b:1"]
    assert world.choice() == "a:1", "both streams have ended"


async def test_each_replica_is_tried_once_however_busy_it_is() -> None:
    world = World("a:1", "b:1")
    await world.replicas.resolve()
    tried: set[str] = set()
    with world.replicas.chosen("small", {"a:1"}):
        assert [world.choice(tried), world.choice(tried)] == ["a:1", "b:1"]


async def test_one_that_is_not_ready_is_the_last_resort_and_comes_back() -> None:
    world = World("a:1", "b:1")
    await world.replicas.resolve()
    world.answers["a:1"] = AWAY
    await world.replicas.check()
    assert (world.choice(), world.replicas.ready("small")) == ("b:1", True)
    world.answers["b:1"] = AWAY
    await world.replicas.check()
    assert (world.choice(), world.replicas.ready("small")) == ("a:1", False)
    world.answers.clear()
    await world.replicas.check()
    assert world.replicas.ready("small")


async def test_readiness_is_asked_on_one_connection_per_address() -> None:
    world = World("a:1", "b:1")
    await world.replicas.resolve()
    for _ in range(3):
        await world.replicas.check()
    assert [each.address for each in world.probes] == ["a:1", "b:1"]


async def test_a_name_that_is_not_resolved_just_now_keeps_the_addresses_it_had() -> None:
    world = World("a:1")
    await world.replicas.resolve()
    world.names["model.test:1"] = OSError("no name server")
    await world.replicas.resolve()
    assert world.choice() == "a:1"
    assert not world.dialled["a:1"].closed


async def test_an_address_that_goes_away_gets_no_new_stream_and_is_closed_after_the_last() -> None:
    world = World("a:1", "b:1")
    await world.replicas.resolve()
    await world.replicas.check()
    with world.chosen() as leaving, world.chosen():
        assert leaving.address == "a:1"
        world.names["model.test:1"] = ("b:1",)
        await world.replicas.resolve()
        await world.replicas.check()
        assert world.choice() == "b:1", "though it has as many streams"
        assert not leaving.closed
    await world.replicas.resolve()
    assert leaving.closed
    assert world.replicas.count("small") == 1
    assert [each.closed for each in world.probes] == [True, False]


async def test_no_address_at_all_names_the_endpoints() -> None:
    world = World()
    await world.replicas.resolve()
    with pytest.raises(TokenwayError, match=r"small: no address found behind model\.test:1"):
        world.choice()


@asynccontextmanager
async def watched(world: World) -> AsyncIterator[None]:
    """Its rounds follow each other without a pause."""
    async with running(world.replicas.watch(sleep=lambda _: asyncio.sleep(0)), name="replicas"):
        yield


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - the watch tells nobody
            await asyncio.sleep(0)


@pytest.mark.parametrize("surprise", [ZeroDivisionError("a bug"), UnicodeError("label too long")])
async def test_no_surprise_ends_the_watch(surprise: Exception) -> None:
    world = World("a:1")
    await world.replicas.resolve()
    world.names["model.test:1"], world.answers["a:1"] = surprise, surprise
    async with watched(world):
        for _ in range(3):  # each is logged with its traceback, which takes its time
            await asyncio.sleep(0)
        world.answers.clear()
        world.names["model.test:1"] = ("a:1", "b:1")
        await until(lambda: world.replicas.count("small") == 2)


async def test_a_slow_resolver_keeps_nobody_from_being_asked_whether_it_is_ready() -> None:
    world = World("a:1")
    await world.replicas.resolve()
    world.slow = asyncio.Event()
    async with watched(world):
        world.answers["a:1"] = AWAY
        await until(lambda: not world.replicas.ready("small"))
        world.answers.clear()
        await until(lambda: world.replicas.ready("small"))
        world.names["model.test:1"] = ("b:1",)
        world.slow.set()
        await until(lambda: world.choice() == "b:1")
    assert [each.closed for each in world.probes if each.address == "a:1"] == [True]
