"""What a question about spending must keep to. Each rule that it breaks is named by its field."""

from __future__ import annotations

from datetime import date

from libs.errors import FieldViolation
from services.budget.domain.spend import DAYS_KEPT, Dimension
from services.budget.transport.rules import Violations, name
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2

DIMENSIONS = {money_pb2.SpendDimension.Value(f"SPEND_DIMENSION_{each.upper()}"): each for each in Dimension}


def broken_by_get_spend(message: pb.GetSpendRequest) -> Violations:
    yield from name("organisation", message.organisation)
    first, last = _day(message.first_day), _day(message.last_day)
    for field, given, day in (("first_day", message.first_day, first), ("last_day", message.last_day, last)):
        if day is None:
            yield FieldViolation(field, f"is {given[:64]!r}: give a day such as 2026-11-22")
    if first and last and not 0 <= (last - first).days < DAYS_KEPT:
        description = f"is {last}, and first_day {first}: give 1 to {DAYS_KEPT} days, the first one first"
        yield FieldViolation("last_day", description)
    for index, dimension in enumerate(message.by[: len(DIMENSIONS) + 1]):
        if dimension not in DIMENSIONS:
            yield FieldViolation(f"by[{index}]", f"is {dimension}: give {', '.join(_names())}")
        elif dimension in message.by[:index]:
            yield FieldViolation(f"by[{index}]", "is there already: give each once")


def _day(given: str) -> date | None:
    try:
        day = date.fromisoformat(given)
    except ValueError:
        return None
    # Python takes other forms of a date as well.
    return day if day.isoformat() == given else None


def _names() -> list[str]:
    return [money_pb2.SpendDimension.Name(each) for each in DIMENSIONS]
