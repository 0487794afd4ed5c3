"""`tokenway budget`: what may be spent."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import click
from rich.console import Console

from services.mesh.cli.administration import admin_options, ask, moment, place, print_message
from services.mesh.cli.json_output import print_json
from services.mesh.cli.mesh_candidates import budget_scopes
from services.mesh.cli.money import usd
from services.mesh.cli.page import Pages
from services.mesh.cli.table import print_table
from tokenway.common.v1.money_pb2 import BUDGET_KIND_MONEY, Budget, BudgetScope, BudgetState, BudgetWindow

_HEADINGS = ("budget", "window", "limit", "spent", "reserved", "resets")
_MICRO_USD_PER_USD = 1_000_000
_WINDOWS = click.Choice([each.removeprefix("BUDGET_WINDOW_").lower() for each in BudgetWindow.keys()[1:]])
_SCOPES = [each.removeprefix("BUDGET_SCOPE_").lower() for each in BudgetScope.keys()[1:]]


class Whose(click.ParamType[tuple[str, str]]):
    """`key:ci` or `organisation`: a scope, and its subject."""

    name = "scope"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        scope, _, subject = value.partition(":")
        if scope not in _SCOPES:
            self.fail(f"{scope!r} is no scope: give key:ID or organisation", param, ctx)
        return scope, subject


class Dollars(click.ParamType[int]):
    """US dollars, as whole micro-dollars."""

    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            micro_usd = Decimal(value.removeprefix("$")) * _MICRO_USD_PER_USD
            whole = int(micro_usd)
        except (InvalidOperation, ValueError, OverflowError):
            self.fail(f"{value!r} is no amount: give US dollars, 12.50 for example", param, ctx)
        if micro_usd != whole or not 0 <= whole < 2**63:
            self.fail(f"{value!r}: give 0 or more US dollars with at most 6 decimals", param, ctx)
        return whole


_WHOSE = click.argument(
    "whose",
    metavar="SCOPE[:SUBJECT]",
    type=Whose(),
    shell_complete=budget_scopes,
    help="Whose it is: `key:ID`, or `organisation`.",
)
_WINDOW = click.argument("window", type=_WINDOWS, metavar="WINDOW", help="hour, day or month, in UTC.")


@click.group(
    cls=Pages,
    examples=(
        ("tokenway budget set key:ci day 2.50", "the key ci may spend $2.50 a day"),
        ("tokenway budget list", "where each limit stands"),
        ("tokenway budget delete key:ci day", "no limit a day any more"),
    ),
)
def budget() -> None:
    """Set, list and delete limits. Needs an administrator's key; the mesh's own is one.

    A budget is named by whose it is, `key:ID` or `organisation`, and by its window: hour, day or month, in UTC.
    """


@budget.command(
    "set",
    examples=(
        ("tokenway budget set key:ci hour 0.25", "the key ci may spend 25 cents an hour"),
        ("tokenway budget set organisation month 2000", "all keys together, $2,000 a month"),
    ),
)
@_WHOSE
@_WINDOW
@click.argument("limit_micro_usd", metavar="USD", type=Dollars(), help="US dollars, with at most 6 decimals.")
@admin_options
def set_budget(*, whose: tuple[str, str], window: str, limit_micro_usd: int, as_json: bool, **router: Any) -> None:
    """Let SCOPE spend at most USD in a WINDOW, from now on; what was spent in this one counts."""
    limit = _budget(whose, window, limit_micro_usd)
    state = ask(place(**router), lambda client: client.put_budget(limit))
    _show([state], as_json=as_json)


@budget.command(
    "list",
    examples=(
        ("tokenway budget list", "a table"),
        ("tokenway budget list --json | jq '{subject: .budget.subject, used}'", "micro-dollars, for programs"),
    ),
)
@admin_options
def list_budgets(*, as_json: bool, **router: Any) -> None:
    """List the limits of your organisation, and where each stands."""
    _show(ask(place(**router), lambda client: client.list_budgets()), as_json=as_json)


@budget.command(examples=(("tokenway budget delete key:ci hour", "the key ci has no limit an hour any more"),))
@_WHOSE
@_WINDOW
@admin_options
def delete(*, whose: tuple[str, str], window: str, as_json: bool, **router: Any) -> None:
    """Remove a limit. One that the configuration file has comes back when the mesh starts again."""
    deleted = ask(place(**router), lambda client: client.delete_budget(_budget(whose, window)))
    if as_json:
        print_json({"deleted": deleted})
    else:
        click.echo("deleted" if deleted else "there was none")


def _budget(whose: tuple[str, str], window: str, limit_micro_usd: int = 0) -> Budget:
    scope, subject = whose
    return Budget(
        scope=BudgetScope.Value(f"BUDGET_SCOPE_{scope.upper()}"),
        subject=subject,
        window=BudgetWindow.Value(f"BUDGET_WINDOW_{window.upper()}"),
        kind=BUDGET_KIND_MONEY,
        limit=limit_micro_usd,
    )


def _show(states: list[BudgetState], *, as_json: bool) -> None:
    if not as_json:
        print_table(_HEADINGS, [_row(each) for each in states], console=Console())
        return
    for each in states:
        print_message(each)


def _row(state: BudgetState) -> tuple[str, ...]:
    limit = state.budget
    scope = BudgetScope.Name(limit.scope).removeprefix("BUDGET_SCOPE_").lower()
    return (
        f"{scope}:{limit.subject}" if limit.subject else scope,
        BudgetWindow.Name(limit.window).removeprefix("BUDGET_WINDOW_").lower(),
        usd(limit.limit),
        usd(state.used),
        usd(state.reserved),
        moment(state, "resets_at"),
    )
