"""What administrators type, without a mesh."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner

from services.mesh.cli.administration import moment
from services.mesh.cli.budget import Amount, Whose, budget
from services.mesh.cli.cache import cache
from services.mesh.cli.keys import Moment, keys
from tokenway.common.v1.principal_pb2 import ApiKey


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T12:30:00", datetime(2027, 1, 31, 12, 30, tzinfo=UTC)),
        ("2027-01-31T12:30:00+01:00", datetime(2027, 1, 31, 11, 30, tzinfo=UTC)),
    ],
)
def test_a_date_is_in_utc_unless_it_says_otherwise(given: str, moment: datetime) -> None:
    assert Moment().convert(given, None, None) == moment


@pytest.mark.parametrize(("given", "after"), [("12h", timedelta(hours=12)), ("90d", timedelta(days=90))])
def test_a_period_is_from_now_on(given: str, after: timedelta) -> None:
    earliest = datetime.now(UTC) + after
    assert earliest <= Moment().convert(given, None, None) <= datetime.now(UTC) + after


@pytest.mark.parametrize("given", ["", "soon", "0d", "-1d", "90", "2027-13-01", "999999d"])
def test_anything_else_is_no_moment(given: str) -> None:
    with pytest.raises(click.BadParameter, match="is no moment"):
        Moment().convert(given, None, None)


def test_a_moment_that_is_past_is_said_as_it_was_given() -> None:
    with pytest.raises(
        click.BadParameter, match=r"'2020-01-01' is past, now it is 2.*Z: give a moment that is to come"
    ):
        Moment().convert("2020-01-01", None, None)


@pytest.mark.parametrize(
    ("given", "micro_usd"), [("0", 0), ("12.50", 12_500_000), ("$3", 3_000_000), ("0.000001", 1), ("1e3", 10**9)]
)
def test_dollars_are_whole_micro_dollars(given: str, micro_usd: int) -> None:
    assert Amount().convert(given, None, None) == micro_usd


@pytest.mark.parametrize("given", ["", "ten", "-1", "0.0000001", "nan", "inf", "1e30"])
def test_no_other_amount_is_taken(given: str) -> None:
    with pytest.raises(click.BadParameter):
        Amount().convert(given, None, None)


@pytest.mark.parametrize(
    ("most", "says"),
    [
        (("99999999999999",), "'99999999999999': give US dollars, from 0 to 1,000,000,000, with at most 6 decimals"),
        (("1e30",), "'1e30': give US dollars, from 0 to 1,000,000,000, with at most 6 decimals"),
        (("-1",), "the limit -1 is below 0: give 0, which refuses everything, or more"),
        (("9" * 5_000, "--kind", "requests"), "give a whole number of at least 0 and at most 1,000,000,000,000,000"),
    ],
)
def test_a_limit_that_is_refused_says_what_it_may_be(most: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(budget, ["set", "key:ci", "day", *most])
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())


def test_a_budget_names_whose_it_is() -> None:
    assert Whose().convert("key:ci", None, None) == ("key", "ci")
    assert Whose().convert("organisation", None, None) == ("organisation", "")
    with pytest.raises(click.BadParameter, match="'ci' is no scope: give key:ID, user:NAME, team:NAME or organisation"):
        Whose().convert("ci", None, None)


def test_a_moment_that_is_absent_is_a_dash() -> None:
    key = ApiKey()
    key.created_at.FromSeconds(1_700_000_000)
    assert (moment(key, "created_at"), moment(key, "expires_at")) == ("2023-11-14 22:13 UTC", "-")


@pytest.mark.parametrize("command", [keys, budget, cache])
def test_every_command_says_what_it_does(command: click.Group) -> None:
    for each in command.commands:
        shown = CliRunner().invoke(command, [each, "--help"])
        assert shown.exit_code == 0
        assert {"--json", "--router", "--key-file"} <= set(shown.output.split())
