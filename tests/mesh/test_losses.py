"""What the mesh does without a part of itself: the cache fails open, money fails closed, and both come back."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from libs.errors import Reason, TokenwayError
from libs.settings import schema
from libs.testing.runtime import recorded_runtime
from libs.testing.valkey import RedisServer
from services.budget.domain.arrears import BOOKED_LATER
from services.mesh.client.router import RouterAddress, connected
from services.router.config import RouterConfig
from services.router.server import serve
from tests.mesh.in_process import (
    KEY,
    ROUTERS_PATIENCE,
    Mesh,
    default_mesh,
    events,
    limit,
    model,
    organisations,
    question,
    running,
    services,
    settings,
)
from tokenway.client.router import RouterClient
from tokenway.common.v1 import generation_pb2
from tokenway.router.v1 import router_pb2


@asynccontextmanager
async def mesh_with_a_cache_of_its_own(redis_url: str, cache: RedisServer) -> AsyncIterator[Mesh]:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        stores = schema.Stores(redis_url=redis_url, cache_redis_url=cache.url)
        async with running(settings(Path(name), redis_url, stores=stores), patient=False) as mesh:
            yield mesh


async def verdict(mesh: Mesh, text: str) -> int:
    stream = await events(mesh, question(text))
    assert stream[-1].HasField("finished")
    return stream[0].started.cache_verdict


async def test_requests_go_on_without_the_caches_redis_and_are_cached_again_when_it_is_back(
    redis_url: str, own_valkey: RedisServer
) -> None:
    async with mesh_with_a_cache_of_its_own(redis_url, own_valkey) as mesh:
        assert await verdict(mesh, "hello") == router_pb2.CACHE_VERDICT_MISS
        own_valkey.kill()
        assert await verdict(mesh, "hello") == router_pb2.CACHE_VERDICT_UNAVAILABLE
        own_valkey.start()
        assert await verdict(mesh, "hello") == router_pb2.CACHE_VERDICT_HIT, "what was acknowledged was not lost"


async def test_a_frozen_cache_does_not_hold_a_request_up(redis_url: str, own_valkey: RedisServer) -> None:
    async with mesh_with_a_cache_of_its_own(redis_url, own_valkey) as mesh:
        await verdict(mesh, "hello")
        own_valkey.freeze()
        assert await verdict(mesh, "hello") == router_pb2.CACHE_VERDICT_UNAVAILABLE
        own_valkey.thaw()


@pytest.mark.parametrize("end", ["kill", "freeze"])
async def test_without_the_ledger_nothing_is_spent_and_the_refusal_says_why(own_valkey: RedisServer, end: str) -> None:
    async with default_mesh(own_valkey.url, patient=False) as mesh:
        await events(mesh, question("hello"))
        getattr(own_valkey, end)()
        with pytest.raises(TokenwayError) as caught:
            await events(mesh, question("another"))
        own_valkey.thaw() if end == "freeze" else own_valkey.start()
        assert (await events(mesh, question("back again")))[-1].HasField("finished")
    assert caught.value.reason is Reason.BUDGET_UNAVAILABLE
    assert caught.value.retry_after_seconds


@pytest.mark.parametrize("end", ["kill", "freeze"])
async def test_a_stream_ends_with_its_lease_when_the_ledger_goes_away_under_it(
    own_valkey: RedisServer, end: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        short = services(Path(name), budget={"lease_seconds": 3, "first_lease_tokens": 20})
        async with running(settings(Path(name), own_valkey.url, services=short), patient=False) as mesh:
            long = question("[[tokens=3000]] [[pace=100]]", max_tokens=3_000)
            async with mesh.client.stream_generate(long, timeout_seconds=30) as stream:
                delivered, finished, away = 0, None, False
                async for event in stream:
                    delivered += sum(event.delta.token_counts)
                    finished = event.finished if event.HasField("finished") else finished
                    if delivered >= 30 and not away:
                        away = True
                        getattr(own_valkey, end)()
            own_valkey.thaw() if end == "freeze" else own_valkey.start()
            await mesh.settled()
            bill, _ = (await mesh.money())["BUDGET_WINDOW_DAY"]
    assert finished is not None
    assert finished.finish_reason == generation_pb2.FINISH_REASON_BUDGET_UNAVAILABLE
    assert finished.usage.output_tokens == delivered < 3_000
    assert not finished.receipt.settled
    assert bill >= finished.receipt.cost_micro_usd, "the lease's end books at least what was delivered"


@pytest.mark.parametrize("end", ["kill", "freeze"])
async def test_an_open_organisation_is_answered_without_the_ledger_and_billed_when_that_is_back(
    own_valkey: RedisServer, end: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        acme, other = organisations(limit("100", "day"))
        cap = schema.OpenWhenAway(cap_usd=Decimal("0.01"))
        given = settings(
            Path(name),
            own_valkey.url,
            services=services(Path(name), budget={"unbooked_folder": f"{name}/unbooked"}),
            organisations=(acme.model_copy(update={"open_when_away": cap}), other),
        )
        async with running(given, patient=False) as mesh:
            before = (await events(mesh, question("hello")))[-1].finished.receipt
            getattr(own_valkey, end)()
            answer = (await events(mesh, question("another")))[-1].finished
            with pytest.raises(TokenwayError) as caught:
                await events(mesh, question("too dear", max_tokens=1_000))
            own_valkey.thaw() if end == "freeze" else own_valkey.start()
            bill = before.cost_micro_usd + answer.receipt.cost_micro_usd
            async with asyncio.timeout(60):
                while (await mesh.money())["BUDGET_WINDOW_DAY"] != (bill, 0):  # noqa: ASYNC110 # Redis tells nobody
                    await asyncio.sleep(0.05)
    assert answer.finish_reason == generation_pb2.FINISH_REASON_STOP
    assert answer.receipt.settled
    assert answer.receipt.why == f"{before.why}; {BOOKED_LATER}"
    assert caught.value.reason is Reason.BUDGET_UNAVAILABLE
    assert "may spend unchecked" in caught.value.message


async def test_a_router_does_not_start_without_its_keys_and_says_where_it_looked() -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        given = settings(Path(name), f"unix://{name}/nobody.sock")
        with pytest.raises(TokenwayError) as caught:
            async with serve(RouterConfig.from_settings(given), runtime=recorded_runtime().runtime):
                pass
    assert caught.value.reason is Reason.KEY_STORE_UNAVAILABLE
    assert "nobody.sock" in caught.value.message


async def test_one_dead_replica_of_two_costs_no_request_and_no_wait(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        alive = model("small", folder)
        patient = services(folder, router={"retry_wait_min_seconds": 30, "retry_wait_max_seconds": 30})
        given = settings(folder, redis_url, models=(alive,), services=patient)
        async with running(given):
            # A second address for the router alone, with nobody behind it; it sorts first.
            both = (f"unix:{folder}/a-dead.sock", *alive.endpoints)
            listen = f"unix:{folder}/second.sock"
            config = replace(RouterConfig.from_settings(given), listen=listen, endpoints={"small": both})
            async with (
                serve(config, runtime=recorded_runtime().runtime),
                connected(RouterAddress(listen, KEY)) as client,
            ):
                asked = [answered(client, f"[[tokens=20]] [[pace=50]] {n}") for n in range(8)]
                reasons = await asyncio.gather(*asked)
    assert reasons == [generation_pb2.FINISH_REASON_STOP] * 8


async def answered(client: RouterClient, text: str) -> int:
    async with client.stream_generate(question(text), timeout_seconds=15) as stream:
        last = [each async for each in stream][-1]
    return last.finished.finish_reason


async def test_a_stream_that_outlasts_the_drain_is_settled_before_the_router_is_gone(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        given = settings(Path(name), redis_url)
        async with running(given) as mesh:
            listen = f"unix:{name}/second.sock"
            config = replace(RouterConfig.from_settings(given), listen=listen, drain_seconds=0.2, **ROUTERS_PATIENCE)
            async with (
                AsyncExitStack() as stack,
                connected(RouterAddress(listen, KEY)) as client,
            ):
                await stack.enter_async_context(serve(config, runtime=recorded_runtime().runtime))
                async with client.stream_generate(question("[[tokens=500]] [[pace=50]]", max_tokens=500)) as stream:
                    await anext(aiter(stream))
                    await stack.aclose()
                    assert await mesh.reserved() == 0
            used, _ = (await mesh.money())["BUDGET_WINDOW_DAY"]
    assert 0 < used < 500 * 10, "what was delivered until then"
