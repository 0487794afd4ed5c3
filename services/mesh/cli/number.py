"""A number on the command line, and what it may be."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

import click

Value = TypeVar("Value", bound=float)
# The most that 32 bits hold, as protos count tokens.
MOST_TOKENS = (1 << 32) - 1
# What the budget's arithmetic keeps exact: 1e15 micro-dollars.
MOST_USD = 1_000_000_000
# A day: no answer takes longer, and no start.
MOST_SECONDS = 86_400
_LONGEST_SHOWN = 40


class Number(click.ParamType[Value]):
    """Of that kind, from `least` (or above it) to `most`. NaN is in no range."""

    name = "number"

    def __init__(self, kind: type[Value], *, least: Value, most: Value, above: bool = False) -> None:
        self._kind = kind
        self._least = least
        self._most = most
        self._above = above

    def __str__(self) -> str:
        what = "a whole number" if self._kind is int else "a number"
        least = f"above {self._least:,} and" if self._above else f"of at least {self._least:,} and"
        return f"{what} {least} at most {self._most:,}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Value:
        try:
            number = self._kind(value)
        except ValueError:
            self._refuse(value, param, ctx)
        if not self._least <= number <= self._most or (self._above and number == self._least):
            self._refuse(value, param, ctx)
        return number

    def _refuse(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
        self.fail(f"{str(value)[:_LONGEST_SHOWN]!r}: give {self}", param, ctx)
