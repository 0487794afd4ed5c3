"""What the ledger and the keys owe to a cluster: primaries that die, freeze and change, slots that move."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from redis.asyncio.cluster import ClusterNode
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError

from libs.background import Background
from libs.clock import SystemClock
from libs.errors import Reason, TokenwayError
from libs.keys import StoredKey, sha256_of
from libs.redis_client import redis_or_cluster, require
from libs.redis_cluster import Cluster
from libs.testing.valkey_cluster import ValkeyCluster
from services.budget.adapters.redis_keys import RedisKeys
from services.budget.domain.limits import Principal
from services.budget.domain.ports import Swept
from services.budget.domain.verification import Difference
from services.router.adapters.redis_keys import RedisKeys as RouterKeys
from tests.contract.ledgers import POLICY, Tried, in_redis
from tests.contract.test_ledger import asked, extended, limit, refused, settled, used

# On the first node; the organisation acme is on the last, which has the replica.
HOOLI = Principal(key_id="gavin", organisation="hooli")
T = TypeVar("T")

pytestmark = pytest.mark.cluster


@asynccontextmanager
async def ledger_on(cluster: ValkeyCluster) -> AsyncIterator[Tried]:
    """With the time limit of the service."""
    async with in_redis(cluster.url, POLICY, timeout_seconds=0.8) as tried:
        await limit(tried.ledger, 1_000_000)
        yield tried


async def differences(tried: Tried) -> list[Difference]:
    return [each async for each in tried.bookkeeper.verify("acme") if isinstance(each, Difference)]


async def until_done(call: Callable[[], Awaitable[T]]) -> T:
    """As a router does it: repeated while the budget is away."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except TokenwayError as error:
                if error.reason is not Reason.BUDGET_UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)


async def away(tried: Tried) -> None:
    """A call is refused, in time."""
    began = time.monotonic()
    await refused(tried.ledger.reserve(asked()), Reason.BUDGET_UNAVAILABLE)
    assert time.monotonic() - began < 10  # 0.8, and a machine that stands still


async def test_while_primaries_change_every_request_is_booked_once(valkey_cluster: ValkeyCluster) -> None:
    async with ledger_on(valkey_cluster) as tried:
        reservations = [asked() for _ in range(200)]

        async def request(number: int) -> None:
            reservation = reservations[number]
            await until_done(lambda: tried.ledger.reserve(reservation))
            await until_done(lambda: tried.ledger.settle(settled(reservation, used(5))))

        async def caller(first: int) -> None:
            for number in range(first, 200, 10):
                await request(number)

        callers = asyncio.gather(*map(caller, range(10)))
        while not callers.done():
            await asyncio.to_thread(valkey_cluster.promote)
        await callers

        receipts = tried.books.receipts("acme")
        assert sorted(each.reservation_id for each in receipts) == sorted(each.id for each in reservations)
        assert await differences(tried) == []


async def test_after_a_primary_was_killed_its_replica_goes_on(own_cluster: ValkeyCluster) -> None:
    async with ledger_on(own_cluster) as tried:
        opened, closed = asked(), asked()
        await tried.ledger.reserve(opened)
        await tried.ledger.reserve(closed)
        receipt = await tried.ledger.settle(settled(closed, used(5)))
        own_cluster.wait_for_replica()

        own_cluster.primary.kill()
        await away(tried)
        own_cluster.wait_for_promotion()

        assert await until_done(lambda: tried.ledger.settle(settled(closed, used(5)))) == receipt
        assert (await tried.ledger.extend(extended(opened, 1, used(60)))).output_tokens == 160
        assert (await tried.ledger.settle(settled(opened, used(80)))).cost_micro_usd == 90
        assert await differences(tried) == []


async def test_a_frozen_primary_is_a_refusal_until_its_replica_is_promoted(own_cluster: ValkeyCluster) -> None:
    async with ledger_on(own_cluster) as tried:
        opened = asked()
        await tried.ledger.reserve(opened)
        own_cluster.wait_for_replica()

        own_cluster.primary.freeze()
        await away(tried)
        own_cluster.wait_for_promotion()

        assert (await until_done(lambda: tried.ledger.settle(settled(opened, used(5))))).cost_micro_usd == 15
        own_cluster.replica.thaw()
        assert await differences(tried) == []


async def test_what_is_on_other_nodes_goes_on_while_a_primary_is_frozen(valkey_cluster: ValkeyCluster) -> None:
    async with in_redis(valkey_cluster.url, POLICY, timeout_seconds=2) as tried:
        await tried.ledger.reserve(asked())
        await tried.ledger.reserve(asked(principal=HOOLI))
        valkey_cluster.primary.freeze()
        lost = [asyncio.create_task(tried.ledger.reserve(asked())) for _ in range(50)]
        try:
            leases = await asyncio.gather(*(tried.ledger.reserve(asked(principal=HOOLI)) for _ in range(50)))
            refusals = await asyncio.gather(*lost, return_exceptions=True)
        finally:
            valkey_cluster.primary.thaw()
            valkey_cluster.wait_for_replica()

    assert len(leases) == 50
    assert {each.reason for each in refusals if isinstance(each, TokenwayError)} == {Reason.BUDGET_UNAVAILABLE}


async def test_leases_on_other_nodes_end_while_a_primary_is_away(own_cluster: ValkeyCluster) -> None:
    async with ledger_on(own_cluster) as tried:
        await tried.ledger.reserve(asked())
        await tried.ledger.reserve(asked(principal=HOOLI))
        tried.clock.advance(60)
        own_cluster.wait_for_replica()
        own_cluster.primary.kill()

        await refused(tried.ledger.sweep(), Reason.BUDGET_UNAVAILABLE)

        own_cluster.wait_for_promotion()
        assert await until_done(tried.ledger.sweep) == Swept(1, 110), "the other was found before"


async def test_a_primary_that_is_killed_and_restarted_has_lost_nothing(valkey_cluster: ValkeyCluster) -> None:
    async with ledger_on(valkey_cluster) as tried:
        opened = asked()
        await tried.ledger.reserve(opened)

        valkey_cluster.primary.kill()
        await away(tried)
        valkey_cluster.primary.start()

        receipt = await until_done(lambda: tried.ledger.settle(settled(opened, used(5))))
        assert receipt.cost_micro_usd == 15
        assert await differences(tried) == []
    valkey_cluster.wait_for_replica()


async def test_while_a_slot_moves_key_by_key_nothing_is_half_done(valkey_cluster: ValkeyCluster) -> None:
    async with ledger_on(valkey_cluster) as tried:
        opened, closed = asked(), asked()
        await tried.ledger.reserve(opened)
        await tried.ledger.reserve(closed)
        await tried.ledger.settle(settled(closed, used(5)))
        with valkey_cluster.primary.client() as old, valkey_cluster.others[0].client() as new:
            slot, port = key_slot(b"acme"), new.config_get("port")["port"]
            new.cluster("SETSLOT", slot, "IMPORTING", old.cluster("MYID"))
            old.cluster("SETSLOT", slot, "MIGRATING", new.cluster("MYID"))
            # The counters are there, and all that the scripts are told of is still here.
            old.migrate("127.0.0.1", port, list(old.scan_iter("tw:{acme}:spent:*")), 0, 1_000)

            extending = tried.ledger.extend(extended(opened, 1, used(60)))
            await refused(extending, Reason.BUDGET_UNAVAILABLE)

            old.migrate("127.0.0.1", port, list(old.scan_iter("tw:{acme}:*")), 0, 1_000)
            await refused(tried.ledger.reserve(asked()), Reason.BUDGET_UNAVAILABLE)
            for node in (new, old):
                node.cluster("SETSLOT", slot, "NODE", new.cluster("MYID"))

            receipt = await until_done(lambda: tried.ledger.settle(settled(opened, used(5))))
            found = await differences(tried)
            _give_back(slot, giver=new, taker=old)

        assert receipt.cost_micro_usd == 15
        assert found == []


async def test_a_key_is_found_whatever_its_slot(valkey_cluster: ValkeyCluster) -> None:
    client = redis_or_cluster(valkey_cluster.url, decode_responses=True)
    keys = RedisKeys(redis=client, timeout_seconds=5)
    texts = [f"tw_{each}" for each in range(150)]
    stored = {sha256_of(each): StoredKey(key_id=each, organisation="acme") for each in texts}

    assert await keys.add(stored) == 150
    assert {each.key_id for each in await keys.of("acme")} == set(texts)
    router = RouterKeys(client, clock=SystemClock(), background=Background(drain_seconds=5), timeout_seconds=5)
    principals = await asyncio.gather(*map(router.principal, texts))

    assert [each.key_id for each in principals] == texts
    await client.aclose()


async def test_a_node_that_is_named_as_a_single_server_is_refused_with_the_address_to_use(
    valkey_cluster: ValkeyCluster,
) -> None:
    client = redis_or_cluster(valkey_cluster.primary.url, decode_responses=True)

    with pytest.raises(TokenwayError, match=r"node of a cluster.*redis\+cluster://HOST:PORT,HOST:PORT"):
        await require(client, url=valkey_cluster.primary.url, timeout_seconds=5, reason=Reason.BUDGET_UNAVAILABLE)

    await client.aclose()


async def test_where_no_node_is_left_that_was_known_those_named_are_asked_again(
    valkey_cluster: ValkeyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.redis_cluster._LEARN_AGAIN_SECONDS", 0)
    client = Cluster(valkey_cluster.url, decode_responses=True)
    await client.ping()
    await client.aclose()
    gone = ClusterNode("127.0.0.1", 1)
    client.nodes_manager.startup_nodes = {gone.name: gone}

    with pytest.raises(RedisConnectionError):
        await client.get("key")

    assert await client.get("key") is None
    await client.aclose()


async def test_a_cluster_of_which_no_node_answers_is_said_without_its_password() -> None:
    url = "redis+cluster://me:hunter2@127.0.0.1:1,127.0.0.1:2"
    client = redis_or_cluster(url, decode_responses=True)

    with pytest.raises(TokenwayError, match="cannot be used") as caught:
        await require(client, url=url, timeout_seconds=5, reason=Reason.BUDGET_UNAVAILABLE)

    assert "hunter2" not in caught.value.message
    await client.aclose()


def _give_back(slot: int, *, giver: Any, taker: Any) -> None:
    taker.cluster("SETSLOT", slot, "IMPORTING", giver.cluster("MYID"))
    giver.cluster("SETSLOT", slot, "MIGRATING", taker.cluster("MYID"))
    if keys := list(giver.scan_iter("tw:{acme}:*")):
        giver.migrate("127.0.0.1", taker.config_get("port")["port"], keys, 0, 1_000)
    for node in (taker, giver):
        node.cluster("SETSLOT", slot, "NODE", taker.cluster("MYID"))
