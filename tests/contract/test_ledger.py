"""What every Ledger keeps, whatever it is made of."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count

import pytest

from libs.errors import Reason, TokenwayError
from libs.money import Price, Usage, UsageSource
from services.budget.domain.lease import Extension, Reservation, ReservationId
from services.budget.domain.limits import WINDOWS, Account, BudgetState, Kind, Limit, LimitName, Principal, Scope
from services.budget.domain.ports import Ledger, Swept
from services.budget.domain.receipt import Outcome, Receipt, ReceiptPage, ReceiptQuery, Settlement
from services.budget.domain.verification import Difference
from services.budget.domain.windows import Window
from tests.contract.ledgers import Tried, ms

ADA = Principal(key_id="ada", organisation="acme", user="ada.l", team="compilers")
BOB = Principal(key_id="bob", organisation="acme")
KEY, ORGANISATION = Account(Scope.KEY, "ada"), Account(Scope.ORGANISATION)
# One micro-dollar a token, to make sums plain.
PLAIN = Price(1_000_000, 1_000_000, 1_000_000, "v1")
# 7 tokens cost a micro-dollar, nearly: parts of it must not each be rounded up.
FINE = Price(150_000, 15_000, 150_000, "v2")
HUGE = 10**12
_ids = count(1)


def asked(
    *,
    principal: Principal = ADA,
    price: Price = PLAIN,
    max_input: int = 10,
    want: int = 100,
    most: int = 1_000,
    replaces: ReservationId | None = None,
) -> Reservation:
    number = next(_ids)
    return Reservation(
        id=ReservationId(f"reservation-{number}"),
        request_id=f"request-{number}",
        principal=principal,
        model="llama-3-7b",
        price=price,
        max_input_tokens=max_input,
        want_output_tokens=want,
        max_output_tokens=most,
        replaces=replaces,
    )


def used(output: int, *, input: int = 10, cached: int = 0) -> Usage:  # noqa: A002 # the word of the domain
    return Usage(input, cached, output, UsageSource.ENGINE)


def settled(reservation: Reservation, usage: Usage, outcome: Outcome = Outcome.FINISHED) -> Settlement:
    return Settlement(reservation.id, reservation.principal.organisation, usage, outcome, "the only one")


def extended(reservation: Reservation, seq: int, usage: Usage, want: int = 100) -> Extension:
    return Extension(reservation.id, reservation.principal.organisation, seq, usage, want)


async def limit(
    ledger: Ledger,
    most: int,
    *,
    account: Account = KEY,
    window: Window = Window.HOUR,
    kind: Kind = Kind.MONEY,
    soft: bool = False,
) -> None:
    await ledger.put_limit("acme", Limit(account, window, most, kind, soft))


async def spend(tried: Tried, micro_usd: int) -> None:
    """One request that has ended."""
    request = asked(want=1_000)
    await tried.ledger.reserve(request)
    await tried.ledger.settle(settled(request, used(micro_usd - 10)))


def stands(
    tried: Tried, *, account: Account = KEY, window: Window = Window.HOUR, at: int = 0, kind: Kind = Kind.MONEY
) -> tuple[int, int]:
    """Used and reserved at that moment, else now."""
    return tried.books.used_and_reserved("acme", account, window, at or tried.clock.now_ms, kind)


async def refused(doing: object, reason: Reason) -> TokenwayError:
    with pytest.raises(TokenwayError) as caught:
        await doing  # type: ignore[misc]
    assert caught.value.reason is reason, caught.value
    return caught.value


# Reserve


async def test_far_from_its_limits_a_request_gets_a_small_lease(tried: Tried) -> None:
    await limit(tried.ledger, HUGE)

    lease = await tried.ledger.reserve(asked(max_input=10, want=100, most=1_000))

    assert (lease.output_tokens, lease.whole, lease.reserved_micro_usd, lease.lifetime_seconds) == (100, False, 110, 60)
    for account in (KEY, ORGANISATION):
        for window in (Window.HOUR, Window.DAY, Window.MONTH):
            assert stands(tried, account=account, window=window) == (0, 110)


@pytest.mark.parametrize("kind", [Kind.MONEY, Kind.OUTPUT_TOKENS])
async def test_of_long_answers_that_begin_at_once_as_many_are_let_in_as_can_end(tried: Tried, kind: Kind) -> None:
    # Room for exactly ten, of which small leases hold a tenth.
    await limit(tried.ledger, 10 * (1_010 if kind is Kind.MONEY else 1_000), kind=kind)
    given = [asked() for _ in range(10)]
    leases = [await tried.ledger.reserve(each) for each in given]

    error = await refused(tried.ledger.reserve(asked()), Reason.BUDGET_EXCEEDED)

    assert {each.whole for each in leases} == {False}
    assert error.retry_after_seconds == 1
    state = error.metadata
    assert int(state["used"]) + int(state["reserved"]) + int(state["needed"]) > int(state["limit"])
    for seq, output in enumerate((100, 500, 900), 1):
        for each in given:
            await tried.ledger.extend(extended(each, seq, used(output), want=400))
    receipts = [await tried.ledger.settle(settled(each, used(1_000))) for each in given]
    assert [each.uncovered_micro_usd for each in receipts] == [0] * 10
    assert stands(tried, kind=kind) == (10 * (1_010 if kind is Kind.MONEY else 1_000), 0)


async def test_far_from_a_limit_many_answers_are_open_on_small_leases(tried: Tried) -> None:
    await limit(tried.ledger, (50 + 8) * 1_010)

    leases = [await tried.ledger.reserve(asked()) for _ in range(50)]

    assert {(each.output_tokens, each.whole) for each in leases} == {(100, False)}
    assert stands(tried) == (0, 50 * 110)


@pytest.mark.parametrize("end", ["settle", "release", "expire", "replace"])
async def test_what_an_answer_no_longer_wants_is_there_for_the_next(tried: Tried, end: str) -> None:
    first, other = asked(), asked()
    await tried.ledger.reserve(first)
    await limit(tried.ledger, 1_900)
    # 110 are held, and 900 more wanted.
    await refused(tried.ledger.reserve(other), Reason.BUDGET_EXCEEDED)

    match end:
        case "settle":
            await tried.ledger.settle(settled(first, used(5)))
        case "release":
            await tried.ledger.release("acme", first.id)
        case "expire":
            tried.clock.advance(61)
        case "replace":
            await tried.ledger.reserve(asked(most=10, replaces=first.id))

    await tried.ledger.reserve(other)


async def test_an_answer_wants_less_once_its_input_is_counted(tried: Tried) -> None:
    first = asked()
    await tried.ledger.reserve(first)
    await limit(tried.ledger, 2_015)  # for one and its worst, and for one whose input is counted
    await refused(tried.ledger.reserve(asked()), Reason.BUDGET_EXCEEDED)

    await tried.ledger.extend(extended(first, 1, used(20, input=5)))

    await tried.ledger.reserve(asked())


async def test_what_is_wanted_counts_in_the_window_in_which_it_will_be_taken(tried: Tried) -> None:
    tried.clock.now_ms = ms("2024-02-28T10:59:30")
    await tried.ledger.reserve(asked())
    tried.clock.now_ms = ms("2024-02-28T11:00:00")
    await limit(tried.ledger, 1_909)

    error = await refused(tried.ledger.reserve(asked()), Reason.BUDGET_EXCEEDED)

    assert (error.metadata["used"], error.metadata["reserved"], error.metadata["needed"]) == ("0", "900", "1010")
    await limit(tried.ledger, 1_910)
    await tried.ledger.reserve(asked())


async def test_a_fallback_to_a_longer_answer_is_let_in_only_if_all_of_it_fits(tried: Tried) -> None:
    first = asked()
    await tried.ledger.reserve(first)
    await limit(tried.ledger, 1_500)

    await refused(tried.ledger.reserve(asked(most=1_491, replaces=first.id)), Reason.BUDGET_EXCEEDED)

    await tried.ledger.reserve(asked(most=1_490, replaces=first.id))


async def test_a_fallback_that_wants_no_more_passes_a_limit_that_was_lowered(tried: Tried) -> None:
    first = asked()
    await tried.ledger.reserve(first)
    await limit(tried.ledger, 1_009)

    await refused(tried.ledger.reserve(asked(max_input=11, replaces=first.id)), Reason.BUDGET_EXCEEDED)

    await tried.ledger.reserve(asked(replaces=first.id))


async def test_a_fallback_that_wants_less_in_all_holds_no_more_where_a_limit_was_lowered(tried: Tried) -> None:
    first = asked(want=100)
    await tried.ledger.reserve(first)
    await limit(tried.ledger, 50)

    await refused(tried.ledger.reserve(asked(want=101, most=101, replaces=first.id)), Reason.BUDGET_EXCEEDED)

    await tried.ledger.reserve(asked(want=100, most=101, replaces=first.id))
    assert stands(tried) == (0, 110)


async def test_what_others_may_want_does_not_stop_an_answer_that_was_let_in(tried: Tried) -> None:
    first = asked()
    await tried.ledger.reserve(first)
    await tried.ledger.reserve(asked())
    await limit(tried.ledger, 1_200)  # lowered, to less than both may come to

    lease = await tried.ledger.extend(extended(first, 1, used(90), want=910))

    assert lease.whole


async def test_an_organisation_without_limits_still_gets_leases_and_receipts(tried: Tried) -> None:
    reservation = asked()

    lease = await tried.ledger.reserve(reservation)
    receipt = await tried.ledger.settle(settled(reservation, used(5)))

    assert lease.output_tokens == 100
    assert receipt.cost_micro_usd == 15
    assert tried.books.receipts("acme") == [receipt]
    assert stands(tried) == (15, 0)


async def test_no_lease_is_longer_than_the_answer_can_be(tried: Tried) -> None:
    lease = await tried.ledger.reserve(asked(want=5_000, most=300))

    assert (lease.output_tokens, lease.whole, lease.reserved_micro_usd) == (300, True, 310)


async def test_input_that_may_or_may_not_be_cached_is_reserved_at_its_higher_price(tried: Tried) -> None:
    lease = await tried.ledger.reserve(asked(price=Price(1_000_000, 3_000_000, 1_000_000), max_input=10, want=1))

    assert lease.reserved_micro_usd == 31


@pytest.mark.parametrize("account", [KEY, ORGANISATION], ids=str)
@pytest.mark.parametrize("window", [Window.HOUR, Window.DAY, Window.MONTH])
async def test_a_request_that_passes_one_limit_is_refused_by_it_and_reserves_nowhere(
    tried: Tried, account: Account, window: Window
) -> None:
    for every in (KEY, ORGANISATION):
        for each in (Window.HOUR, Window.DAY, Window.MONTH):
            await limit(tried.ledger, HUGE, account=every, window=each)
    await limit(tried.ledger, 1_500, account=account, window=window)
    first = asked(want=1_000)
    await tried.ledger.reserve(first)
    await tried.ledger.settle(settled(first, used(490)))

    error = await refused(tried.ledger.reserve(asked(most=1_000)), Reason.BUDGET_EXCEEDED)

    assert error.metadata == {
        "scope": str(account.scope),
        "subject": account.subject,
        "window": str(window),
        "kind": "money",
        "limit": "1500",
        "used": "500",
        "reserved": "0",
        "needed": "1010",
    }
    for every in (KEY, ORGANISATION):
        for each in (Window.HOUR, Window.DAY, Window.MONTH):
            assert stands(tried, account=every, window=each) == (500, 0)


@pytest.mark.parametrize(
    ("window", "seconds"), [(Window.HOUR, 45 * 60), (Window.DAY, 13.75 * 3_600), (Window.MONTH, (24 + 13.75) * 3_600)]
)
async def test_a_refusal_says_how_long_until_its_window_ends(tried: Tried, window: Window, seconds: float) -> None:
    await limit(tried.ledger, 1_500, window=window)
    await spend(tried, 500)

    error = await refused(tried.ledger.reserve(asked(most=1_000)), Reason.BUDGET_EXCEEDED)

    assert error.retry_after_seconds == seconds  # from 10:15 on 28 February of a leap year
    assert f"the {window} ends at 2024-0" in error.message


@pytest.mark.parametrize(("before_the_end", "seconds"), [(45 * 60, 1), (0.25, 0.25)])
async def test_what_open_requests_hold_may_come_back_long_before_the_window_ends(
    tried: Tried, before_the_end: float, seconds: float
) -> None:
    await limit(tried.ledger, 1_500)
    tried.clock.advance(45 * 60 - before_the_end)
    first = asked(want=1_000)
    await tried.ledger.reserve(first)

    error = await refused(tried.ledger.reserve(asked()), Reason.BUDGET_EXCEEDED)
    await tried.ledger.settle(settled(first, used(480)))

    assert error.retry_after_seconds == seconds
    assert "open requests may give some of that back: try again in 1 s" in error.message
    assert (await tried.ledger.reserve(asked(want=1_000))).whole


async def test_what_can_never_fit_is_not_asked_to_try_again(tried: Tried) -> None:
    await limit(tried.ledger, 1_009)

    error = await refused(tried.ledger.reserve(asked(max_input=10, most=1_000)), Reason.BUDGET_EXCEEDED)

    assert error.retry_after_seconds is None
    assert "never" in error.message


async def test_of_several_limits_the_one_that_frees_last_refuses(tried: Tried) -> None:
    for window in (Window.HOUR, Window.MONTH, Window.DAY):
        await limit(tried.ledger, 1_500, window=window)
    await spend(tried, 500)

    error = await refused(tried.ledger.reserve(asked(most=1_000)), Reason.BUDGET_EXCEEDED)

    assert error.metadata["window"] == "month"


async def test_a_limit_that_will_never_do_refuses_before_one_that_frees(tried: Tried) -> None:
    await limit(tried.ledger, 1_009)
    await limit(tried.ledger, 1_500, window=Window.MONTH)
    await tried.ledger.reserve(asked(most=100))
    await tried.ledger.reserve(asked(most=100, max_input=400))

    error = await refused(tried.ledger.reserve(asked(most=1_000)), Reason.BUDGET_EXCEEDED)

    assert (error.metadata["window"], error.retry_after_seconds) == ("hour", None)


async def test_a_free_model_passes_a_spent_budget(tried: Tried) -> None:
    await limit(tried.ledger, 0)

    lease = await tried.ledger.reserve(asked(price=Price(0, 0, 0)))

    assert lease.reserved_micro_usd == 0


async def test_a_limit_of_nothing_refuses_all_that_costs(tried: Tried) -> None:
    await limit(tried.ledger, 0)

    error = await refused(tried.ledger.reserve(asked()), Reason.BUDGET_EXCEEDED)

    assert error.retry_after_seconds is None


async def test_the_last_micro_dollar_can_be_spent(tried: Tried) -> None:
    await limit(tried.ledger, 1_010)

    assert (await tried.ledger.reserve(asked(max_input=10, want=1_000, most=1_000))).whole


async def test_a_repeated_reserve_answers_the_same_and_reserves_once(tried: Tried) -> None:
    reservation = asked()

    first = await tried.ledger.reserve(reservation)
    tried.clock.advance(10)
    second = await tried.ledger.reserve(reservation)

    assert second == replace(first, lifetime_seconds=50)
    assert stands(tried) == (0, 110)


async def test_a_repeated_reserve_is_answered_for_the_accounts_of_the_first(tried: Tried) -> None:
    await limit(tried.ledger, 50, account=ORGANISATION)
    await tried.ledger.put_limit("acme", Limit(ORGANISATION, Window.DAY, 50, soft=True))
    reservation = asked(principal=BOB, want=40, most=40)
    first = await tried.ledger.reserve(reservation)

    second = await tried.ledger.reserve(replace(reservation, principal=ADA))

    assert second == first
    assert stands(tried, account=ORGANISATION) == (0, 50)


async def test_a_reserve_that_comes_after_its_end_gets_no_lease(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    await tried.ledger.settle(settled(reservation, used(1)))

    error = await refused(tried.ledger.reserve(reservation), Reason.RESERVATION_CLOSED)

    assert error.metadata == {"reservation_id": reservation.id, "state": "settled"}
    assert stands(tried) == (11, 0)


async def test_organisations_and_keys_do_not_share_limits(tried: Tried) -> None:
    await limit(tried.ledger, 1_010)
    await tried.ledger.reserve(asked())

    await tried.ledger.reserve(asked(principal=BOB))
    await tried.ledger.reserve(asked(principal=replace(ADA, organisation="umbrella")))

    await refused(tried.ledger.reserve(asked()), Reason.BUDGET_EXCEEDED)


async def test_keys_share_the_limit_of_their_organisation(tried: Tried) -> None:
    await limit(tried.ledger, 1_010, account=ORGANISATION)
    await tried.ledger.reserve(asked(principal=BOB))

    error = await refused(tried.ledger.reserve(asked(principal=ADA)), Reason.BUDGET_EXCEEDED)

    assert (error.metadata["scope"], error.metadata["subject"]) == ("organisation", "")


async def test_of_200_at_once_exactly_those_get_a_lease_for_whom_there_is_money(tried: Tried) -> None:
    await limit(tried.ledger, 10 * 1_010)

    answers = await asyncio.gather(
        *(tried.ledger.reserve(asked(want=1_000)) for _ in range(200)), return_exceptions=True
    )

    assert sum(not isinstance(each, BaseException) for each in answers) == 10
    assert stands(tried) == (0, 10 * 1_010)


async def test_a_lowered_limit_refuses_what_is_new_and_breaks_no_lease(tried: Tried) -> None:
    await limit(tried.ledger, HUGE)
    reservation = asked()
    await tried.ledger.reserve(reservation)

    await limit(tried.ledger, 50)

    await refused(tried.ledger.reserve(asked()), Reason.BUDGET_EXCEEDED)
    # It only renews the time, so it raises nothing.
    assert (await tried.ledger.extend(extended(reservation, 1, used(20), want=0))).output_tokens == 100
    assert (await tried.ledger.settle(settled(reservation, used(100)))).cost_micro_usd == 110


# Replaces


async def test_a_fallback_fits_where_the_first_reservation_goes_out(tried: Tried) -> None:
    await limit(tried.ledger, 1_100)
    first = asked(want=1_000)
    await tried.ledger.reserve(first)

    second = asked(max_input=100, want=1_000, replaces=first.id)
    lease = await tried.ledger.reserve(second)

    assert (lease.whole, lease.reserved_micro_usd) == (True, 1_100)
    assert stands(tried) == (0, 1_100)
    (receipt,) = tried.books.receipts("acme")
    assert (receipt.reservation_id, receipt.outcome, receipt.cost_micro_usd) == (first.id, Outcome.RELEASED, 0)
    assert await tried.ledger.release("acme", first.id) == 1_010


async def test_a_fallback_that_does_not_fit_leaves_the_first_reservation_as_it_was(tried: Tried) -> None:
    await limit(tried.ledger, 1_100)
    first = asked(want=1_000)
    await tried.ledger.reserve(first)

    error = await refused(tried.ledger.reserve(asked(max_input=101, replaces=first.id)), Reason.BUDGET_EXCEEDED)

    assert error.metadata["reserved"] == "1010"
    assert stands(tried) == (0, 1_010)
    assert tried.books.receipts("acme") == []
    assert (await tried.ledger.extend(extended(first, 1, used(5)))).output_tokens == 1_000


async def test_a_reservation_of_other_accounts_is_not_replaced(tried: Tried) -> None:
    for kind in (Kind.REQUESTS, Kind.CONCURRENCY):
        await limit(tried.ledger, 9, account=Account(Scope.USER, "ada.l"), window=Window.TOTAL, kind=kind)
    of_a_user = asked()
    await tried.ledger.reserve(of_a_user)

    await tried.ledger.reserve(asked(principal=Principal(key_id="ada", organisation="acme"), replaces=of_a_user.id))

    assert stands(tried) == (0, 220)
    assert tried.books.receipts("acme") == []
    found = tried.bookkeeper.verify("acme")
    assert [each async for each in found if isinstance(each, Difference)] == []


async def test_a_fallback_after_an_hour_has_ended_returns_what_the_old_hour_held(tried: Tried) -> None:
    began = tried.clock.now_ms = ms("2024-02-28T10:59:50")
    first = asked()
    await tried.ledger.reserve(first)
    tried.clock.advance(20)

    await tried.ledger.reserve(asked(max_input=100, replaces=first.id))

    assert stands(tried, at=began) == (0, 0)
    assert stands(tried) == (0, 200)


async def test_to_replace_what_is_unknown_or_closed_is_to_reserve(tried: Tried) -> None:
    closed = asked()
    await tried.ledger.reserve(closed)
    await tried.ledger.settle(settled(closed, used(5)))

    await tried.ledger.reserve(asked(replaces=closed.id))
    await tried.ledger.reserve(asked(replaces=ReservationId("never-seen")))

    assert stands(tried) == (15, 220)
    assert len(tried.books.receipts("acme")) == 1


# Extend


async def test_an_extend_books_what_was_used_and_leases_more(tried: Tried) -> None:
    reservation = asked(max_input=50, want=100)
    await tried.ledger.reserve(reservation)
    tried.clock.advance(30)

    lease = await tried.ledger.extend(extended(reservation, 1, used(90, input=10), want=100))

    # The input was counted: what its bound held beyond is free again.
    assert (lease.output_tokens, lease.reserved_micro_usd, lease.lifetime_seconds) == (190, 100, 60)
    assert stands(tried) == (100, 100)


async def test_a_lease_never_shrinks(tried: Tried) -> None:
    reservation = asked(want=100)
    await tried.ledger.reserve(reservation)

    lease = await tried.ledger.extend(extended(reservation, 1, used(10), want=20))

    assert (lease.output_tokens, lease.reserved_micro_usd) == (100, 90)


async def test_the_last_extend_makes_the_lease_whole(tried: Tried) -> None:
    reservation = asked(want=100, most=150)
    await tried.ledger.reserve(reservation)

    lease = await tried.ledger.extend(extended(reservation, 1, used(90), want=100))

    assert (lease.output_tokens, lease.whole) == (150, True)


async def test_an_extend_before_the_input_is_counted_keeps_its_bound(tried: Tried) -> None:
    reservation = asked(max_input=50, want=100)
    await tried.ledger.reserve(reservation)

    lease = await tried.ledger.extend(extended(reservation, 1, used(0, input=0), want=100))

    assert lease.reserved_micro_usd == 150


async def test_after_a_window_has_ended_an_extend_books_in_the_old_and_reserves_in_the_new(tried: Tried) -> None:
    began = tried.clock.now_ms = ms("2024-02-29T23:59:30")
    reservation = asked(want=100)
    await tried.ledger.reserve(reservation)
    tried.clock.advance(45)

    await tried.ledger.extend(extended(reservation, 1, used(60), want=100))

    for window in (Window.HOUR, Window.DAY, Window.MONTH):
        assert stands(tried, window=window, at=began) == (70, 0)
        assert stands(tried, window=window) == (0, 100)


async def test_a_refused_extend_leaves_the_lease_as_it_was(tried: Tried) -> None:
    await limit(tried.ledger, HUGE)
    reservation = asked(want=100)
    await tried.ledger.reserve(reservation)
    await limit(tried.ledger, 150)
    tried.clock.advance(30)

    error = await refused(tried.ledger.extend(extended(reservation, 1, used(90))), Reason.BUDGET_EXCEEDED)

    assert (error.metadata["used"], error.metadata["reserved"]) == ("0", "110")
    assert stands(tried) == (0, 110)
    again = await tried.ledger.reserve(reservation)
    assert (again.output_tokens, again.reserved_micro_usd, again.lifetime_seconds) == (100, 110, 30)
    # The seq was not taken: with money there the same call succeeds.
    await limit(tried.ledger, HUGE)
    assert (await tried.ledger.extend(extended(reservation, 1, used(90)))).output_tokens == 190


@pytest.mark.parametrize("seq", [2, 1])
async def test_an_extend_with_a_seq_that_was_answered_changes_nothing(tried: Tried, seq: int) -> None:
    reservation = asked(want=100)
    await tried.ledger.reserve(reservation)
    await tried.ledger.extend(extended(reservation, 1, used(50)))
    last = await tried.ledger.extend(extended(reservation, 2, used(90)))
    tried.clock.advance(10)

    again = await tried.ledger.extend(extended(reservation, seq, used(90)))

    assert again == replace(last, lifetime_seconds=50)
    assert stands(tried) == (100, 100)


async def test_an_extend_of_what_never_was_finds_nothing(tried: Tried) -> None:
    error = await refused(tried.ledger.extend(extended(asked(), 1, used(1))), Reason.RESERVATION_NOT_FOUND)

    assert error.metadata["reservation_id"].startswith("reservation-")


@pytest.mark.parametrize("state", ["settled", "released", "expired"])
async def test_an_extend_of_what_has_ended_is_refused(tried: Tried, state: str) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    if state == "settled":
        await tried.ledger.settle(settled(reservation, used(1)))
    elif state == "released":
        await tried.ledger.release("acme", reservation.id)
    else:
        tried.clock.advance(60)
    before = stands(tried)

    error = await refused(tried.ledger.extend(extended(reservation, 1, used(1))), Reason.RESERVATION_CLOSED)

    assert error.metadata == {"reservation_id": reservation.id, "state": state}
    assert stands(tried) == ((110, 0) if state == "expired" else before)


async def test_input_beyond_its_bound_is_reserved_by_the_extend_that_reports_it(tried: Tried) -> None:
    reservation = asked(max_input=10, want=100)
    await tried.ledger.reserve(reservation)

    lease = await tried.ledger.extend(extended(reservation, 1, used(90, input=500), want=100))

    # 590 used; 110 were reserved and are booked; the other 480 are reserved with the next 100.
    assert stands(tried) == (110, 580)
    assert lease.reserved_micro_usd == 580


# Settle


async def test_a_settlement_books_what_was_used_and_returns_the_rest(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)

    receipt = await tried.ledger.settle(settled(reservation, used(30, cached=4), Outcome.CANCELLED))

    assert receipt == Receipt(
        request_id=reservation.request_id,
        reservation_id=reservation.id,
        key_id="ada",
        model="llama-3-7b",
        price=PLAIN,
        usage=used(30, cached=4),
        cost_micro_usd=40,
        outcome=Outcome.CANCELLED,
        why="the only one",
        uncovered_micro_usd=0,
        booked_at_seconds=tried.clock.now_ms / 1000,
    )
    assert tried.books.receipts("acme") == [receipt]
    assert stands(tried) == (40, 0)


async def test_a_repeated_settlement_answers_the_same_and_books_once(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    first = await tried.ledger.settle(settled(reservation, used(30)))
    tried.clock.advance(3_600)

    again = await tried.ledger.settle(settled(reservation, used(99), Outcome.FAILED))

    assert again == first
    assert tried.books.receipts("acme") == [first]


async def test_use_beyond_the_lease_is_reported_and_not_booked(tried: Tried) -> None:
    reservation = asked(want=100)
    await tried.ledger.reserve(reservation)

    receipt = await tried.ledger.settle(settled(reservation, used(120)))

    assert (receipt.cost_micro_usd, receipt.uncovered_micro_usd) == (110, 20)
    assert stands(tried) == (110, 0)


async def test_many_small_parts_cost_what_the_whole_costs(tried: Tried) -> None:
    reservation = asked(price=FINE, max_input=11, want=3)
    await tried.ledger.reserve(reservation)

    for seq in range(1, 40):
        await tried.ledger.extend(extended(reservation, seq, used(seq, input=11, cached=5), want=3))
        tried.clock.advance(50)
    receipt = await tried.ledger.settle(settled(reservation, used(41, input=11, cached=5)))

    assert receipt.cost_micro_usd == 8  # (6 + 41) × 0.15 + 5 × 0.015 = 7.125, rounded up once
    assert stands(tried, window=Window.DAY) == (8, 0)


async def test_a_count_that_falls_takes_back_nothing_that_was_booked(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    await tried.ledger.extend(extended(reservation, 1, used(90)))

    receipt = await tried.ledger.settle(settled(reservation, used(20)))

    assert receipt.cost_micro_usd == 100
    assert stands(tried) == (100, 0)


async def test_a_settlement_of_what_never_was_finds_nothing(tried: Tried) -> None:
    await refused(tried.ledger.settle(settled(asked(), used(1))), Reason.RESERVATION_NOT_FOUND)


async def test_a_settlement_after_a_release_changes_nothing(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    await tried.ledger.release("acme", reservation.id)

    receipt = await tried.ledger.settle(settled(reservation, used(30)))

    assert (receipt.outcome, receipt.cost_micro_usd) == (Outcome.RELEASED, 0)
    assert stands(tried) == (0, 0)


# Release


async def test_a_release_returns_what_is_not_booked(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    await tried.ledger.extend(extended(reservation, 1, used(40), want=100))

    assert await tried.ledger.release("acme", reservation.id) == 100
    assert await tried.ledger.release("acme", reservation.id) == 100

    assert stands(tried) == (50, 0)
    (receipt,) = tried.books.receipts("acme")
    assert (receipt.outcome, receipt.cost_micro_usd, receipt.usage) == (Outcome.RELEASED, 50, used(40))


async def test_a_release_after_the_settlement_returns_nothing(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    await tried.ledger.settle(settled(reservation, used(30)))

    assert await tried.ledger.release("acme", reservation.id) == 0
    assert stands(tried) == (40, 0)


async def test_a_release_of_what_never_was_finds_nothing(tried: Tried) -> None:
    await refused(tried.ledger.release("acme", ReservationId("never-seen")), Reason.RESERVATION_NOT_FOUND)


# Expiry


async def test_an_expired_lease_is_presumed_delivered(tried: Tried) -> None:
    reservation = asked(max_input=10, want=100)
    await tried.ledger.reserve(reservation)
    await tried.ledger.extend(extended(reservation, 1, used(40, input=8), want=100))

    tried.clock.advance(59.999)
    assert await tried.ledger.sweep() == Swept(0, 0)
    tried.clock.advance(0.001)
    assert await tried.ledger.sweep() == Swept(1, 100)

    assert stands(tried) == (148, 0)
    (receipt,) = tried.books.receipts("acme")
    assert receipt.outcome is Outcome.PRESUMED
    assert receipt.usage == Usage(8, 0, 140, UsageSource.PRESUMED)
    assert receipt.cost_micro_usd == 148


async def test_an_extend_renews_the_lease(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    tried.clock.advance(40)
    await tried.ledger.extend(extended(reservation, 1, used(0), want=0))
    tried.clock.advance(40)

    assert await tried.ledger.sweep() == Swept(0, 0)


async def test_any_call_of_the_organisation_closes_its_expired_leases(tried: Tried) -> None:
    await tried.ledger.reserve(asked())
    tried.clock.advance(60)

    await tried.ledger.reserve(asked(principal=BOB))

    assert stands(tried) == (110, 0)


async def test_a_sweep_closes_more_leases_than_one_step_takes(tried: Tried) -> None:
    for _ in range(120):
        await tried.ledger.reserve(asked(max_input=0, want=1))
    tried.clock.advance(60)

    assert await tried.ledger.sweep() == Swept(120, 120)
    assert stands(tried) == (120, 0)


async def test_a_late_settlement_lowers_what_was_presumed_where_it_was_booked(tried: Tried) -> None:
    began = tried.clock.now_ms = ms("2024-02-28T10:59:30")
    reservation = asked()
    await tried.ledger.reserve(reservation)
    tried.clock.advance(90)
    await tried.ledger.sweep()
    await tried.ledger.reserve(asked())

    receipt = await tried.ledger.settle(settled(reservation, used(30)))

    assert (receipt.outcome, receipt.cost_micro_usd, receipt.usage) == (Outcome.CORRECTED, 40, used(30))
    assert stands(tried, at=began) == (40, 0)
    assert stands(tried) == (0, 110)
    assert [each.outcome for each in tried.books.receipts("acme")] == [Outcome.PRESUMED, Outcome.CORRECTED]
    assert await tried.ledger.settle(settled(reservation, used(10))) == receipt


async def test_a_late_settlement_never_raises_what_was_presumed(tried: Tried) -> None:
    reservation = asked(want=100)
    await tried.ledger.reserve(reservation)
    tried.clock.advance(60)

    receipt = await tried.ledger.settle(settled(reservation, used(130)))

    assert (receipt.outcome, receipt.cost_micro_usd, receipt.uncovered_micro_usd) == (Outcome.PRESUMED, 110, 30)
    assert receipt.usage == Usage(10, 0, 100, UsageSource.PRESUMED)  # the input was never counted: its bound
    assert stands(tried) == (110, 0)
    assert len(tried.books.receipts("acme")) == 1


async def test_a_late_settlement_keeps_what_extends_have_booked(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    await tried.ledger.extend(extended(reservation, 1, used(40), want=100))
    tried.clock.advance(60)

    receipt = await tried.ledger.settle(settled(reservation, used(0, input=0)))

    assert receipt.cost_micro_usd == 50
    assert stands(tried) == (50, 0)


async def test_a_late_release_returns_what_was_presumed(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    await tried.ledger.extend(extended(reservation, 1, used(40), want=100))
    tried.clock.advance(60)

    assert await tried.ledger.release("acme", reservation.id) == 100
    assert await tried.ledger.release("acme", reservation.id) == 100

    assert stands(tried) == (50, 0)
    last = tried.books.receipts("acme")[-1]
    assert (last.outcome, last.cost_micro_usd, last.usage) == (Outcome.CORRECTED, 50, used(40))


async def test_a_late_release_also_returns_what_was_used_beyond_the_inputs_bound(tried: Tried) -> None:
    reservation = asked(max_input=10, want=100)
    await tried.ledger.reserve(reservation)
    await tried.ledger.extend(extended(reservation, 1, used(90, input=500), want=100))
    tried.clock.advance(60)

    assert await tried.ledger.release("acme", reservation.id) == 580
    assert stands(tried) == (110, 0)


async def test_a_closed_reservation_is_remembered_for_a_day(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    receipt = await tried.ledger.settle(settled(reservation, used(30)))

    tried.clock.advance(24 * 3_600 - 0.001)
    assert await tried.ledger.settle(settled(reservation, used(30))) == receipt
    tried.clock.advance(0.001)
    await refused(tried.ledger.settle(settled(reservation, used(30))), Reason.RESERVATION_NOT_FOUND)


# Time


async def test_a_clock_that_steps_back_opens_no_window_anew(tried: Tried) -> None:
    tried.clock.now_ms = ms("2024-03-01T00:00:05")
    await limit(tried.ledger, 1_010, window=Window.MONTH)
    await spend(tried, 1_010)
    tried.clock.now_ms = ms("2024-02-29T23:59:55")

    error = await refused(tried.ledger.reserve(asked()), Reason.BUDGET_EXCEEDED)

    assert error.retry_after_seconds == 31 * 86_400 - 5


async def test_a_new_window_begins_with_nothing_spent(tried: Tried) -> None:
    tried.clock.now_ms = ms("2024-02-28T10:59:00")
    await limit(tried.ledger, 1_010)
    first = asked(want=1_000)
    await tried.ledger.reserve(first)
    await tried.ledger.settle(settled(first, used(1_000)))
    error = await refused(tried.ledger.reserve(asked()), Reason.BUDGET_EXCEEDED)
    assert error.retry_after_seconds is not None

    tried.clock.advance(error.retry_after_seconds)

    assert (await tried.ledger.reserve(asked(want=1_000))).whole


# Usage and limits


async def test_usage_says_where_each_limit_stands(tried: Tried) -> None:
    await limit(tried.ledger, 5_000)
    await limit(tried.ledger, 9_000, account=ORGANISATION, window=Window.MONTH)
    await limit(tried.ledger, 7_000, account=Account(Scope.KEY, "bob"))
    first, second = asked(), asked(most=100)
    await tried.ledger.reserve(first)
    await tried.ledger.settle(settled(first, used(30)))
    await tried.ledger.reserve(second)

    assert await tried.ledger.usage(ADA) == (
        BudgetState(Limit(KEY, Window.HOUR, 5_000), 40, 110, ms("2024-02-28T11:00:00") // 1000),
        BudgetState(Limit(ORGANISATION, Window.MONTH, 9_000), 40, 110, ms("2024-03-01T00:00:00") // 1000),
    )


async def test_a_limit_set_in_the_middle_of_a_window_knows_what_was_spent_before(tried: Tried) -> None:
    first = asked()
    await tried.ledger.reserve(first)
    await tried.ledger.settle(settled(first, used(990)))
    await limit(tried.ledger, 1_500, window=Window.DAY)

    (state,) = await tried.ledger.usage(ADA)

    assert state.used == 110  # as much as its lease covered


async def test_a_limit_is_added_only_where_there_is_none(tried: Tried) -> None:
    first, second = Limit(KEY, Window.HOUR, 5), Limit(KEY, Window.HOUR, 6)

    assert await tried.ledger.add_limit("acme", first)
    assert not await tried.ledger.add_limit("acme", second)
    assert await tried.ledger.limits("acme") == (first,)

    await tried.ledger.put_limit("acme", second)
    assert await tried.ledger.limits("acme") == (second,)
    assert await tried.ledger.limits("umbrella") == ()


# Administration


async def test_a_limit_that_is_set_says_where_it_stands(tried: Tried) -> None:
    reservation = asked()
    await tried.ledger.reserve(reservation)
    await tried.ledger.settle(settled(reservation, used(5)))
    await tried.ledger.reserve(asked())

    state = await tried.ledger.put_limit("acme", Limit(KEY, Window.HOUR, 5_000))

    ends = ms("2024-02-28T11:00:00") // 1_000
    assert state == BudgetState(Limit(KEY, Window.HOUR, 5_000), 15, 110, ends)
    assert await tried.ledger.states("acme") == (state,)
    assert (await tried.ledger.put_limit("acme", Limit(KEY, Window.HOUR, 7))).limit.most == 7


async def test_every_limit_of_the_organisation_is_listed_and_none_of_another(tried: Tried) -> None:
    # More than one answer of a script can hold.
    accounts = (ORGANISATION, *(Account(Scope.KEY, f"key-{number}") for number in range(500)))
    given = {Limit(account, window, 9) for account in accounts for window in WINDOWS}
    for each in given:
        await tried.ledger.add_limit("acme", each)
    await tried.ledger.add_limit("other", Limit(ORGANISATION, Window.DAY, 1))

    states = await tried.ledger.states("acme")

    assert {each.limit for each in states} == given
    assert len(states) == len(given)
    assert [each.limit for each in await tried.ledger.states("other")] == [Limit(ORGANISATION, Window.DAY, 1)]
    assert await tried.ledger.states("nobody") == ()


async def test_a_limit_that_is_removed_refuses_no_more_and_only_it_is_removed(tried: Tried) -> None:
    await limit(tried.ledger, 1)
    await limit(tried.ledger, HUGE, window=Window.DAY)
    await tried.ledger.put_limit("other", Limit(KEY, Window.HOUR, 1))
    await refused(tried.ledger.reserve(asked()), Reason.BUDGET_EXCEEDED)

    assert await tried.ledger.remove_limit("acme", LimitName(KEY, Window.HOUR))
    assert not await tried.ledger.remove_limit("acme", LimitName(KEY, Window.HOUR))

    await tried.ledger.reserve(asked())
    assert [each.limit.window for each in await tried.ledger.states("acme")] == [Window.DAY]
    assert len(await tried.ledger.states("other")) == 1


async def booked(tried: Tried, many: int, *, principal: Principal = ADA) -> list[Receipt]:
    """So many receipts, a minute apart, the newest first."""
    receipts = []
    for _ in range(many):
        tried.clock.advance(60)
        reservation = asked(principal=principal)
        await tried.ledger.reserve(reservation)
        receipts.append(await tried.ledger.settle(settled(reservation, used(5))))
    return receipts[::-1]


async def test_receipts_are_listed_the_newest_first(tried: Tried) -> None:
    receipts = await booked(tried, 3)
    await booked(tried, 1, principal=replace(ADA, organisation="other"))

    page = await tried.ledger.list_receipts(ReceiptQuery("acme"))

    assert (list(page.receipts), page.next_page_token) == (receipts, "")
    assert await tried.ledger.list_receipts(ReceiptQuery("nobody")) == ReceiptPage((), "")


async def test_pages_miss_nothing_and_repeat_nothing_while_the_ledger_grows(tried: Tried) -> None:
    receipts = await booked(tried, 7)

    pages = [await tried.ledger.list_receipts(ReceiptQuery("acme", page_size=3))]
    while pages[-1].next_page_token:
        await booked(tried, 1)
        query = ReceiptQuery("acme", page_size=3, page_token=pages[-1].next_page_token)
        pages.append(await tried.ledger.list_receipts(query))

    assert [len(each.receipts) for each in pages] == [3, 3, 1]
    assert [each for page in pages for each in page.receipts] == receipts


async def test_the_receipts_of_a_request_are_found_the_corrected_one_first(tried: Tried) -> None:
    await booked(tried, 2)
    reservation = asked()
    await tried.ledger.reserve(reservation)
    tried.clock.advance(61)
    await tried.ledger.sweep()
    await booked(tried, 2)
    await tried.ledger.settle(settled(reservation, used(5)))

    page = await tried.ledger.list_receipts(ReceiptQuery("acme", request_id=reservation.request_id))

    assert [each.outcome for each in page.receipts] == [Outcome.CORRECTED, Outcome.PRESUMED]
    assert page.next_page_token == ""


async def test_the_receipts_of_a_request_come_in_pages_too(tried: Tried) -> None:
    others = await booked(tried, 3)
    attempts = [replace(asked(), request_id="one") for _ in range(3)]
    for each in attempts:
        await tried.ledger.reserve(each)
        await tried.ledger.settle(settled(each, used(5)))
        await booked(tried, 1)
    query = ReceiptQuery("acme", request_id="one", page_size=2)

    first = await tried.ledger.list_receipts(query)
    second = await tried.ledger.list_receipts(replace(query, page_token=first.next_page_token))

    found = [each.reservation_id for page in (first, second) for each in page.receipts]
    assert found == [each.id for each in reversed(attempts)]
    assert second.next_page_token == ""
    assert await tried.ledger.list_receipts(replace(query, request_id="nobody's")) == ReceiptPage((), "")
    late = others[0].booked_at_seconds + 1
    assert await tried.ledger.list_receipts(
        ReceiptQuery("acme", request_id=others[0].request_id, since_seconds=late)
    ) == ReceiptPage((), "")


async def test_receipts_that_are_older_than_asked_for_are_left_out(tried: Tried) -> None:
    receipts = await booked(tried, 5)
    since = receipts[2].booked_at_seconds

    page = await tried.ledger.list_receipts(ReceiptQuery("acme", since_seconds=since))
    one = await tried.ledger.list_receipts(ReceiptQuery("acme", since_seconds=since, page_size=1))

    assert list(page.receipts) == receipts[:3]
    assert one.receipts == (receipts[0],)
