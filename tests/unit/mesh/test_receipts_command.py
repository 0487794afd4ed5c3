"""What `tokenway receipts` asks, and how it shows the answer; without a mesh."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from services.mesh.cli import receipts as command
from services.mesh.errors import MeshError
from services.mesh.state_directory import StateDirectory
from tokenway.common.v1 import money_pb2 as money
from tokenway.router.v1 import admin_pb2 as pb


def receipt(number: int, key_id: str = "ci") -> money.Receipt:
    made = money.Receipt(
        request_id=f"request-{number}",
        key_id=key_id,
        model="small",
        cost_micro_usd=1_500_015,
        outcome=money.OUTCOME_PRESUMED,
        usage=money.Usage(input_tokens=1_234, output_tokens=7),
    )
    made.booked_at.FromDatetime(datetime(2026, 11, 22, 9, 5, tzinfo=UTC))
    return made


class Ledger:
    """Stands for a router: keeps what it was asked, and gives two receipts a page."""

    def __init__(self, *receipts: money.Receipt) -> None:
        self.receipts = receipts
        self.requests: list[pb.ListReceiptsRequest] = []

    async def list_receipts(self, request: pb.ListReceiptsRequest) -> pb.ListReceiptsResponse:
        self.requests.append(pb.ListReceiptsRequest.FromString(request.SerializeToString()))
        first = int(request.page_token or 0)
        after = first + 2
        return pb.ListReceiptsResponse(
            receipts=self.receipts[first:after], next_page_token=str(after) if after < len(self.receipts) else ""
        )


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    asked = Ledger(receipt(1), receipt(2, "other"), receipt(3), receipt(4), receipt(5))
    monkeypatch.setattr(command, "place", lambda **_: None)
    monkeypatch.setattr(command, "ask", lambda _, question: asyncio.run(question(asked)))
    return asked


def run(*arguments: str) -> Any:
    return CliRunner().invoke(command.receipts, arguments)


def requests_of(output: str) -> list[str]:
    return [json.loads(line)["request_id"].removeprefix("request-") for line in output.splitlines()]


def test_a_table_says_when_whose_and_how_much(ledger: Ledger) -> None:
    lines = run("--most", "1").output.splitlines()

    assert lines[0].split() == ["booked", "request", "key", "model", "input", "output", "cost", "outcome"]
    assert lines[1:] == ["2026-11-22 09:05 UTC  request-1  ci   small  1,234  7       $1.500015  presumed"]


def test_it_reads_page_after_page_until_there_are_enough(ledger: Ledger) -> None:
    assert requests_of(run("--json", "--most", "3").output) == ["1", "2", "3"]
    assert [each.page_token for each in ledger.requests] == ["", "2"]
    assert requests_of(run("--json").output) == ["1", "2", "3", "4", "5"]


def test_a_key_and_a_day_are_picked_out(ledger: Ledger) -> None:
    assert requests_of(run("--json", "--key", "ci", "--since", "2026-11-01").output) == ["1", "3", "4", "5"]
    assert ledger.requests[0].since.ToJsonString() == "2026-11-01T00:00:00Z"


def test_one_request_is_asked_for_by_its_id(ledger: Ledger) -> None:
    run("request-7")

    assert ledger.requests[0].request_id == "request-7"


def test_the_last_request_that_was_sent_from_here_is_asked_for(ledger: Ledger, tmp_path: Path) -> None:
    nothing_yet = run("last", "--state-dir", str(tmp_path))
    StateDirectory(tmp_path).remember_request("request-8")
    run("last", "--state-dir", str(tmp_path))

    assert isinstance(nothing_yet.exception, MeshError)
    assert "no request was sent" in str(nothing_yet.exception)
    assert {each.request_id for each in ledger.requests} == {"request-8"}


def test_a_request_without_a_receipt_is_no_empty_table(ledger: Ledger) -> None:
    ledger.receipts = ()
    nothing = run("nope")

    assert isinstance(nothing.exception, MeshError)
    assert str(nothing.exception).startswith("no receipt of a request nope: none was booked")
    assert run("--key", "nope").exit_code == 0, "of a key there may be none yet"


def test_an_empty_id_is_not_every_request(ledger: Ledger) -> None:
    empty = run("")

    assert empty.exit_code == 2
    assert "the request's id is empty" in empty.output
    assert not ledger.requests
