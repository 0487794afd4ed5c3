"""What a refusal tells its reader."""

from __future__ import annotations

from services.budget.domain.errors import budget_exceeded, budget_unavailable
from services.budget.domain.limits import Account, BudgetState, Limit, Scope
from services.budget.domain.windows import Window

AT_NOON = 1_709_208_000  # 2024-02-29T12:00:00Z


def test_a_refusal_says_what_stands_what_was_needed_and_what_to_do() -> None:
    state = BudgetState(Limit(Account(Scope.KEY, "ci"), Window.HOUR, 1_000), 900, 50, AT_NOON + 3_600)

    error = budget_exceeded(state, need_micro_usd=60, now_seconds=AT_NOON + 0.5)

    assert error.message == (
        "the budget of the key ci for this hour is exceeded: 900 micro-dollars are spent and 50 reserved of 1000, and"
        " this request needs 60; the window ends at 2024-02-29T13:00:00Z; ask for fewer tokens or try again then"
    )
    assert error.retry_after_seconds == 3_599.5


def test_a_limit_that_never_resets_has_no_time_to_retry() -> None:
    state = BudgetState(Limit(Account(Scope.ORGANISATION), Window.TOTAL, 1_000), 900, 50, None)

    error = budget_exceeded(state, need_micro_usd=60, now_seconds=AT_NOON)

    assert error.retry_after_seconds is None
    assert "the budget of the organisation in total is exceeded" in error.message
    assert "wait for open requests to end" in error.message


def test_an_outage_may_be_tried_again_soon() -> None:
    assert budget_unavailable("Redis is away").retry_after_seconds == 1
