"""The short form of `make chaos-money`, and that it sees an overspend where there is one."""

from __future__ import annotations

import pytest

from services.budget.adapters.redis_ledger import lua
from tests.chaos.asking import LEFT, REFUSED, WHOLE
from tests.chaos.mutant import unchecked
from tests.chaos.report import Report
from tests.chaos.run import chaos, short

pytestmark = [pytest.mark.processes, pytest.mark.chaos]


async def test_nobody_overspends_whatever_is_killed_or_frozen() -> None:
    verdict = await chaos(short())
    assert verdict.holds, str(Report(verdict))
    assert verdict.evidence.endings[WHOLE] > 20, str(Report(verdict))
    assert verdict.evidence.endings[REFUSED], "the money has to run out"
    assert verdict.evidence.endings[LEFT], str(Report(verdict))


async def test_without_the_check_of_limits_the_same_run_is_an_overspend() -> None:
    verdict = await chaos(short(), checked=False)
    assert verdict.overspend > 0, str(Report(verdict))
    assert verdict.passed > 0, str(Report(verdict))
    assert verdict.unequal == verdict.unpaid == verdict.reserved == 0, "nothing else is taken away"


def test_the_mutant_lacks_the_check_alone() -> None:
    mutant = unchecked(lua)
    for name in ("reserve", "extend", "settle", "counters", "reservations", "organisation"):
        assert mutant(name) == lua(name)
    assert mutant("limits").replace("\n  do return nil end", "") == lua("limits")
