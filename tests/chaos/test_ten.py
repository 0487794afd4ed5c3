"""The rows of `make probe-money`: two hundred at once, and money for ten."""

from __future__ import annotations

import pytest

from tests.chaos.row import AT_ONCE, ROWS, TEN
from tests.chaos.ten import ten
from tests.chaos.told import table

pytestmark = [pytest.mark.processes, pytest.mark.chaos]


async def test_money_for_ten_is_ten_answers_however_they_are_asked_for() -> None:
    results = await ten(ROWS)
    faults = {row.name: found for row, told in results if (found := list(told.faults(row)))}
    assert not faults, table(results)
    told = {row.name: each for row, each in results}
    for name in ("exact, Generate", "exact, streamed"):
        assert (told[name].whole, told[name].refused, told[name].idle) == (TEN, AT_ONCE - TEN, 0), table(results)
