"""`tokenway budget`: what may be spent."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Any

import click
from rich.console import Console

from libs.money import usd
from services.mesh.cli.administration import admin_options, ask, moment, place, print_message
from services.mesh.cli.json_output import print_json
from services.mesh.cli.mesh_candidates import budget_scopes
from services.mesh.cli.number import MOST_USD, Number
from services.mesh.cli.page import Page, Pages
from services.mesh.cli.table import print_table
from services.mesh.cli.verify import verify
from services.mesh.client.admin import AdminClient
from tokenway.common.v1.money_pb2 import BUDGET_KIND_MONEY, Budget, BudgetKind, BudgetScope, BudgetState, BudgetWindow
from tokenway.common.v1.principal_pb2 import ApiKey

_HEADINGS = ("budget", "window", "kind", "limit", "used", "reserved", "resets")
_MICRO_USD_PER_USD = 1_000_000
_NEGATIVE = re.compile(r"-\$?\.?[0-9]\S*")
_WINDOWS = click.Choice([each.removeprefix("BUDGET_WINDOW_").lower() for each in BudgetWindow.keys()[1:]])
_SCOPES = [each.removeprefix("BUDGET_SCOPE_").lower() for each in BudgetScope.keys()[1:]]
_SCOPE_FORMS = "key:ID, user:NAME, team:NAME or organisation"
_MONEY, *_OTHERS = [each.removeprefix("BUDGET_KIND_").lower().replace("_", "-") for each in BudgetKind.keys()[1:]]
# The field of a key's principal that a scope names, and how people say so.
_OF_PRINCIPAL = {"key": "key_id", "user": "user", "team": "team"}
_NAMED = {"key": "by the name", "user": "of the user", "team": "of the team"}
# The budget's own limit, in what the kind counts.
_COUNT = Number(int, least=0, most=MOST_USD * _MICRO_USD_PER_USD)


class Whose(click.ParamType[tuple[str, str]]):
    """`key:ci` or `organisation`: a scope, and its subject."""

    name = "scope"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        scope, _, subject = value.partition(":")
        if scope not in _SCOPES:
            self.fail(f"{scope!r} is no scope: give {_SCOPE_FORMS}", param, ctx)
        return scope, subject


class Amount(click.ParamType[int]):
    """What the kind is counted in: US dollars, as whole micro-dollars, else a whole number."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        kind = ctx.params["kind"] if ctx else _MONEY
        if kind == _MONEY:
            return self._dollars(value, param, ctx)
        return _COUNT.convert(value, param, ctx)

    def _dollars(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            dollars = Decimal(value.removeprefix("$"))
            # NaN ends here as well: it cannot be compared.
            micro_usd = dollars * _MICRO_USD_PER_USD if 0 <= dollars <= MOST_USD else None
        except InvalidOperation:
            self.fail(f"{value!r} is no amount: give US dollars, 12.50 for example", param, ctx)
        if micro_usd is None or micro_usd != int(micro_usd):
            self.fail(f"{value!r}: give US dollars, from 0 to {MOST_USD:,}, with at most 6 decimals", param, ctx)
        return int(micro_usd)


_WHOSE = click.argument(
    "whose",
    metavar="SCOPE[:SUBJECT]",
    type=Whose(),
    shell_complete=budget_scopes,
    help="Whose it is: `key:ID`, `user:NAME`, `team:NAME`, or `organisation`.",
)
_WINDOW = click.argument("window", type=_WINDOWS, metavar="WINDOW", help="minute, hour, day, month or total.")
# Eager: what an amount is hangs on it.
_KIND = click.option(
    "--kind",
    type=click.Choice([_MONEY, *_OTHERS]),
    metavar="KIND",
    default=_MONEY,
    show_default=True,
    is_eager=True,
    help="What is counted: money by the calendar, in UTC; requests, input-tokens and output-tokens over a sliding time;"
    " concurrency, which is requests open at once, in total.",
)
_SOFT = click.option("--soft", is_flag=True, help="The limit that warns and refuses nothing.")


class Setting(Page):
    """`budget set … -1`: a number that is refused, and no option of that name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        below = next((each for each in args if _NEGATIVE.fullmatch(each)), None)
        if below and not ctx.resilient_parsing:  # a shell that completes a line gets no error
            raise click.UsageError(f"the limit {below} is below 0: give 0, which refuses everything, or more", ctx)
        return super().parse_args(ctx, args)


@click.group(
    cls=Pages,
    examples=(
        ("tokenway budget set key:ci day 2.50", "the key ci may spend $2.50 a day"),
        ("tokenway budget set team:ops minute 60 --kind requests", "and the team ops ask 60 times a minute"),
        ("tokenway budget list", "where each limit stands"),
        ("tokenway budget delete key:ci day", "no limit a day any more"),
        ("tokenway budget verify", "whether what is kept is what the ledger says"),
    ),
)
def budget() -> None:
    """Set, list and delete limits, and verify what is spent. Needs an administrator's key; the mesh's own is one.

    A budget is named by whose it is, its window and its kind; a soft limit may stand beside a hard one.
    """


budget.add_command(verify)


@budget.command(
    "set",
    cls=Setting,
    examples=(
        ("tokenway budget set key:ci hour 0.25", "the key ci may spend 25 cents an hour"),
        ("tokenway budget set organisation month 2000", "all keys together, $2,000 a month"),
        ("tokenway budget set user:ada total 4 --kind concurrency", "4 requests of the user ada at once"),
        ("tokenway budget set organisation month 1500 --soft", "a warning from $1,500 on"),
    ),
)
@_WHOSE
@_WINDOW
@click.argument(
    "most", metavar="MOST", type=Amount(), help="US dollars with at most 6 decimals; of other kinds, a number."
)
@_KIND
@_SOFT
@admin_options
def set_budget(
    *, whose: tuple[str, str], window: str, most: int, kind: str, soft: bool, as_json: bool, **router: Any
) -> None:
    """Let SCOPE use at most MOST in a WINDOW, from now on.

    Money that was spent before in the same hour, day, month or in total counts; everything else counts from now.
    """
    limit = _budget(whose, window, kind, soft=soft, most=most)

    async def put(client: AdminClient) -> tuple[BudgetState, list[ApiKey]]:
        return await client.put_budget(limit), await client.list_keys()

    state, keys = ask(place(**router), put)
    _show([state], as_json=as_json)
    scope, subject = whose
    # After it: a limit may be there before its key is.
    if subject and subject not in {getattr(each.principal, _OF_PRINCIPAL[scope]) for each in keys}:
        click.echo(f"warning: no key is known {_NAMED[scope]} {subject}: the limit waits for one", err=True)


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
@_KIND
@_SOFT
@admin_options
def delete(*, whose: tuple[str, str], window: str, kind: str, soft: bool, as_json: bool, **router: Any) -> None:
    """Remove a limit. One that the configuration file has comes back when the mesh starts again."""
    limit = _budget(whose, window, kind, soft=soft)
    deleted = ask(place(**router), lambda client: client.delete_budget(limit))
    if as_json:
        print_json({"deleted": deleted})
    else:
        click.echo("deleted" if deleted else "there was none")


def _budget(whose: tuple[str, str], window: str, kind: str, *, soft: bool, most: int = 0) -> Budget:
    scope, subject = whose
    return Budget(
        scope=BudgetScope.Value(f"BUDGET_SCOPE_{scope.upper()}"),
        subject=subject,
        window=BudgetWindow.Value(f"BUDGET_WINDOW_{window.upper()}"),
        kind=BudgetKind.Value(f"BUDGET_KIND_{kind.upper().replace('-', '_')}"),
        limit=most,
        soft=soft,
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
    kind = BudgetKind.Name(limit.kind).removeprefix("BUDGET_KIND_").lower().replace("_", "-")
    amount = usd if limit.kind == BUDGET_KIND_MONEY else str
    return (
        f"{scope}:{limit.subject}" if limit.subject else scope,
        BudgetWindow.Name(limit.window).removeprefix("BUDGET_WINDOW_").lower(),
        kind,
        f"{amount(limit.limit)}{' (soft)' if limit.soft else ''}",
        amount(state.used),
        amount(state.reserved),
        moment(state, "resets_at"),
    )
