"""`tokenway spend`: what was spent, by whom, on which model, on which day."""

from __future__ import annotations

import csv
import sys
from calendar import monthrange
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click
from google.protobuf.json_format import MessageToDict
from rich.console import Console

from libs.money import usd
from services.mesh.cli.administration import admin_options, ask, place
from services.mesh.cli.json_output import print_json
from services.mesh.cli.number import Number
from services.mesh.cli.page import Page
from services.mesh.cli.table import print_table
from tokenway.common.v1.money_pb2 import Spend, SpendDimension
from tokenway.router.v1 import admin_pb2 as pb

# A name on the command line, and the field of a row that has it.
_FIELDS = {"day": "day", "key": "key_id", "user": "user", "team": "team", "model": "model"}
_TOKENS = ("requests", "input_tokens", "cached_input_tokens", "output_tokens")
_MONEY = ("cost_micro_usd", "presumed_micro_usd", "estimated_micro_usd")
_DEFAULT_DAYS = 30
_MICRO_USD_PER_USD = 1_000_000


class By(click.ParamType[tuple[str, ...]]):
    """`team,model`: what to tell apart; `organisation`: nothing, for it is the key's own."""

    name = "by"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(each.strip() for each in value.split(",")))
        if unknown := [each for each in names if each not in (*_FIELDS, "organisation")]:
            self.fail(f"{unknown[0]!r}: give organisation, or some of {', '.join(_FIELDS)}", param, ctx)
        return tuple(each for each in names if each in _FIELDS)


class Day(click.ParamType[date]):
    """A day such as 2026-11-22, in UTC."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no day: give one such as 2026-11-22", param, ctx)


class Month(click.ParamType[tuple[date, date]]):
    """A month such as 2026-11: its first day and its last."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[date, date]:
        try:
            first = date.fromisoformat(f"{value}-01")
        except ValueError:
            self.fail(f"{value!r} is no month: give one such as 2026-11", param, ctx)
        return first, first.replace(day=monthrange(first.year, first.month)[1])


@click.command(
    cls=Page,
    examples=(
        ("tokenway spend", "the last 30 days, by key"),
        ("tokenway spend --by team,model --month 2026-11", "a month, by team and model"),
        ("tokenway spend --by organisation --days 1", "today, all keys together"),
        ("tokenway spend --by day,user --since 2026-11-01 --csv > november.csv", "for a spreadsheet"),
        ("tokenway spend --by key --json | jq 'select(.presumed_micro_usd != \"0\")'", "micro-dollars, for programs"),
    ),
)
@click.option(
    "--by",
    type=By(),
    default="key",
    show_default=True,
    metavar="NAMES",
    help="What to tell apart: any of day, key, user, team, model, with commas; or organisation.",
)
@click.option("--since", type=Day(), metavar="DAY", help="The first day [29 days before the last].")
@click.option("--until", type=Day(), metavar="DAY", help="The last day [today].")
@click.option("--days", type=Number(int, least=1, most=400), metavar="N", help="So many days, the last included [30].")
@click.option("--month", type=Month(), metavar="MONTH", help="A month, such as 2026-11 [the days above].")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values, with a line of headings.")
@admin_options
def spend(
    *,
    by: tuple[str, ...],
    since: date | None,
    until: date | None,
    days: int | None,
    month: tuple[date, date] | None,
    as_csv: bool,
    as_json: bool,
    **router: Any,
) -> None:
    """Show what your organisation has spent, and on what.

    Requests that were generated (answers from the cache cost nothing, and are none here), their tokens, dollars. Days
    are in UTC; the mesh keeps 400. Of the dollars, `presumed` was booked for routers that fell silent, and `estimated`
    was counted by a router, for want of an engine's word. Needs an administrator's key.
    """
    if as_csv and as_json:
        raise click.UsageError("give --csv or --json, not both")
    first, last = _period(since, until, days, month)
    dimensions = [SpendDimension.Value(f"SPEND_DIMENSION_{each.upper()}") for each in by]
    request = pb.GetSpendRequest(first_day=first.isoformat(), last_day=last.isoformat(), by=dimensions)
    rows = ask(place(**router), lambda client: client.get_spend(request))
    if as_json:
        _print_json(rows, by)
    elif as_csv:
        _print_csv(rows, by)
    else:
        _print_table(rows, by)


def _period(
    since: date | None, until: date | None, days: int | None, month: tuple[date, date] | None
) -> tuple[date, date]:
    if month:
        if since or until or days:
            raise click.UsageError("--month is a period of its own: leave --since, --until and --days out")
        return month
    if since and days:
        raise click.UsageError("give --since or --days, not both")
    last = until or datetime.now(UTC).date()
    back = timedelta(days=(days or _DEFAULT_DAYS) - 1)
    # No date is before the first of all.
    first = since or max(last, date.min + back) - back
    if first > last:
        raise click.UsageError(f"the first day, {first}, is after the last, {last}")
    return first, last


def _print_json(rows: Iterable[Spend], by: Sequence[str]) -> None:
    others = set(_FIELDS.values()) - {_FIELDS[each] for each in by}
    for row in rows:
        fields = MessageToDict(row, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        print_json({name: value for name, value in fields.items() if name not in others})


def _print_csv(rows: Iterable[Spend], by: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((*by, *_TOKENS, *(each.replace("micro_usd", "usd") for each in _MONEY)))
    for row in rows:
        dollars = (_dollars(getattr(row, each)) for each in _MONEY)
        writer.writerow((*_names(row, by), *(getattr(row, each) for each in _TOKENS), *dollars))


def _print_table(rows: Sequence[Spend], by: Sequence[str]) -> None:
    headings = (*by, "requests", "input", "cached", "output", "cost", "presumed", "estimated")
    shown = [(*(each or "-" for each in _names(row, by)), *_cells(row)) for row in rows]
    if by:
        total = Spend(**{field: sum(getattr(row, field) for row in rows) for field in (*_TOKENS, *_MONEY)})
        shown.append(("total", *("" for _ in by[1:]), *_cells(total)))
    print_table(headings, shown, console=Console())


def _names(row: Spend, by: Sequence[str]) -> list[str]:
    return [getattr(row, _FIELDS[each]) for each in by]


def _cells(row: Spend) -> list[str]:
    return [*(f"{getattr(row, each):,}" for each in _TOKENS), *(usd(getattr(row, each)) for each in _MONEY)]


def _dollars(micro_usd: int) -> str:
    whole, fraction = divmod(micro_usd, _MICRO_USD_PER_USD)
    return f"{whole}.{fraction:06d}"
