"""What a limit may be."""

from __future__ import annotations

import pytest

from services.budget.domain.limits import Account, Kind, Limit, Principal, Scope
from services.budget.domain.money import MAX_LIMIT
from services.budget.domain.windows import Window


@pytest.mark.parametrize("most", [0, MAX_LIMIT])
def test_a_limit_within_what_the_ledger_can_count_is_fine(most: int) -> None:
    assert Limit(Account(Scope.KEY, "ci"), Window.HOUR, most).most == most


@pytest.mark.parametrize("most", [-1, MAX_LIMIT + 1])
def test_a_limit_beyond_what_the_ledger_can_count_is_refused(most: int) -> None:
    with pytest.raises(ValueError, match=f"a limit of {most}: give 0 to 1000000000000000"):
        Limit(Account(Scope.KEY, "ci"), Window.HOUR, most)


@pytest.mark.parametrize("window", set(Window) - {Window.TOTAL})
def test_open_requests_are_counted_over_no_time(window: Window) -> None:
    with pytest.raises(ValueError, match=rf"a limit of concurrency by {window}: .* give the window total"):
        Limit(Account(Scope.ORGANISATION), window, 1, Kind.CONCURRENCY)


def test_a_request_counts_for_whom_its_key_names_and_for_the_organisation() -> None:
    whole = Principal(key_id="ci", organisation="acme", user="ada", team="ops")
    assert [str(each) for each in whole.accounts()] == ["key:ci", "user:ada", "team:ops", "organisation:"]
    bare = Principal(key_id="ci", organisation="acme")
    assert [str(each) for each in bare.accounts()] == ["key:ci", "organisation:"]
