"""What a limit may be."""

from __future__ import annotations

import pytest

from services.budget.domain.limits import Account, Limit, Scope
from services.budget.domain.money import MAX_LIMIT_MICRO_USD
from services.budget.domain.windows import Window


@pytest.mark.parametrize("most", [0, MAX_LIMIT_MICRO_USD])
def test_a_limit_within_what_the_ledger_can_count_is_fine(most: int) -> None:
    assert Limit(Account(Scope.KEY, "ci"), Window.HOUR, most).limit_micro_usd == most


@pytest.mark.parametrize("most", [-1, MAX_LIMIT_MICRO_USD + 1])
def test_a_limit_beyond_what_the_ledger_can_count_is_refused(most: int) -> None:
    with pytest.raises(ValueError, match=f"a limit of {most} micro-dollars: give 0 to 1000000000000000"):
        Limit(Account(Scope.KEY, "ci"), Window.HOUR, most)
