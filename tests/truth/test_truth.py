"""The short form of `make trace-truth`: every ending, a router and an engine killed, and no trace that is not true."""

from __future__ import annotations

import pytest

from tests.truth.endings import ENGINE_KILLED, ROUTER_KILLED
from tests.truth.report import Report
from tests.truth.run import truth
from tests.truth.scenarios import SCENARIOS

# Kills take some of each ending, and a busy machine some of what had to be quick.
_OF_EACH, _AT_LEAST = 16, 10


@pytest.mark.processes
@pytest.mark.chaos
async def test_every_trace_is_true_however_its_request_ended() -> None:
    report = Report(await truth(requests=_OF_EACH * len(SCENARIOS)))
    assert not report.faults, report
    assert all(report.requests_of(each) >= _AT_LEAST for each in (*SCENARIOS, ROUTER_KILLED, ENGINE_KILLED)), report
