"""What was spent, by day and by whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from enum import StrEnum

# A day's sums are kept for so long; lua/days.lua does it.
DAYS_KEPT = 400


class Dimension(StrEnum):
    """What spending can be told apart by."""

    DAY = "day"
    KEY = "key"
    USER = "user"
    TEAM = "team"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Spender:
    """Who asked which model. User and team may be empty."""

    key_id: str
    user: str
    team: str
    model: str


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over requests that have ended.

    A request is one that was settled or presumed; tokens are those of all reservations. `presumed_micro_usd` and
    `estimated_micro_usd` are parts of the cost: booked for a router that fell silent; counted by a router, for want of
    an engine's or provider's word.
    """

    requests: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int = 0
    presumed_micro_usd: int = 0
    estimated_micro_usd: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def __bool__(self) -> bool:
        return any(astuple(self))


@dataclass(frozen=True, slots=True)
class SpendQuery:
    """Which days of an organisation are asked for, both of these included, in UTC; and what is told apart."""

    organisation: str
    first: date
    last: date
    by: tuple[Dimension, ...] = ()

    def days(self) -> Iterable[date]:
        """Each of them."""
        return (self.first + timedelta(days=each) for each in range((self.last - self.first).days + 1))


@dataclass(frozen=True, slots=True)
class SpendRow:
    """Sums of what has the same names, in the order of the query's dimensions; a day is `2026-11-22`."""

    names: tuple[str, ...]
    spent: Spent


def summed(booked: Iterable[tuple[date, Spender, Spent]], by: tuple[Dimension, ...]) -> tuple[SpendRow, ...]:
    """One row for each combination of names, in their order; one row, which may be of nothing, by no dimension."""
    sums: dict[tuple[str, ...], Spent] = {} if by else {(): Spent()}
    for day, spender, spent in booked:
        names = tuple(_name(dimension, day, spender) for dimension in by)
        sums[names] = sums.get(names, Spent()) + spent
    return tuple(
        SpendRow(names, spent) for names, spent in sorted(sums.items(), key=lambda each: each[0]) if spent or not by
    )


def _name(dimension: Dimension, day: date, spender: Spender) -> str:
    match dimension:
        case Dimension.DAY:
            return day.isoformat()
        case Dimension.KEY:
            return spender.key_id
        case Dimension.USER:
            return spender.user
        case Dimension.TEAM:
            return spender.team
        case Dimension.MODEL:
            return spender.model
