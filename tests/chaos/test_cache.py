"""The short form of `make chaos-cache`, and that it sees answers that are cut short or stale."""

from __future__ import annotations

import pytest

from tests.chaos.stampede import KINDS
from tests.chaos.stampede_run import mutant_run, whole_run

pytestmark = [pytest.mark.processes, pytest.mark.chaos]
ASKERS = 40
STALE_SECONDS = 3


async def test_nobody_gets_a_wrong_answer_or_waits_for_ever_whatever_is_killed_or_stands_still() -> None:
    # What stands still for seconds is the long form's.
    struck = [each for each in KINDS if "stands still" not in each.name]
    report = await whole_run(rounds=1, askers=ASKERS, stale_seconds=STALE_SECONDS, seed=1, kinds=struck)
    # Beside a busy machine's other work a lease may run out by itself, so generations are the long form's.
    bars = {name: value for name, value in report.bars.items() if name != "generations too many"}
    assert not any(bars.values()), str(report)
    in_peace = [each.generations for each in report.waves if each.kind.name == "nothing"]
    assert in_peace == [1], str(report)
    assert all(each.endings.total() == ASKERS for each in report.waves), str(report)
    assert report.staleness.drops, str(report)


async def test_a_cache_that_takes_lost_answers_for_whole_ones_and_keeps_what_was_dropped_is_seen() -> None:
    struck = [each for each in KINDS if each.name == "the leader leaves"]
    report = await mutant_run(rounds=1, askers=8, stale_seconds=STALE_SECONDS + 1, seed=1, kinds=struck)
    assert report.bars["answers cut short that say they are whole"], str(report)
    assert report.bars["stale answers"], str(report)
