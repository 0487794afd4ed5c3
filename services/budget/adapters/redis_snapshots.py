"""What the ledger's keys hold, read at one instant by lua/snapshot.lua, in the words of the verification."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.budget.domain.limits import Principal
from services.budget.domain.spend import Spender, Spent
from services.budget.domain.verification import Booked, CounterName, minutes
from services.budget.domain.windows import Window

Place = tuple[int, int]
BEGINNING: Place = (0, 0)


@dataclass(frozen=True, slots=True)
class Open:
    """A reservation that is open: what earlier parts of its lease have booked, and what the live one holds."""

    booked: Booked
    reserved_micro_usd: int
    reserved_minute: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One instant. Receipts are those after a place, the oldest first; counters are spent and reserved."""

    now_seconds: float
    last_trimmed: Place
    receipts: tuple[Booked, ...]
    # Of the last of them; None without any.
    last: Place | None
    counters: tuple[tuple[int, int] | None, ...]
    opened: tuple[Open, ...]
    day: Mapping[Spender, Spent]


def snapshot(reply: Sequence[Any], organisation: str) -> Snapshot:
    now_ms, last_trimmed, receipts, counters, opened, day = reply
    return Snapshot(
        now_seconds=int(now_ms) / 1000,
        last_trimmed=place(last_trimmed),
        receipts=tuple(_receipt(_by_name(fields), organisation) for _, fields in receipts),
        last=place(receipts[-1][0]) if receipts else None,
        counters=tuple(_counter(*each) for each in counters),
        # One that somebody deleted is missing in the counters, and found there.
        opened=tuple(_open(each, organisation) for each in opened if each[0]),
        day=sums_of(_by_name(day)),
    )


def place(entry: str) -> Place:
    """The place of an entry in a stream: `1700000000000-0`."""
    ms, _, number = entry.partition("-")
    return int(ms), int(number)


def sums_of(fields: Mapping[str, str]) -> dict[Spender, Spent]:
    """A day's, by lua/days.lua; without those of nothing."""
    found = {spender(field): spent(value) for field, value in fields.items()}
    return {each: its for each, its in found.items() if its}


def spender(field: str) -> Spender:
    # A model's name is the last: it alone may hold whatever it likes.
    return Spender(*field.split("\n", 3))


def spent(value: str) -> Spent:
    return Spent(*map(int, value.split(" ")))


def counter_name(name: str) -> CounterName:
    """Of `spend:key:ci:day:20261122`, as lua/counters.lua names a counter."""
    _, scope, subject, window, identity = name.split(":")
    return CounterName(f"{scope}:{subject}", Window(window), identity)


def counter_key(name: CounterName) -> str:
    """The reverse."""
    return f"spend:{name.account}:{name.window}:{name.identity}"


def _receipt(fields: Mapping[str, str], organisation: str) -> Booked:
    minute, _, measures = fields["counted"].partition(" ")
    return Booked(
        Principal(fields["key_id"], organisation, fields["user"], fields["team"]),
        fields["model"],
        tuple(minutes(fields["bookings"])),
        int(minute or 0),
        spent(measures) if measures else Spent(),
    )


def _open(values: Sequence[str], organisation: str) -> Open:
    text, bookings, reserved, part_ms = values
    asked = json.loads(text)
    principal = Principal(asked["key_id"], organisation, asked["user"], asked["team"])
    # The money is the first of what is reserved.
    micro_usd = int(reserved.partition(" ")[0])
    return Open(Booked(principal, asked["model"], tuple(minutes(bookings))), micro_usd, int(part_ms) // 60_000)


def _counter(spent: str | None, reserved: str | None) -> tuple[int, int] | None:
    return None if spent is None and reserved is None else (int(spent or 0), int(reserved or 0))


def _by_name(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
