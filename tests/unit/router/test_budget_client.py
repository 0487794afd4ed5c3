"""The budget's client tells a budget that is away from a caller that had no time for it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.money import Usage
from libs.rpc.call import current_deadline
from services.router.adapters.budget_client import BudgetClient
from services.router.domain.answer import Outcome
from services.router.domain.ports import Reservation
from tests.unit.router.asks import PRINCIPAL, TIERS

RESERVATION = Reservation(
    reservation_id="r1",
    request_id="q1",
    principal=PRINCIPAL,
    model=TIERS[0].name,
    price=TIERS[0].price,
    max_input_tokens=10,
    want_output_tokens=10,
    max_output_tokens=10,
)


class Failing:
    """A client whose calls all fail; by default they run out of time."""

    def __init__(self, reason: Reason = Reason.OUT_OF_TIME) -> None:
        self._reason = reason

    async def unary(self, *_: object, **__: object) -> Any:
        raise TokenwayError(self._reason, "failed")


@pytest.mark.parametrize(
    ("callers_seconds", "reason"),
    [(0.2, Reason.OUT_OF_TIME), (60, Reason.BUDGET_UNAVAILABLE), (None, Reason.BUDGET_UNAVAILABLE)],
)
async def test_a_reservation_that_takes_too_long_is_the_budgets_fault_only_if_it_had_its_time(
    callers_seconds: float | None, reason: Reason
) -> None:
    token = current_deadline.set(callers_seconds and time.monotonic() + callers_seconds)
    with pytest.raises(TokenwayError) as caught:
        await BudgetClient(Failing(), timeout_seconds=1).reserve(RESERVATION)  # type: ignore[arg-type]
    current_deadline.reset(token)
    assert caught.value.reason is reason


async def test_a_settlement_has_time_of_its_own_however_late_the_caller_is() -> None:
    token = current_deadline.set(time.monotonic())
    with pytest.raises(TokenwayError) as caught:
        await BudgetClient(Failing(), timeout_seconds=1).settle(  # type: ignore[arg-type]
            RESERVATION, usage=Usage(), outcome=Outcome.DEADLINE, why="only one"
        )
    current_deadline.reset(token)
    assert caught.value.reason is Reason.BUDGET_UNAVAILABLE, "for this the account insists"


@pytest.mark.parametrize("reason", [Reason.SERVICE_UNAVAILABLE, Reason.INTERNAL, Reason.DRAINING, Reason.CANCELLED])
async def test_whatever_keeps_the_budget_from_answering_is_that_it_is_away(reason: Reason) -> None:
    with pytest.raises(TokenwayError) as caught:
        await BudgetClient(Failing(reason), timeout_seconds=1).extend(  # type: ignore[arg-type]
            RESERVATION, seq=1, used=Usage(), want_output_tokens=1
        )
    assert caught.value.reason is Reason.BUDGET_UNAVAILABLE
    assert caught.value.retry_after_seconds
