"""What every Ledger keeps of limits of every scope, kind and window; its money is in test_ledger.py."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from libs.errors import Reason, TokenwayError
from libs.money import Price
from services.budget.domain.limits import Account, BudgetState, Kind, Limit, LimitName, Principal, Scope, why_uncounted
from services.budget.domain.ports import Ledger
from services.budget.domain.receipt import Outcome
from services.budget.domain.windows import SLIDING_SECONDS, Window
from tests.contract.ledgers import Tried, ms
from tests.contract.test_ledger import (
    ADA,
    HUGE,
    KEY,
    ORGANISATION,
    asked,
    extended,
    limit,
    refused,
    settled,
    stands,
    used,
)

FREE = Price(0, 0, 0)
USER, TEAM = Account(Scope.USER, "ada.l"), Account(Scope.TEAM, "compilers")
RATES = (Kind.REQUESTS, Kind.INPUT_TOKENS, Kind.OUTPUT_TOKENS)
SLIDING = (Window.MINUTE, Window.HOUR, Window.DAY, Window.MONTH)
COUNTED = [(kind, window) for kind in Kind for window in Window if not why_uncounted(kind, window)]


async def answered(tried: Tried, *, output: int = 50, principal: Principal = ADA) -> None:
    """A request of 10 tokens in and so many out, from its beginning to its end."""
    reservation = asked(principal=principal)
    await tried.ledger.reserve(reservation)
    await tried.ledger.settle(settled(reservation, used(output)))


async def exceeded(ledger: Ledger, **fields: object) -> TokenwayError:
    """The refusal of a request for 10 tokens in and at most 1,000 out."""
    return await refused(ledger.reserve(asked(**fields)), Reason.BUDGET_EXCEEDED)  # type: ignore[arg-type]


# Scopes


@pytest.mark.parametrize(("kind", "window"), COUNTED)
@pytest.mark.parametrize("account", [KEY, USER, TEAM, ORGANISATION], ids=str)
async def test_a_limit_of_any_scope_kind_and_window_refuses_and_says_which(
    tried: Tried, account: Account, kind: Kind, window: Window
) -> None:
    # As much as the first takes and the second does not find any more.
    most = {Kind.MONEY: 1_500, Kind.INPUT_TOKENS: 15, Kind.OUTPUT_TOKENS: 1_500}.get(kind, 1)
    await limit(tried.ledger, most, account=account, window=window, kind=kind)
    await tried.ledger.reserve(asked(want=1_000))

    error = await exceeded(tried.ledger)

    taken = {Kind.MONEY: (0, 1_010), Kind.INPUT_TOKENS: (0, 10), Kind.OUTPUT_TOKENS: (0, 1_000)}
    taken |= {Kind.REQUESTS: (1, 0), Kind.CONCURRENCY: (0, 1)}
    needed = {Kind.MONEY: 1_010, Kind.INPUT_TOKENS: 10, Kind.OUTPUT_TOKENS: 1_000}.get(kind, 1)
    assert error.metadata == {
        "scope": account.scope,
        "subject": account.subject,
        "window": window,
        "kind": kind,
        "limit": str(most),
        "used": str(taken[kind][0]),
        "reserved": str(taken[kind][1]),
        "needed": str(needed),
    }
    assert stands(tried, account=account, window=window, kind=kind) == taken[kind]


async def test_all_keys_of_a_user_and_of_a_team_share_its_limit(tried: Tried) -> None:
    await limit(tried.ledger, 2, account=USER, window=Window.MINUTE, kind=Kind.REQUESTS)
    await limit(tried.ledger, 3, account=TEAM, window=Window.MINUTE, kind=Kind.REQUESTS)
    await answered(tried)
    await answered(tried, principal=replace(ADA, key_id="second", team=""))
    await answered(tried, principal=replace(ADA, key_id="third", user="bob"))

    of_user = await exceeded(tried.ledger, principal=replace(ADA, key_id="second", team="other"))
    await answered(tried, principal=replace(ADA, key_id="third", user="", team="compilers"))
    of_team = await exceeded(tried.ledger, principal=replace(ADA, key_id="third", user=""))

    assert [(each.metadata["scope"], each.metadata["subject"]) for each in (of_user, of_team)] == [
        ("user", "ada.l"),
        ("team", "compilers"),
    ]


async def test_a_key_without_user_and_team_is_counted_for_none(tried: Tried) -> None:
    await limit(tried.ledger, 0, account=Account(Scope.USER, "ada.l"))
    await limit(tried.ledger, 0, account=Account(Scope.TEAM, "compilers"))

    await answered(tried, principal=replace(ADA, user="", team=""))

    assert stands(tried, account=USER) == stands(tried, account=TEAM) == (0, 0)


async def test_a_user_of_another_organisation_is_another(tried: Tried) -> None:
    await limit(tried.ledger, 1, account=USER, window=Window.DAY, kind=Kind.REQUESTS)
    await answered(tried)

    await answered(tried, principal=replace(ADA, organisation="umbrella"))

    await exceeded(tried.ledger)


async def test_of_many_limits_one_refuses_and_nothing_is_reserved_anywhere(tried: Tried) -> None:
    for account in (KEY, USER, TEAM, ORGANISATION):
        for kind, window in COUNTED:
            await limit(tried.ledger, HUGE, account=account, window=window, kind=kind)
    await limit(tried.ledger, 9, account=TEAM, window=Window.DAY, kind=Kind.INPUT_TOKENS)

    error = await exceeded(tried.ledger)

    assert (error.metadata["scope"], error.metadata["kind"]) == ("team", "input_tokens")
    for account in (KEY, USER, TEAM, ORGANISATION):
        for kind, window in COUNTED:
            assert stands(tried, account=account, window=window, kind=kind) == (0, 0)


# Money by the minute and in total


async def test_money_in_total_is_counted_before_there_is_a_limit_and_never_frees(tried: Tried) -> None:
    await answered(tried, output=90)
    tried.clock.advance(400 * 86_400)
    await limit(tried.ledger, 1_050, window=Window.TOTAL)

    error = await exceeded(tried.ledger)

    assert (error.metadata["used"], error.retry_after_seconds) == ("100", None)
    assert error.message == (
        "key ada: $0.0001 of $0.00105 spent in total, and this request needs $0.00101; nothing will free it: ask for"
        " fewer tokens or have the limit raised"
    )


async def test_money_in_total_that_is_only_reserved_may_come_back_at_any_moment(tried: Tried) -> None:
    await limit(tried.ledger, 1_010, window=Window.TOTAL)
    first = asked()
    await tried.ledger.reserve(first)

    error = await exceeded(tried.ledger)
    await tried.ledger.release("acme", first.id)

    assert error.retry_after_seconds == 1
    await tried.ledger.reserve(asked())


async def test_a_minute_of_money_ends_with_the_clocks_and_is_counted_from_its_limit_on(tried: Tried) -> None:
    tried.clock.now_ms = ms("2024-02-29T23:59:20")
    await answered(tried, output=90)
    await limit(tried.ledger, 1_050, window=Window.MINUTE)
    await answered(tried, output=90)

    error = await exceeded(tried.ledger)
    tried.clock.advance(40)

    assert (error.metadata["used"], error.retry_after_seconds) == ("100", 40)
    await tried.ledger.reserve(asked())


# Sliding windows


@pytest.mark.parametrize("window", SLIDING)
async def test_an_edge_of_the_calendar_does_not_double_a_rate(tried: Tried, window: Window) -> None:
    tried.clock.now_ms = ms("2024-02-29T23:59:59")
    await limit(tried.ledger, 2, window=window, kind=Kind.REQUESTS)
    await answered(tried)
    await answered(tried)

    tried.clock.advance(2)

    await exceeded(tried.ledger)


@pytest.mark.parametrize("window", SLIDING)
async def test_a_request_leaves_the_window_at_its_length_and_at_most_a_60th_later(tried: Tried, window: Window) -> None:
    length = SLIDING_SECONDS[window]
    began = tried.clock.now_ms
    await limit(tried.ledger, 1, window=window, kind=Kind.REQUESTS)
    await answered(tried)

    error = await exceeded(tried.ledger)
    assert error.retry_after_seconds is not None
    assert length < error.retry_after_seconds <= length * 61 / 60
    tried.clock.now_ms = began + int(error.retry_after_seconds * 1000) - 1
    await exceeded(tried.ledger)
    tried.clock.advance(0.001)

    await answered(tried)


async def test_a_refusal_says_when_enough_has_left_and_no_sooner(tried: Tried) -> None:
    tried.clock.now_ms = ms("2024-02-28T10:00:00")
    await limit(tried.ledger, 1_300, window=Window.MINUTE, kind=Kind.OUTPUT_TOKENS)
    for _ in range(3):
        await answered(tried, output=100)
        tried.clock.advance(10)

    # 300 are used, 200 of them must leave: those of the seconds 0 and 10.
    error = await exceeded(tried.ledger, most=1_200)

    assert error.retry_after_seconds == 10 + 61 - 30
    assert error.message == (
        "key ada: 300 of 1300 output tokens in this minute, and this request needs 1200; next in 41 s"
    )
    tried.clock.advance(41)
    assert (await tried.ledger.reserve(asked(want=1_200, most=1_200))).whole


async def test_what_is_only_reserved_of_a_rate_may_come_back_at_any_moment(tried: Tried) -> None:
    await limit(tried.ledger, 1_500, window=Window.HOUR, kind=Kind.OUTPUT_TOKENS)
    first = asked()
    await tried.ledger.reserve(first)

    error = await exceeded(tried.ledger)
    await tried.ledger.release("acme", first.id)

    assert error.retry_after_seconds == 1
    assert stands(tried, kind=Kind.OUTPUT_TOKENS) == (0, 0)


async def test_a_rate_that_can_never_fit_says_no_time(tried: Tried) -> None:
    await limit(tried.ledger, 999, window=Window.MINUTE, kind=Kind.OUTPUT_TOKENS)

    error = await exceeded(tried.ledger)

    assert error.retry_after_seconds is None
    assert "it can never fit" in error.message


async def test_a_counter_that_nobody_looked_at_for_long_starts_from_nothing(tried: Tried) -> None:
    await limit(tried.ledger, 1, window=Window.MINUTE, kind=Kind.REQUESTS)
    for _ in range(3):
        await answered(tried)
        await exceeded(tried.ledger)
        tried.clock.advance(5 * 3_600)

    assert stands(tried, window=Window.MINUTE, kind=Kind.REQUESTS) == (0, 0)


# Requests


async def test_a_request_is_counted_once_whatever_becomes_of_it(tried: Tried) -> None:
    await limit(tried.ledger, 9, kind=Kind.REQUESTS)
    settled_one, released, expired = asked(), asked(), asked()
    for each in (settled_one, released, expired, settled_one, released, expired):
        await tried.ledger.reserve(each)
    await tried.ledger.settle(settled(settled_one, used(5)))
    await tried.ledger.release("acme", released.id)
    tried.clock.advance(61)
    await tried.ledger.sweep()
    await tried.ledger.release("acme", expired.id)

    assert stands(tried, kind=Kind.REQUESTS) == (3, 0)


async def test_a_fallback_is_the_same_request(tried: Tried) -> None:
    await limit(tried.ledger, 1, kind=Kind.REQUESTS)
    await limit(tried.ledger, 1, window=Window.TOTAL, kind=Kind.CONCURRENCY)
    first, second = asked(), asked()
    await tried.ledger.reserve(first)

    await tried.ledger.reserve(replace(second, replaces=first.id))

    assert stands(tried, kind=Kind.REQUESTS) == (1, 0)
    assert stands(tried, window=Window.TOTAL, kind=Kind.CONCURRENCY) == (0, 1)
    await tried.ledger.settle(settled(second, used(5)))
    assert stands(tried, window=Window.TOTAL, kind=Kind.CONCURRENCY) == (0, 0)


async def test_a_fallback_after_the_lease_has_run_out_is_still_the_same_request(tried: Tried) -> None:
    await limit(tried.ledger, 1, kind=Kind.REQUESTS)
    await limit(tried.ledger, 1, window=Window.TOTAL, kind=Kind.CONCURRENCY)
    first = asked()
    await tried.ledger.reserve(first)
    tried.clock.advance(60)

    await tried.ledger.reserve(asked(replaces=first.id))

    assert stands(tried, kind=Kind.REQUESTS) == (1, 0)
    assert stands(tried, window=Window.TOTAL, kind=Kind.CONCURRENCY) == (0, 1)


async def test_to_replace_what_never_was_is_a_request(tried: Tried) -> None:
    await limit(tried.ledger, 1, kind=Kind.REQUESTS)
    await tried.ledger.reserve(asked(replaces=asked().id))

    await exceeded(tried.ledger, replaces=asked().id)


# Tokens


async def test_tokens_are_booked_when_they_are_used_and_the_rest_comes_back(tried: Tried) -> None:
    await limit(tried.ledger, HUGE, kind=Kind.INPUT_TOKENS)
    await limit(tried.ledger, HUGE, kind=Kind.OUTPUT_TOKENS)
    reservation = asked(max_input=50, want=100)
    await tried.ledger.reserve(reservation)
    assert stands(tried, kind=Kind.INPUT_TOKENS) == (0, 50)
    assert stands(tried, kind=Kind.OUTPUT_TOKENS) == (0, 100)

    # The bound of the input stands until it is counted.
    await tried.ledger.extend(extended(reservation, 1, used(0, input=0), want=100))
    assert stands(tried, kind=Kind.INPUT_TOKENS) == (0, 50)
    await tried.ledger.extend(extended(reservation, 2, used(90, input=20), want=100))
    assert stands(tried, kind=Kind.INPUT_TOKENS) == (20, 0)
    assert stands(tried, kind=Kind.OUTPUT_TOKENS) == (90, 100)

    await tried.ledger.settle(settled(reservation, used(120, input=20)))
    assert stands(tried, kind=Kind.OUTPUT_TOKENS) == (120, 0)


async def test_an_extend_is_refused_by_a_limit_of_tokens_and_changes_nothing(tried: Tried) -> None:
    reservation = asked(want=100)
    await tried.ledger.reserve(reservation)
    await limit(tried.ledger, 50, kind=Kind.OUTPUT_TOKENS)

    error = await refused(tried.ledger.extend(extended(reservation, 1, used(90))), Reason.BUDGET_EXCEEDED)

    assert error.metadata["kind"] == "output_tokens"
    assert stands(tried, kind=Kind.OUTPUT_TOKENS) == (0, 0)
    assert (await tried.ledger.reserve(reservation)).output_tokens == 100


async def test_what_is_presumed_counts_when_it_is_and_a_late_word_lowers_it_there(tried: Tried) -> None:
    began = tried.clock.now_ms
    await limit(tried.ledger, HUGE, window=Window.MINUTE, kind=Kind.OUTPUT_TOKENS)
    reservation = asked(want=100)
    await tried.ledger.reserve(reservation)
    tried.clock.advance(100)
    await tried.ledger.sweep()
    tried.clock.advance(30)
    assert stands(tried, window=Window.MINUTE, kind=Kind.OUTPUT_TOKENS) == (100, 0)

    await tried.ledger.settle(settled(reservation, used(40)))

    assert stands(tried, window=Window.MINUTE, kind=Kind.OUTPUT_TOKENS) == (40, 0)
    assert stands(tried, window=Window.MINUTE, kind=Kind.OUTPUT_TOKENS, at=began + 160_999) == (40, 0)
    assert stands(tried, window=Window.MINUTE, kind=Kind.OUTPUT_TOKENS, at=began + 161_000) == (0, 0)


async def test_a_late_word_about_what_has_left_the_window_changes_nothing(tried: Tried) -> None:
    await limit(tried.ledger, HUGE, window=Window.MINUTE, kind=Kind.OUTPUT_TOKENS)
    late, later = asked(want=100), asked(want=100)
    await tried.ledger.reserve(late)
    tried.clock.advance(60)
    await tried.ledger.sweep()
    tried.clock.advance(100)
    await tried.ledger.reserve(later)
    await tried.ledger.settle(settled(later, used(70)))

    await tried.ledger.settle(settled(late, used(40)))

    assert stands(tried, window=Window.MINUTE, kind=Kind.OUTPUT_TOKENS) == (70, 0)


async def test_a_free_model_is_counted_in_tokens_too(tried: Tried) -> None:
    await limit(tried.ledger, HUGE, kind=Kind.OUTPUT_TOKENS)
    reservation = asked(want=100, price=FREE)
    await tried.ledger.reserve(reservation)
    tried.clock.advance(60)
    await tried.ledger.sweep()

    receipt = await tried.ledger.settle(settled(reservation, used(40)))

    assert stands(tried, kind=Kind.OUTPUT_TOKENS) == (40, 0)
    assert (receipt.outcome, receipt.cost_micro_usd, receipt.usage.output_tokens) == (Outcome.CORRECTED, 0, 40)


# Concurrency


async def test_a_request_is_open_until_it_is_closed_however_it_ends(tried: Tried) -> None:
    await limit(tried.ledger, 3, window=Window.TOTAL, kind=Kind.CONCURRENCY)
    settled_one, released, expired = asked(), asked(), asked()
    for each in (settled_one, released, expired):
        await tried.ledger.reserve(each)

    error = await exceeded(tried.ledger)
    assert error.retry_after_seconds == 1
    assert error.message == "key ada: 3 of 3 requests are open at once; next in 1 s"

    await tried.ledger.settle(settled(settled_one, used(5)))
    await tried.ledger.release("acme", released.id)
    assert stands(tried, window=Window.TOTAL, kind=Kind.CONCURRENCY) == (0, 1)
    await tried.ledger.extend(extended(expired, 1, used(5)))
    assert stands(tried, window=Window.TOTAL, kind=Kind.CONCURRENCY) == (0, 1)
    tried.clock.advance(60)
    await tried.ledger.sweep()
    assert stands(tried, window=Window.TOTAL, kind=Kind.CONCURRENCY) == (0, 0)


async def test_a_limit_of_no_concurrency_never_frees(tried: Tried) -> None:
    await limit(tried.ledger, 0, window=Window.TOTAL, kind=Kind.CONCURRENCY)

    assert (await exceeded(tried.ledger)).retry_after_seconds is None


async def test_a_new_limit_of_concurrency_ends_no_request_that_is_open(tried: Tried) -> None:
    first = asked()
    await tried.ledger.reserve(first)
    await limit(tried.ledger, 0, window=Window.TOTAL, kind=Kind.CONCURRENCY)

    await tried.ledger.extend(extended(first, 1, used(50)))
    await tried.ledger.reserve(asked(replaces=first.id))

    assert stands(tried, window=Window.TOTAL, kind=Kind.CONCURRENCY) == (0, 0)


async def test_of_200_at_once_exactly_as_many_are_open_as_may_be(tried: Tried) -> None:
    await limit(tried.ledger, 7, window=Window.TOTAL, kind=Kind.CONCURRENCY)

    answers = await asyncio.gather(*(tried.ledger.reserve(asked()) for _ in range(200)), return_exceptions=True)

    assert sum(not isinstance(each, BaseException) for each in answers) == 7


# Limits that come and go


@pytest.mark.parametrize(("kind", "window"), COUNTED)
async def test_what_was_reserved_before_a_limit_was_set_or_after_it_was_deleted_is_given_back_where_it_was(
    tried: Tried, kind: Kind, window: Window
) -> None:
    before, during, after = asked(), asked(), asked()
    await tried.ledger.reserve(before)
    await limit(tried.ledger, HUGE, window=window, kind=kind)
    await tried.ledger.reserve(during)
    await tried.ledger.remove_limit("acme", LimitName(KEY, window, kind))
    await tried.ledger.reserve(after)
    await limit(tried.ledger, HUGE, window=window, kind=kind)
    for each in (before, during, after):
        await tried.ledger.settle(settled(each, used(90)))

    always = kind is Kind.MONEY and window is not Window.MINUTE
    once = {Kind.MONEY: 100, Kind.INPUT_TOKENS: 10, Kind.OUTPUT_TOKENS: 90, Kind.REQUESTS: 1, Kind.CONCURRENCY: 0}
    assert stands(tried, window=window, kind=kind) == (once[kind] * (3 if always else 1), 0)


async def test_the_tokens_of_a_stream_count_for_a_limit_from_the_next_extend_on(tried: Tried) -> None:
    reservation = asked(want=100)
    await tried.ledger.reserve(reservation)
    await limit(tried.ledger, HUGE, kind=Kind.OUTPUT_TOKENS)

    await tried.ledger.extend(extended(reservation, 1, used(60), want=100))
    await tried.ledger.settle(settled(reservation, used(150)))

    assert stands(tried, kind=Kind.OUTPUT_TOKENS) == (90, 0)


# Soft limits


async def test_a_soft_limit_warns_of_each_request_beyond_it_and_refuses_none(tried: Tried) -> None:
    await limit(tried.ledger, 300, soft=True)
    await limit(tried.ledger, 1, kind=Kind.REQUESTS, window=Window.MINUTE, account=TEAM, soft=True)

    first, second, third = [await tried.ledger.reserve(asked()) for _ in range(3)]

    assert first.warnings == ()
    requests = Limit(TEAM, Window.MINUTE, 1, Kind.REQUESTS, soft=True)
    assert second.warnings == (BudgetState(requests, 2, 0, None),)
    ends = ms("2024-02-28T11:00:00") // 1_000
    assert set(third.warnings) == {
        BudgetState(Limit(KEY, Window.HOUR, 300, soft=True), 0, 330, ends),
        BudgetState(requests, 3, 0, None),
    }


async def test_a_repeated_reserve_warns_again(tried: Tried) -> None:
    await limit(tried.ledger, 1, kind=Kind.REQUESTS, soft=True)
    await tried.ledger.reserve(asked())
    reservation = asked()

    first, again = [await tried.ledger.reserve(reservation) for _ in range(2)]

    assert len(first.warnings) == 1
    assert again.warnings == first.warnings


async def test_a_soft_limit_stands_beside_a_hard_one(tried: Tried) -> None:
    await limit(tried.ledger, 1, kind=Kind.REQUESTS, soft=True)
    await limit(tried.ledger, 2, kind=Kind.REQUESTS)
    leases = [await tried.ledger.reserve(asked()) for _ in range(2)]

    await exceeded(tried.ledger)

    assert [len(each.warnings) for each in leases] == [0, 1]
    assert {(each.limit.soft, each.used) for each in await tried.ledger.states("acme")} == {(True, 2), (False, 2)}
    assert await tried.ledger.remove_limit("acme", LimitName(KEY, Window.HOUR, Kind.REQUESTS))
    assert not await tried.ledger.remove_limit("acme", LimitName(KEY, Window.HOUR, Kind.REQUESTS))
    await tried.ledger.reserve(asked())
    assert await tried.ledger.remove_limit("acme", LimitName(KEY, Window.HOUR, Kind.REQUESTS, soft=True))
    assert await tried.ledger.states("acme") == ()
