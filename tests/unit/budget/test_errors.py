"""What a refusal tells its reader."""

from __future__ import annotations

import pytest

from services.budget.domain.errors import budget_exceeded, budget_unavailable
from services.budget.domain.limits import Account, BudgetState, Kind, Limit, Scope
from services.budget.domain.windows import Window

AT_ONE = 1_709_211_600  # 2024-02-29T13:00:00Z
CI, ALL, MONEY = Account(Scope.KEY, "ci"), Account(Scope.ORGANISATION), Kind.MONEY


@pytest.mark.parametrize(
    ("state", "need", "frees_after_seconds", "message"),
    [
        (
            BudgetState(Limit(CI, Window.MINUTE, 60, Kind.REQUESTS), 60, 0, None),
            1,
            11.2,
            "key ci: 60 of 60 requests in this minute; next in 12 s",
        ),
        (
            BudgetState(Limit(Account(Scope.TEAM, "ops"), Window.TOTAL, 4, Kind.CONCURRENCY), 0, 4, None),
            1,
            1,
            "team ops: 4 of 4 requests are open at once; next in 1 s",
        ),
        (
            BudgetState(Limit(ALL, Window.DAY, 9_000, Kind.OUTPUT_TOKENS), 8_000, 900, None),
            512,
            77,
            (
                "organisation: 8900 of 9000 output tokens in this day (900 of it reserved by open requests), and this"
                " request needs 512; next in 77 s"
            ),
        ),
        (
            BudgetState(Limit(CI, Window.HOUR, 1_000_000, MONEY), 945_000, 5_000, AT_ONE),
            60_000,
            3_599.5,
            (
                "key ci: $0.95 of $1.00 spent in this hour ($0.005 of it reserved by open requests), and this request"
                " needs $0.06; the hour ends at 2024-02-29T13:00:00Z; ask for fewer tokens or try again then"
            ),
        ),
        (
            BudgetState(Limit(CI, Window.HOUR, 1_000_000, MONEY), 900_000, 50_000, AT_ONE),
            100_000,
            1,
            (
                "key ci: $0.95 of $1.00 spent in this hour ($0.05 of it reserved by open requests), and this request"
                " needs $0.10; open requests may give some of that back: try again in 1 s"
            ),
        ),
        (
            BudgetState(Limit(ALL, Window.TOTAL, 1_000_000, MONEY), 999_999, 0, None),
            60,
            None,
            (
                "organisation: $0.999999 of $1.00 spent in total, and this request needs $0.00006; nothing will free"
                " it: ask for fewer tokens or have the limit raised"
            ),
        ),
        (
            BudgetState(Limit(ALL, Window.TOTAL, 1_000_000, MONEY), 1_000_000, 0, None),
            60,
            None,
            (
                "organisation: $1.00 of $1.00 spent in total, and this request needs $0.00006; nothing will free"
                " it: have the limit raised"
            ),
        ),
        (
            BudgetState(Limit(CI, Window.MONTH, 60, Kind.REQUESTS), 60, 0, None),
            1,
            2_623_283.2,
            "key ci: 60 of 60 requests in this month; next in 30 days, 8:41:24",
        ),
        (
            BudgetState(Limit(CI, Window.MINUTE, 100, Kind.INPUT_TOKENS), 0, 0, None),
            101,
            None,
            (
                "key ci: 0 of 100 input tokens in this minute, and this request needs 101; it can never fit: ask for"
                " fewer tokens or have the limit raised"
            ),
        ),
        (
            BudgetState(Limit(CI, Window.DAY, 0, Kind.REQUESTS), 0, 0, None),
            1,
            None,
            "key ci: 0 of 0 requests in this day; a limit of 0 lets nothing through: have it raised",
        ),
    ],
)
def test_a_refusal_says_whose_limit_it_is_what_stands_what_was_needed_and_what_to_do(
    state: BudgetState, need: int, frees_after_seconds: float | None, message: str
) -> None:
    error = budget_exceeded(state, need=need, frees_after_seconds=frees_after_seconds)

    assert error.message == message
    assert error.retry_after_seconds == frees_after_seconds


def test_an_outage_may_be_tried_again_soon() -> None:
    assert budget_unavailable("Redis is away").retry_after_seconds == 1
