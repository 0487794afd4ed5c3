"""How `tokenway budget verify` shows what was found; without a mesh."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from click.testing import CliRunner

from services.mesh.cli import verify as command
from services.mesh.errors import MeshError
from tokenway.common.v1.money_pb2 import SumDifference, VerificationProgress, VerifiedLedger
from tokenway.router.v1.admin_pb2 import VerifyLedgerResponse

PROGRESS = VerifyLedgerResponse(progress=VerificationProgress(receipts=1_000))
DIFFERENCE = VerifyLedgerResponse(difference=SumDifference(name="key:ci day 20261122 spent", kept=22, computed=15))
VERIFIED = VerifyLedgerResponse(verified=VerifiedLedger(receipts=1_234, trimmed_receipts=5, counters=6, days=1))


def run(monkeypatch: pytest.MonkeyPatch, *findings: VerifyLedgerResponse, arguments: tuple[str, ...] = ()) -> Any:
    class Found:
        async def verify_ledger(self) -> AsyncGenerator[VerifyLedgerResponse]:
            for each in findings:
                yield each

    monkeypatch.setattr(command, "place", lambda **_: None)
    monkeypatch.setattr(command, "ask", lambda _, question: asyncio.run(question(Found())))
    return CliRunner().invoke(command.verify, arguments)


def test_a_sound_ledger_is_one_line_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run(monkeypatch, PROGRESS, VERIFIED)

    assert (shown.exit_code, shown.output) == (
        0,
        "6 counters and 1 days held against 1,234 receipts and 5 that are no longer kept: no differences\n",
    )


def test_each_sum_that_is_wrong_is_a_row_and_the_command_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run(monkeypatch, PROGRESS, DIFFERENCE, VERIFIED)

    assert isinstance(shown.exception, MeshError)
    assert "1 sums are not what the ledger says" in str(shown.exception)
    assert shown.output.splitlines()[1].split() == ["key:ci", "day", "20261122", "spent", "22", "15", "+7"]


def test_for_programs_it_is_an_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run(monkeypatch, DIFFERENCE, VERIFIED, arguments=("--json",))

    difference, verified, error = map(json.loads, shown.output.splitlines())
    assert difference == {"difference": {"name": "key:ci day 20261122 spent", "kept": "22", "computed": "15"}}
    assert verified["verified"]["receipts"] == "1234"
    assert error["error"]["exit_code"] == 1
