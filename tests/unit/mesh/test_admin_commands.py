"""What administrators type, without a mesh."""

from __future__ import annotations

import asyncio
import importlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from google.protobuf.timestamp_pb2 import Timestamp

from services.mesh.cli.administration import moment
from services.mesh.cli.budget import Amount, Whose, budget
from services.mesh.cli.cache import cache
from services.mesh.cli.keys import Moment, keys
from services.mesh.errors import MeshError
from tokenway.common.v1.money_pb2 import Budget, BudgetState
from tokenway.common.v1.principal_pb2 import ApiKey, KeyRole, Principal

budget_command, keys_command = (importlib.import_module(f"services.mesh.cli.{each}") for each in ("budget", "keys"))


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


def key(key_id: str, **fields: Any) -> ApiKey:
    return ApiKey(principal=Principal(key_id=key_id, role=KeyRole.KEY_ROLE_ADMIN), **fields)


PAST, TO_COME = Timestamp(seconds=1), Timestamp(seconds=4_000_000_000)
CALLER = ApiKey(principal=Principal(key_id="ci", role=KeyRole.KEY_ROLE_CALLER))


class Router:
    """Stands for a router with these keys."""

    def __init__(self, *keys: ApiKey) -> None:
        self.keys = list(keys)
        self.revoked: list[str] = []

    async def list_keys(self) -> list[ApiKey]:
        return self.keys

    async def revoke_key(self, key_id: str) -> ApiKey:
        self.revoked.append(key_id)
        return ApiKey(revoked_at=PAST)

    async def put_budget(self, limit: Budget) -> BudgetState:
        return BudgetState(budget=limit)


def run(monkeypatch: pytest.MonkeyPatch, router: Router, module: Any, command: click.Command, *typed: str) -> Result:
    monkeypatch.setattr(module, "place", lambda **_: None)
    monkeypatch.setattr(module, "ask", lambda _, question: asyncio.run(question(router)))
    return CliRunner().invoke(command, typed)


@pytest.mark.parametrize("others", [(), (CALLER,), (key("old", revoked_at=PAST),), (key("late", expires_at=PAST),)])
def test_the_last_key_of_an_administrator_is_revoked_by_force_alone(
    monkeypatch: pytest.MonkeyPatch, others: tuple[ApiKey, ...]
) -> None:
    router = Router(key("local"), *others)
    refused = run(monkeypatch, router, keys_command, keys, "revoke", "local")
    assert isinstance(refused.exception, MeshError)
    assert re.match(r"local is the last key of an administrator: .*--force.* remove .*/api-key", str(refused.exception))
    assert router.revoked == []
    assert run(monkeypatch, router, keys_command, keys, "revoke", "local", "--force").exit_code == 0
    assert router.revoked == ["local"]


@pytest.mark.parametrize("other", [key("ada"), key("ada", expires_at=TO_COME)])
def test_any_other_key_is_revoked_at_once(monkeypatch: pytest.MonkeyPatch, other: ApiKey) -> None:
    for key_id in ("local", "ci"):
        router = Router(key("local"), other, CALLER)
        assert run(monkeypatch, router, keys_command, keys, "revoke", key_id).exit_code == 0
        assert router.revoked == [key_id]


@pytest.mark.parametrize(
    ("whose", "warning"),
    [
        ("key:nosuch", "warning: no key is known by the name nosuch: the limit waits for one\n"),
        ("team:nosuch", "warning: no key is known of the team nosuch: the limit waits for one\n"),
        ("key:local", ""),
        ("organisation", ""),
    ],
)
def test_a_limit_for_a_key_that_nobody_knows_is_set_and_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, whose: str, warning: str
) -> None:
    done = run(monkeypatch, Router(key("local")), budget_command, budget, "set", whose, "day", "1")
    assert (done.exit_code, done.stderr) == (0, warning)
