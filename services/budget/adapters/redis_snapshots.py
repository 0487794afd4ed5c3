"""What the ledger's keys hold, read at one instant by lua/snapshot.lua, in the words of the verification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.budget.domain.limits import Kind, Principal, Scope
from services.budget.domain.notes import Note, RateName, Where
from services.budget.domain.spend import Spender, Spent
from services.budget.domain.verification import Booked, CounterName, minutes
from services.budget.domain.windows import Window

Place = tuple[int, int]
BEGINNING: Place = (0, 0)
# The order of amounts in an open reservation, in `wanted` and in a note: of lua/snapshot.lua, wanted.lua and notes.lua.
_AMOUNTS = (Kind.MONEY, Kind.INPUT_TOKENS, Kind.OUTPUT_TOKENS, Kind.REQUESTS, Kind.CONCURRENCY)
WANTED = (Kind.MONEY, Kind.OUTPUT_TOKENS)
_NOTED = (Kind.MONEY, Kind.REQUESTS, Kind.INPUT_TOKENS, Kind.OUTPUT_TOKENS)
# The letters of a note: the first of scope and kind, the last of the window, for minute and month begin alike.
_SCOPES = {str(each)[0]: str(each) for each in Scope}
_KINDS = {str(each)[0]: each for each in Kind}
_WINDOWS = {str(each)[-1]: each for each in Window}


@dataclass(frozen=True, slots=True)
class Open:
    """A reservation that is open: what earlier parts of its lease have booked, and what the live one holds."""

    booked: Booked
    reserved: Mapping[Kind, int]
    reserved_second: int
    # Where that is counted for a limit alone.
    touched: tuple[RateName, ...]
    # What may be wanted beyond it.
    wanted: Mapping[Kind, int]


@dataclass(frozen=True, slots=True)
class Rate:
    """A counter for a limit alone: the sum that is kept, its buckets, and what is reserved."""

    spent: int
    buckets: Mapping[int, int]
    reserved: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One instant. Receipts are those after a place, the oldest first; counters are spent and reserved."""

    now_seconds: float
    last_trimmed: Place
    receipts: tuple[Booked, ...]
    # Of the last of them; None without any.
    last: Place | None
    counters: tuple[tuple[int, int] | None, ...]
    rates: tuple[Rate, ...]
    opened: tuple[Open, ...]
    # By account, what open answers may want.
    wanted: Mapping[str, Mapping[Kind, int]]
    day: Mapping[Spender, Spent]


def snapshot(reply: Sequence[Any], organisation: str) -> Snapshot:
    now_ms, last_trimmed, receipts, counters, rates, opened, wanted, day = reply
    return Snapshot(
        now_seconds=int(now_ms) / 1000,
        last_trimmed=place(last_trimmed),
        receipts=tuple(_receipt(_by_name(fields), organisation) for _, fields in receipts),
        last=place(receipts[-1][0]) if receipts else None,
        counters=tuple(_counter(each) for each in counters),
        rates=tuple(_rate(_by_name(each)) for each in rates),
        opened=tuple(_open(each, organisation) for each in opened),
        wanted={account: _amounts(WANTED, map(int, text.split())) for account, text in _by_name(wanted).items()},
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


def counter_name(page: str, account: str) -> CounterName:
    """Of `spent:day:20261122` and `key:ci`, as lua/counters.lua names a page and a field of it."""
    _, window, identity = page.split(":")
    return CounterName(account, Window(window), identity)


def counter_place(name: CounterName) -> tuple[str, str]:
    """The reverse."""
    return f"spent:{name.window}:{name.identity}", name.account


def rate_name(name: str) -> RateName:
    """Of `rate:key:ada:minute:requests`, as lua/counters.lua names it."""
    _, scope, subject, window, kind = name.split(":")
    return RateName(f"{scope}:{subject}", Kind(kind), Window(window))


def rate_key(name: RateName) -> str:
    """The reverse."""
    return f"rate:{name.account}:{name.window}:{name.kind}"


def _receipt(fields: Mapping[str, str], organisation: str) -> Booked:
    minute, _, measures = fields["counted"].partition(" ")
    return Booked(
        Principal(fields["key_id"], organisation, fields["user"], fields["team"]),
        fields["model"],
        tuple(minutes(fields["bookings"])),
        tuple(_notes(fields["noted"])),
        int(minute or 0),
        spent(measures) if measures else Spent(),
    )


def _open(values: Sequence[Any], organisation: str) -> Open:
    key_id, user, team, model, bookings, noted, touched, reserved, wanted, part_ms = values
    principal = Principal(key_id, organisation, user, team)
    booked = Booked(principal, model, tuple(minutes(bookings)), tuple(_notes(noted)))
    return Open(
        booked,
        _amounts(_AMOUNTS, reserved),
        part_ms // 1000,
        tuple(_touched(each) for each in touched.splitlines()),
        _amounts(_AMOUNTS, wanted),
    )


def _amounts(kinds: Sequence[Kind], amounts: Iterable[int]) -> dict[Kind, int]:
    return dict(zip(kinds, amounts, strict=True))


def _touched(line: str) -> RateName:
    account, kind, window = line.split(" ")
    return RateName(account, Kind(kind), Window(window))


def _notes(text: str) -> Iterator[Note]:
    """As lua/notes.lua writes them."""
    for line in text.splitlines():
        reserved, booked, *rest = line.split()
        amounts, where = rest[: len(_NOTED)], rest[len(_NOTED) :]
        places = tuple(Where(_SCOPES[each[0]], _KINDS[each[1]], _WINDOWS[each[2]]) for each in where)
        yield Note(int(reserved), int(booked), dict(zip(_NOTED, map(int, amounts), strict=True)), places)


def _rate(fields: Mapping[str, str]) -> Rate:
    buckets = {int(name): int(value) for name, value in fields.items() if name.isdecimal()}
    return Rate(int(fields.get("spent", 0)), buckets, int(fields.get("reserved", 0)))


def _counter(stands: str | None) -> tuple[int, int] | None:
    if stands is None:
        return None
    spent, reserved = stands.split()
    return int(spent), int(reserved)


def _by_name(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
