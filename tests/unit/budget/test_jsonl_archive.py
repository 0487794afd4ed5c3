"""Old receipts as lines of files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from libs.money import Price, Usage, UsageSource
from services.budget.adapters.jsonl_archive import JsonlArchive
from services.budget.domain.archive import OldReceipt
from services.budget.domain.lease import ReservationId
from services.budget.domain.limits import Principal
from services.budget.domain.receipt import Outcome, Receipt

RECEIPT = Receipt(
    request_id="request-1",
    reservation_id=ReservationId("reservation-1"),
    key_id="ci",
    model="small",
    price=Price(1, 2, 3, "v1"),
    usage=Usage(10, 4, 5, UsageSource.ENGINE),
    cost_micro_usd=15,
    outcome=Outcome.FINISHED,
    why="the only one",
    uncovered_micro_usd=0,
    booked_at_seconds=1_709_251_199.5,  # 2024-02-29T23:59:59.5
)
OLD = OldReceipt("1-0", Principal("ci", "acme", "ada"), RECEIPT, ((28_487_519, 15),))


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(each) for each in file.read_text().splitlines()]


async def test_a_receipt_is_a_line_of_its_organisations_month(tmp_path: Path) -> None:
    march = replace(OLD, id="2-0", receipt=replace(RECEIPT, booked_at_seconds=1_709_251_200))
    archive = JsonlArchive(tmp_path / "made")

    await archive.keep([OLD, march])
    await archive.keep([replace(march, id="3-0")])

    files = {each.name: [line["id"] for line in lines(each)] for each in (tmp_path / "made").iterdir()}
    assert files == {"acme-2024-02.jsonl": ["1-0"], "acme-2024-03.jsonl": ["2-0", "3-0"]}
    assert lines(tmp_path / "made" / "acme-2024-02.jsonl") == [
        {
            "id": "1-0",
            "organisation": "acme",
            "key_id": "ci",
            "user": "ada",
            "team": "",
            "request_id": "request-1",
            "reservation_id": "reservation-1",
            "model": "small",
            "price": {
                "input_micro_usd_per_million_tokens": 1,
                "cached_input_micro_usd_per_million_tokens": 2,
                "output_micro_usd_per_million_tokens": 3,
                "version": "v1",
            },
            "usage": {"input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 5, "source": "ENGINE"},
            "cost_micro_usd": 15,
            "outcome": "FINISHED",
            "why": "the only one",
            "uncovered_micro_usd": 0,
            "booked_at": "2024-02-29T23:59:59.500+00:00",
            "money": [{"minute": "2024-02-29T23:59+00:00", "micro_usd": 15}],
        }
    ]


async def test_nobody_else_may_read_who_spent_how_much(tmp_path: Path) -> None:
    await JsonlArchive(tmp_path / "made").keep([OLD])

    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "made" / "acme-2024-02.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_line_that_broke_off_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "acme-2024-02.jsonl"
    file.write_text('{"id":"0-0"}\n{"id":"1-0","org')

    await JsonlArchive(tmp_path).keep([OLD])

    first, torn, again = file.read_text().splitlines()
    assert (json.loads(first)["id"], torn, json.loads(again)["id"]) == ("0-0", '{"id":"1-0","org', "1-0")


async def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match="file"):
        await JsonlArchive(tmp_path / "file" / "below").keep([OLD])
