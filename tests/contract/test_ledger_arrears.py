"""What every Ledger does with a request that was answered while it was away."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.budget.domain.arrears import BOOKED_LATER, Arrear
from services.budget.domain.bookkeeper import spend
from services.budget.domain.lease import Reservation
from services.budget.domain.limits import Kind
from services.budget.domain.receipt import Outcome
from services.budget.domain.spend import Dimension, SpendQuery, SpendRow, Spent
from services.budget.domain.verification import Difference
from services.budget.domain.windows import Window
from tests.contract.ledgers import Tried, ms
from tests.contract.test_ledger import asked, limit, settled, stands, used

HOUR_SECONDS = 3_600


def arrear(tried: Tried, reservation: Reservation, output: int | None = 5, *, hours_ago: float = 0) -> Arrear:
    """10 tokens in and so many out; None: its router never said."""
    at_seconds = tried.clock.now_ms / 1000 - hours_ago * HOUR_SECONDS
    if output is None:
        return Arrear(reservation, at_seconds, "expired")
    return Arrear(reservation, at_seconds, "settled", settled(reservation, used(output)))


async def is_equal(tried: Tried) -> bool:
    """Whether the counters and the sums of days are what receipts and open reservations say."""
    return not [each async for each in tried.bookkeeper.verify("acme") if isinstance(each, Difference)]


async def spent_in_all(tried: Tried) -> Spent:
    today = datetime.fromtimestamp(tried.clock.now_ms / 1000, UTC).date()
    (row,) = await spend(SpendQuery("acme", today.replace(day=1), today), tried.bookkeeper)
    return row.spent


async def test_what_was_spent_is_booked_whatever_the_limit_says(tried: Tried) -> None:
    await limit(tried.ledger, 12)

    receipt = await tried.ledger.book(arrear(tried, asked()))

    assert (receipt.cost_micro_usd, receipt.outcome, receipt.usage) == (15, Outcome.FINISHED, used(5))
    assert receipt.why == f"the only one; {BOOKED_LATER}"
    assert stands(tried) == (15, 0)
    assert tried.books.receipts("acme") == [receipt]
    assert await is_equal(tried)


async def test_what_is_booked_twice_is_booked_once(tried: Tried) -> None:
    await limit(tried.ledger, 100, kind=Kind.REQUESTS)
    late = arrear(tried, asked())

    first = await tried.ledger.book(late)
    tried.clock.advance(5)

    assert await tried.ledger.book(late) == first
    assert stands(tried) == (15, 0)
    assert stands(tried, kind=Kind.REQUESTS) == (1, 0)
    assert (await spent_in_all(tried)).requests == 1


async def test_never_more_is_booked_than_was_held(tried: Tried) -> None:
    receipt = await tried.ledger.book(arrear(tried, asked(most=20), 50))

    assert (receipt.cost_micro_usd, receipt.uncovered_micro_usd) == (30, 30)
    assert stands(tried) == (30, 0)


async def test_without_its_routers_word_all_that_it_may_have_cost_is_presumed(tried: Tried) -> None:
    late = arrear(tried, asked(), None)

    receipts = [await tried.ledger.book(late) for _ in range(2)]

    assert [(each.cost_micro_usd, each.outcome, each.why) for each in receipts] == [
        (1_010, Outcome.PRESUMED, BOOKED_LATER)
    ] * 2
    assert len(tried.books.receipts("acme")) == 1
    assert stands(tried) == (1_010, 0)
    assert await is_equal(tried)


async def test_a_late_word_of_its_router_lowers_what_was_presumed(tried: Tried) -> None:
    reservation = asked()
    late = arrear(tried, reservation, None)
    await tried.ledger.book(late)

    receipt = await tried.ledger.settle(settled(reservation, used(5)))

    assert (receipt.cost_micro_usd, receipt.outcome) == (15, Outcome.CORRECTED)
    assert await tried.ledger.book(late) == receipt
    assert stands(tried) == (15, 0)
    assert await is_equal(tried)


async def test_what_was_released_after_it_was_presumed_stays_released(tried: Tried) -> None:
    reservation = asked()
    late = arrear(tried, reservation, None)
    await tried.ledger.book(late)
    await tried.ledger.release("acme", reservation.id)

    await tried.ledger.book(late)

    assert stands(tried) == (0, 0)
    assert [each.why for each in tried.books.receipts("acme")] == [BOOKED_LATER] * 2


@pytest.mark.parametrize("after_seconds", [0, 61])
@pytest.mark.parametrize(("output", "cost"), [(5, 15), (500, 510), (None, 1_010)])
async def test_a_reserve_that_was_heard_though_nobody_heard_its_answer_is_given_back(
    tried: Tried, after_seconds: int, output: int | None, cost: int
) -> None:
    await limit(tried.ledger, 10**9, kind=Kind.REQUESTS)
    await limit(tried.ledger, 5, kind=Kind.CONCURRENCY, window=Window.TOTAL)
    reservation = asked()
    await tried.ledger.reserve(reservation)
    late = arrear(tried, reservation, output)
    tried.clock.advance(after_seconds)

    first = await tried.ledger.book(late)
    again = await tried.ledger.book(late)

    assert first == again
    assert first.cost_micro_usd == cost
    assert stands(tried) == (cost, 0)
    assert stands(tried, kind=Kind.REQUESTS) == (1, 0)
    assert stands(tried, kind=Kind.CONCURRENCY, window=Window.TOTAL) == (0, 0)
    in_all = await spent_in_all(tried)
    assert (in_all.requests, in_all.cost_micro_usd) == (1, cost)
    assert await is_equal(tried)


@pytest.mark.parametrize("ends", ["settled", "released"])
async def test_what_its_router_told_another_replica_holds(tried: Tried, ends: str) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    if ends == "settled":
        await tried.ledger.settle(settled(reservation, used(5)))
    else:
        await tried.ledger.release("acme", reservation.id)

    receipt = await tried.ledger.book(arrear(tried, reservation, None))

    assert receipt.cost_micro_usd == (15 if ends == "settled" else 0)
    assert stands(tried) == (receipt.cost_micro_usd, 0)


async def test_money_is_booked_in_the_windows_of_its_own_time(tried: Tried) -> None:
    await limit(tried.ledger, 10**9)

    await tried.ledger.book(arrear(tried, asked(), 5, hours_ago=2))

    assert stands(tried) == (0, 0)
    assert stands(tried, at=ms("2024-02-28T08:15:00")) == (15, 0)
    assert stands(tried, window=Window.DAY) == (15, 0)
    assert await is_equal(tried)


async def test_it_counts_as_a_request_when_it_is_booked(tried: Tried) -> None:
    await limit(tried.ledger, 10, kind=Kind.REQUESTS)

    await tried.ledger.book(arrear(tried, asked(), 5, hours_ago=2))

    assert stands(tried, kind=Kind.REQUESTS) == (1, 0)
    assert await is_equal(tried)


@pytest.mark.parametrize(("hours_ago", "hour"), [(30, "2024-02-27T10:15:00"), (-1, "2024-02-28T10:15:00")])
async def test_no_window_is_older_than_a_day_and_none_is_to_come(tried: Tried, hours_ago: float, hour: str) -> None:
    await tried.ledger.book(arrear(tried, asked(), 5, hours_ago=hours_ago))

    assert stands(tried, at=ms(hour)) == (15, 0)
    assert await is_equal(tried)


async def test_the_day_is_that_of_its_money(tried: Tried) -> None:
    await tried.ledger.book(arrear(tried, asked(), 5, hours_ago=12))

    first = datetime(2024, 2, 27, tzinfo=UTC).date()
    rows = await spend(SpendQuery("acme", first, first.replace(day=28), (Dimension.DAY,)), tried.bookkeeper)

    assert rows == (SpendRow(("2024-02-27",), Spent(1, 10, 0, 5, 15)),)
