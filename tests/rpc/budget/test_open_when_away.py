"""The service while its real Redis is away, for an organisation that is open then and for one that is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from libs.errors import Reason, TokenwayError
from libs.telemetry import names
from libs.testing.ledger_books import RedisBooks
from libs.testing.valkey import RedisServer
from services.budget.domain.arrears import BOOKED_LATER, Arrears, AwayTerms
from services.budget.domain.lease import ReservationId
from services.budget.domain.limits import Account, Limit, Scope
from services.budget.domain.receipt import Outcome
from services.budget.domain.seed import Seed
from services.budget.domain.windows import Window
from tests.rpc.budget.served import (
    ADA,
    EXTEND,
    GET_USAGE,
    RELEASE,
    RESERVE,
    SETTLE,
    Served,
    extend,
    release,
    reserve,
    serving,
    settle,
    until,
)
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import principal_pb2

# Of two replicas, what one may spend: three requests at their worst, of 10 tokens in and 1,000 out.
SHARE, REPLICAS, WORST = 3_100, 2, 1_010
# There is room for one.
LIMIT = 1_500
STRANGER = principal_pb2.Principal(organisation="umbrella", key_id="ada")

Comes = Callable[[RedisServer], None]
ENDS = {"frozen": (RedisServer.freeze, RedisServer.thaw), "killed": (RedisServer.kill, RedisServer.start)}


@asynccontextmanager
async def open_budget(folder: Path, redis_url: str, name: str = "0") -> AsyncIterator[Served]:
    home = folder / name
    home.mkdir(exist_ok=True)
    async with serving(
        home,
        redis_url=redis_url,
        redis_timeout_seconds=0.8,
        sweep_seconds=0.05,
        seed=Seed(limits=(("acme", Limit(Account(Scope.ORGANISATION), Window.TOTAL, LIMIT)),)),
        away_terms={"acme": AwayTerms(SHARE, Window.DAY)},
        unbooked_folder=folder / "unbooked",
    ) as budget:
        yield budget


def unbooked_usd(budget: Served) -> float:
    return budget.recorded.sample(names.METRIC_BUDGET_UNBOOKED)


async def stands(budget: Served) -> tuple[int, int]:
    """Of the organisation's limit, used and reserved."""
    (state,) = (await budget.call(GET_USAGE, pb.GetUsageRequest(principal=ADA))).states
    return state.used, state.reserved


@pytest.mark.parametrize(("goes", "returns"), ENDS.values(), ids=ENDS)
async def test_an_open_organisation_is_served_while_redis_is_away_and_booked_when_it_is_back(
    folder: Path, own_valkey: RedisServer, goes: Comes, returns: Comes
) -> None:
    async with open_budget(folder, own_valkey.url) as budget:
        await budget.call(RESERVE, reserve("before"))
        goes(own_valkey)

        lease = (await budget.call(RESERVE, reserve("r1", want_output_tokens=5))).lease
        renewed = (await budget.call(EXTEND, extend())).lease
        receipt = (await budget.call(SETTLE, settle(50))).receipt
        await budget.call(RESERVE, reserve("r2"))
        await budget.call(RELEASE, release(reservation_id="r2"))
        await budget.refused(EXTEND, extend(reservation_id="before"), Reason.BUDGET_UNAVAILABLE)
        await budget.refused(RESERVE, reserve("r3", principal=STRANGER), Reason.BUDGET_UNAVAILABLE)
        unbooked = unbooked_usd(budget)
        returns(own_valkey)
        await until(lambda: unbooked_usd(budget) == 0)

        assert (lease.output_tokens, lease.whole, lease.reserved_micro_usd) == (1_000, True, WORST)
        assert (renewed.output_tokens, renewed.whole) == (1_000, True)
        assert (receipt.cost_micro_usd, receipt.why) == (60, f"the only one; {BOOKED_LATER}")
        assert unbooked == pytest.approx(60e-6)
        assert budget.recorded.sample(names.METRIC_BUDGET_UNCHECKED, decision="admitted") == 2
        assert await stands(budget) == (60, 110), "and what was reserved before"
        assert (await budget.call(SETTLE, settle(50))).receipt.cost_micro_usd == 60, "repeated it is the same"
    books = RedisBooks(own_valkey.url)
    booked = {each.reservation_id: (each.outcome, each.why) for each in books.receipts("acme")}
    books.close()
    assert booked[ReservationId("r1")] == (Outcome.FINISHED, f"the only one; {BOOKED_LATER}")


async def spent_by(budget: Served, name: str, requests: int) -> int:
    """What so many parallel requests get, each of which uses all that it may: by their own count."""

    async def one(number: int) -> int:
        reservation = f"{name}-{number}"
        try:
            await budget.call(RESERVE, reserve(reservation))
        except TokenwayError as error:
            if error.reason is not Reason.BUDGET_UNAVAILABLE:
                raise
            return 0
        settled = await budget.call(SETTLE, settle(1_000, reservation_id=reservation))
        return int(settled.receipt.cost_micro_usd)

    return sum(await asyncio.gather(*map(one, range(requests))))


async def overspent(folder: Path, redis: RedisServer) -> int:
    """By how much the limit is passed when two replicas are flooded in two outages: by the clients, and by Redis."""
    delivered = 0
    async with AsyncExitStack() as stack:
        names_ = [f"{number}" for number in range(REPLICAS)]
        replicas = [await stack.enter_async_context(open_budget(folder, redis.url, each)) for each in names_]
        for outage in range(2):
            redis.kill()
            floods = (spent_by(each, f"{outage}-{name}", 20) for each, name in zip(replicas, names_, strict=True))
            delivered += sum(await asyncio.gather(*floods))
            redis.start()
            for each in replicas:
                await until(lambda each=each: unbooked_usd(each) == 0)  # type: ignore[misc]
        used, reserved = await stands(replicas[0])
    assert (used, reserved) == (delivered, 0)
    return delivered - LIMIT


async def test_no_more_is_spent_unchecked_than_the_cap_however_many_ask_and_however_often_it_is_away(
    folder: Path, own_valkey: RedisServer
) -> None:
    assert await overspent(folder, own_valkey) + LIMIT == REPLICAS * (SHARE // WORST) * WORST <= REPLICAS * SHARE


async def test_without_the_cap_the_same_floods_pass_it(
    folder: Path, own_valkey: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Arrears, "left_micro_usd", lambda *_: 10**9)

    assert await overspent(folder, own_valkey) + LIMIT > REPLICAS * SHARE


async def test_a_replica_that_is_started_again_books_what_it_had_on_disk(folder: Path, own_valkey: RedisServer) -> None:
    async with open_budget(folder, own_valkey.url) as budget:
        own_valkey.kill()
        for name in ("r1", "r2"):
            await budget.call(RESERVE, reserve(name))
        await budget.call(SETTLE, settle(50))
    own_valkey.start()

    async with open_budget(folder, own_valkey.url) as budget:
        await until(lambda: unbooked_usd(budget) == pytest.approx(WORST / 1e6))
        lease = (await budget.call(EXTEND, extend(reservation_id="r2"))).lease
        await budget.call(SETTLE, settle(50, reservation_id="r2"))
        await until(lambda: unbooked_usd(budget) == 0)

        assert lease.whole
        assert await stands(budget) == (120, 0)
