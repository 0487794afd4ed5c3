"""What every Bookkeeper keeps, whatever it is made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from libs.money import UsageSource
from services.budget.domain.bookkeeper import spend
from services.budget.domain.lease import Reservation
from services.budget.domain.limits import Principal
from services.budget.domain.receipt import Outcome, ReceiptQuery
from services.budget.domain.spend import Dimension, Spender, SpendQuery, SpendRow, Spent
from services.budget.domain.verification import Difference, Progress, Verified
from tests.contract.ledgers import Tried, ms
from tests.contract.test_ledger import ADA, BOB, asked, extended, settled, used

TODAY, TOMORROW = date(2024, 2, 28), date(2024, 2, 29)
OF_ADA = Spender("ada", "ada.l", "compilers", "llama-3-7b")


async def test_what_is_settled_counts_at_once_and_by_whoever_asked(tried: Tried) -> None:
    for principal, output in ((ADA, 5), (ADA, 7), (BOB, 1)):
        reservation = asked(principal=principal)
        await tried.ledger.reserve(reservation)
        await tried.ledger.settle(settled(reservation, used(output, cached=4)))

    assert await tried.bookkeeper.spent_on("acme", TODAY) == {
        OF_ADA: Spent(2, 20, 8, 12, 32),
        Spender("bob", "", "", "llama-3-7b"): Spent(1, 10, 4, 1, 11),
    }
    assert await tried.bookkeeper.spent_on("acme", TOMORROW) == {}
    assert await tried.bookkeeper.spent_on("other", TODAY) == {}


async def test_what_is_open_is_not_in_it(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    await tried.ledger.extend(extended(reservation, 1, used(60)))

    assert await tried.bookkeeper.spent_on("acme", TODAY) == {}


async def test_money_counts_on_the_day_on_which_it_was_booked_and_the_request_on_its_last(tried: Tried) -> None:
    tried.clock.now_ms = ms("2024-02-28T23:59:50")
    reservation = asked()
    await tried.ledger.reserve(reservation)
    tried.clock.advance(20)
    await tried.ledger.extend(extended(reservation, 1, used(60)))
    await tried.ledger.settle(settled(reservation, used(80)))

    assert await tried.bookkeeper.spent_on("acme", TODAY) == {OF_ADA: Spent(cost_micro_usd=70)}
    assert await tried.bookkeeper.spent_on("acme", TOMORROW) == {OF_ADA: Spent(1, 10, 0, 80, 20)}


async def test_a_released_reservation_is_no_request_and_what_it_booked_is_money(tried: Tried) -> None:
    hit, replaced = asked(), asked()
    await tried.ledger.reserve(hit)
    await tried.ledger.release("acme", hit.id)
    assert await tried.bookkeeper.spent_on("acme", TODAY) == {}
    await tried.ledger.reserve(replaced)
    await tried.ledger.extend(extended(replaced, 1, used(20)))
    await tried.ledger.release("acme", replaced.id)

    assert await tried.bookkeeper.spent_on("acme", TODAY) == {OF_ADA: Spent(0, 10, 0, 20, 30)}


async def test_what_is_presumed_and_what_is_estimated_is_said_apart(tried: Tried) -> None:
    silent, estimated = asked(), asked()
    await tried.ledger.reserve(silent)
    tried.clock.advance(61)
    await tried.ledger.sweep()
    await tried.ledger.reserve(estimated)
    usage = replace(used(5), source=UsageSource.ESTIMATED)
    await tried.ledger.settle(settled(estimated, usage, Outcome.CANCELLED))

    assert await tried.bookkeeper.spent_on("acme", TODAY) == {OF_ADA: Spent(2, 20, 0, 105, 125, 110, 15)}


@pytest.mark.parametrize("late", ["settle", "release"])
async def test_a_correction_counts_on_the_day_on_which_it_was_presumed(tried: Tried, late: str) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    tried.clock.now_ms = ms("2024-02-29T09:00:00")
    await tried.ledger.sweep()
    if late == "settle":
        await tried.ledger.settle(settled(reservation, used(5)))
    else:
        await tried.ledger.release("acme", reservation.id)

    expected = {OF_ADA: Spent(1, 10, 0, 5, 15)} if late == "settle" else {}
    assert await tried.bookkeeper.spent_on("acme", TODAY) == expected
    assert await tried.bookkeeper.spent_on("acme", TOMORROW) == {}


async def test_a_question_tells_apart_what_it_asks_for(tried: Tried) -> None:
    for principal, model, output in ((ADA, "large", 5), (ADA, "small", 7), (BOB, "small", 1)):
        reservation = replace(asked(principal=principal), model=model)
        await tried.ledger.reserve(reservation)
        await tried.ledger.settle(settled(reservation, used(output)))
        tried.clock.advance(86_400)

    async def rows(*by: Dimension, last: date = date(2024, 3, 1)) -> list[tuple[str, ...]]:
        found = await spend(SpendQuery("acme", TODAY, last, by), tried.bookkeeper)
        return [(*row.names, str(row.spent.output_tokens)) for row in found]

    assert await rows() == [("13",)]
    assert await rows(last=TOMORROW) == [("12",)]
    assert await rows(Dimension.MODEL) == [("large", "5"), ("small", "8")]
    assert await rows(Dimension.TEAM, Dimension.MODEL) == [
        ("", "small", "1"),
        ("compilers", "large", "5"),
        ("compilers", "small", "7"),
    ]
    assert await rows(Dimension.DAY) == [("2024-02-28", "5"), ("2024-02-29", "7"), ("2024-03-01", "1")]
    assert await spend(SpendQuery("nobody", TODAY, TODAY), tried.bookkeeper) == (SpendRow((), Spent()),)
    assert await spend(SpendQuery("nobody", TODAY, TODAY, (Dimension.KEY,)), tried.bookkeeper) == ()


async def ended(tried: Tried, principal: Principal = ADA, output: int = 5) -> Reservation:
    reservation = asked(principal=principal)
    await tried.ledger.reserve(reservation)
    await tried.ledger.settle(settled(reservation, used(output)))
    return reservation


async def verified(tried: Tried) -> tuple[list[Difference], Verified]:
    findings = [each async for each in tried.bookkeeper.verify("acme") if not isinstance(each, Progress)]
    *differences, last = findings
    assert isinstance(last, Verified)
    return [each for each in differences if isinstance(each, Difference)], last


async def test_receipts_leave_the_ledger_after_35_days_and_what_they_sum_up_to_stays(tried: Tried) -> None:
    old = [await ended(tried) for _ in range(120)]
    hit = asked()
    await tried.ledger.reserve(hit)
    await tried.ledger.release("acme", hit.id)
    tried.clock.advance(86_400)
    young = await ended(tried, BOB)
    tried.clock.advance(34 * 86_400 - 1)
    assert await tried.bookkeeper.trim() == 0
    tried.clock.advance(1)

    assert await tried.bookkeeper.trim() == len(old) + 1
    assert await tried.bookkeeper.trim() == 0

    page = await tried.ledger.list_receipts(ReceiptQuery("acme"))
    assert [each.request_id for each in page.receipts] == [young.request_id]
    assert await tried.bookkeeper.spent_on("acme", TODAY) == {OF_ADA: Spent(120, 1_200, 0, 600, 1_800)}
    differences, last = await verified(tried)
    assert (differences, last.receipts, last.trimmed_receipts) == ([], 1, 121)


async def test_a_page_token_holds_while_the_ledger_is_trimmed(tried: Tried) -> None:
    await ended(tried)
    tried.clock.advance(86_400)
    younger = [(await ended(tried)).request_id for _ in range(3)]
    first = await tried.ledger.list_receipts(ReceiptQuery("acme", page_size=2))
    tried.clock.advance(34 * 86_400)
    assert await tried.bookkeeper.trim() == 1

    second = await tried.ledger.list_receipts(ReceiptQuery("acme", page_size=2, page_token=first.next_page_token))

    assert [each.request_id for each in (*first.receipts, *second.receipts)] == younger[::-1]


async def test_a_ledger_in_any_state_agrees_with_its_counters(tried: Tried) -> None:
    assert await verified(tried) == ([], Verified(0, 0, 0, 0))
    await ended(tried)
    opened, silent = asked(principal=BOB), asked()
    await tried.ledger.reserve(opened)
    await tried.ledger.extend(extended(opened, 1, used(60)))
    await tried.ledger.reserve(silent)
    tried.clock.advance(61)
    await tried.ledger.sweep()
    await tried.ledger.settle(settled(silent, used(5)))
    await tried.ledger.reserve(asked())

    assert (await verified(tried))[0] == []
