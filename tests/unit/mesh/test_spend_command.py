"""What `tokenway spend` asks, and how it shows the answer; without a mesh."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click
import pytest
from click.testing import CliRunner

from services.mesh.cli import spend as command
from services.mesh.cli.spend import By, Day, Month
from tokenway.common.v1 import money_pb2 as money
from tokenway.router.v1 import admin_pb2 as pb

ROWS = [
    money.Spend(team="", model="small", requests=1_234, input_tokens=5, cost_micro_usd=1_500_000),
    money.Spend(team="a,b", model="large", requests=1, output_tokens=7, cost_micro_usd=15, presumed_micro_usd=15),
]


class Asked:
    """Stands for a router: keeps what it was asked."""

    request: pb.GetSpendRequest

    async def get_spend(self, request: pb.GetSpendRequest) -> list[money.Spend]:
        self.request = request
        return ROWS


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    import asyncio

    client = Asked()
    monkeypatch.setattr(command, "place", lambda **_: None)
    monkeypatch.setattr(command, "ask", lambda _, question: asyncio.run(question(client)))
    return client


def run(*arguments: str) -> Any:
    return CliRunner().invoke(command.spend, arguments)


def test_a_table_has_a_row_for_each_and_their_total(asked: Asked) -> None:
    lines = [line.split() for line in run("--by", "team,model").output.splitlines()]

    assert lines == [
        ["team", "model", "requests", "input", "cached", "output", "cost", "presumed", "estimated"],
        ["-", "small", "1,234", "5", "0", "0", "$1.50", "$0", "$0"],
        ["a,b", "large", "1", "0", "0", "7", "$0.000015", "$0.000015", "$0"],
        ["total", "1,235", "5", "0", "7", "$1.500015", "$0.000015", "$0"],
    ]
    assert list(asked.request.by) == [money.SPEND_DIMENSION_TEAM, money.SPEND_DIMENSION_MODEL]


def test_csv_is_for_spreadsheets(asked: Asked) -> None:
    assert run("--by", "team,model", "--csv").output.splitlines() == [
        "team,model,requests,input_tokens,cached_input_tokens,output_tokens,cost_usd,presumed_usd,estimated_usd",
        ",small,1234,5,0,0,1.500000,0.000000,0.000000",
        '"a,b",large,1,0,0,7,0.000015,0.000015,0.000000',
    ]


def test_json_has_the_names_that_were_asked_for(asked: Asked) -> None:
    (first, _) = map(json.loads, run("--by", "model", "--json").output.splitlines())

    assert {name for name in first if name in ("day", "key_id", "user", "team", "model")} == {"model"}
    assert (first["requests"], first["cost_micro_usd"], first["presumed_micro_usd"]) == ("1234", "1500000", "0")


def test_the_organisation_is_one_sum(asked: Asked) -> None:
    assert run("--by", "organisation").output.split()[:2] == ["requests", "input"]
    assert list(asked.request.by) == []


@pytest.mark.parametrize(
    ("arguments", "first", "last"),
    [
        (("--month", "2024-02"), "2024-02-01", "2024-02-29"),
        (("--month", "2026-12"), "2026-12-01", "2026-12-31"),
        (("--month", "9999-12"), "9999-12-01", "9999-12-31"),
        (("--until", "0001-01-02"), "0001-01-01", "0001-01-02"),
        (("--since", "2026-01-05", "--until", "2026-01-06"), "2026-01-05", "2026-01-06"),
        (("--days", "7", "--until", "2026-01-07"), "2026-01-01", "2026-01-07"),
    ],
)
def test_a_period_is_asked_for_by_its_days(asked: Asked, arguments: tuple[str, ...], first: str, last: str) -> None:
    assert run(*arguments).exit_code == 0
    assert (asked.request.first_day, asked.request.last_day) == (first, last)


def test_without_a_period_it_is_the_last_thirty_days(asked: Asked) -> None:
    before = datetime.now(UTC).date()
    run()
    last = date.fromisoformat(asked.request.last_day)

    assert before <= last <= datetime.now(UTC).date()
    assert date.fromisoformat(asked.request.first_day) == last - timedelta(days=29)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--by", "colour"), "'colour': give organisation, or some of day, key, user, team, model"),
        (("--csv", "--json"), "give --csv or --json"),
        (("--month", "2026-11", "--days", "3"), "--month is a period of its own"),
        (("--since", "2026-11-01", "--days", "3"), "give --since or --days"),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "is after the last"),
        (("--since", "yesterday"), "'yesterday' is no day"),
        (("--month", "november"), "'november' is no month"),
        (("--days", "0"), "'0': give a whole number of at least 1 and at most 400"),
    ],
)
def test_what_is_no_question_is_wrong_usage(asked: Asked, arguments: tuple[str, ...], says: str) -> None:
    refused = run(*arguments)

    assert refused.exit_code == 2
    assert says in " ".join(refused.output.split())


@pytest.mark.parametrize("kind", [By(), Day(), Month()])
def test_nothing_is_no_answer(kind: click.ParamType[Any]) -> None:
    with pytest.raises(click.BadParameter):
        kind.convert("", None, None)
