"""What the counters and the sums of days must be, by the ledger: the other side of what the scripts keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from services.budget.domain.limits import WINDOWS, Principal
from services.budget.domain.notes import Note, RateSums
from services.budget.domain.spend import DAYS_KEPT, Spender, Spent
from services.budget.domain.windows import Window, period

_MINUTE_SECONDS = 60
_COUNTER_KEPT_SECONDS = 3 * 86_400
# What is about to go may be gone.
_MARGIN_SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class Progress:
    """So many receipts have been read."""

    receipts: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A sum that is kept, and what it must be. `name` says which, such as `key:ci day 20261122 spent`."""

    name: str
    kept: int
    computed: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What has been compared: receipts in the ledger and in its checkpoint, counters, sums of days."""

    receipts: int
    trimmed_receipts: int
    counters: int
    days: int
    differences: int = 0


Finding = Progress | Difference | Verified


@dataclass(frozen=True, slots=True)
class CounterName:
    """A counter of money: an account such as `key:ci`, a window, and which of them."""

    account: str
    window: Window
    identity: str

    def __str__(self) -> str:
        return f"{self.account.rstrip(':')} {self.window} {self.identity}"


@dataclass(frozen=True, slots=True)
class Booked:
    """What a receipt, or an open reservation, has booked: money by the minute, everything else in one minute."""

    principal: Principal
    model: str
    # Minutes since 1970 and micro-dollars; negative where something is taken back.
    money: tuple[tuple[int, int], ...]
    # Whatever was counted for a limit alone.
    notes: tuple[Note, ...] = ()
    counted_minute: int = 0
    counted: Spent = field(default_factory=Spent)


@dataclass(slots=True)
class Sums:
    """The sums so far."""

    spent: Counter[CounterName] = field(default_factory=Counter)
    # When the window of a counter ends, for those of receipts; None: never.
    ends_at: dict[CounterName, int | None] = field(default_factory=dict)
    rates: RateSums = field(default_factory=RateSums)
    days: dict[str, dict[Spender, Spent]] = field(default_factory=dict)

    def book(self, booked: Booked) -> None:
        """A receipt, in all counters and days."""
        for minute, micro_usd in booked.money:
            for name, ends_at in counters_at(booked.principal, minute):
                self.spent[name] += micro_usd
                self.ends_at[name] = ends_at
            self.count(booked, minute, Spent(cost_micro_usd=micro_usd))
        for note in booked.notes:
            self.rates.add(note, booked.principal)
            for account, micro_usd in note.money_by_minute(booked.principal):
                name, ends_at = minute_counter(account, note.reserved_second)
                self.spent[name] += micro_usd
                self.ends_at[name] = ends_at
        if booked.counted:
            self.count(booked, booked.counted_minute, booked.counted)

    def count(self, booked: Booked, minute: int, spent: Spent) -> None:
        """On the day of that minute."""
        principal = booked.principal
        spender = Spender(principal.key_id, principal.user, principal.team, booked.model)
        self.add(period(Window.DAY, minute * _MINUTE_SECONDS).id, {spender: spent})

    def add(self, day: str, sums: Mapping[Spender, Spent]) -> None:
        """Sums of that day, such as 20261122, of receipts that are gone."""
        found = self.days.setdefault(day, {})
        for spender, spent in sums.items():
            found[spender] = found.get(spender, Spent()) + spent


def counters_at(principal: Principal, minute: int) -> Iterator[tuple[CounterName, int | None]]:
    """Those in which money of that minute is counted, and when their windows end."""
    for window in WINDOWS:
        found = period(window, minute * _MINUTE_SECONDS)
        for account in principal.accounts():
            yield CounterName(str(account), window, found.id), found.end_seconds


def minute_counter(account: str, second: int) -> tuple[CounterName, int | None]:
    """An account's money of the minute of that second, and when it ends."""
    found = period(Window.MINUTE, second)
    return CounterName(account, Window.MINUTE, found.id), found.end_seconds


def is_kept(window_ends_at: int | None, now_seconds: float) -> bool:
    """Whether a counter must be there still: lua/counters.lua keeps it for three days after its window."""
    return window_ends_at is None or now_seconds < window_ends_at + _COUNTER_KEPT_SECONDS - _MARGIN_SECONDS


def minute_is_told(name: CounterName, receipts_reach_back_seconds: float | None, now_seconds: float) -> bool:
    """Whether all that was booked in it is still in the ledger: the checkpoint has no money by the minute."""
    if name.window is not Window.MINUTE or receipts_reach_back_seconds is None:
        return True
    began = datetime.strptime(name.identity, "%Y%m%dT%H%M").replace(tzinfo=UTC).timestamp()
    return now_seconds < began + receipts_reach_back_seconds - _MARGIN_SECONDS


def day_is_kept(day: str, now_seconds: float) -> bool:
    """Whether the sums of that day, such as 20261122, must be there still."""
    ends = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=1 + DAYS_KEPT)
    return now_seconds < ends.timestamp() - _MARGIN_SECONDS


def compared(name: str, kept: int, computed: int) -> Iterator[Difference]:
    if kept != computed:
        yield Difference(name, kept, computed)


def compared_day(day: str, kept: Mapping[Spender, Spent], computed: Mapping[Spender, Spent]) -> Iterator[Difference]:
    """Every measure of everybody who has spent."""
    for spender in sorted(kept.keys() | computed.keys(), key=_named):
        is_kept = asdict(kept.get(spender, Spent()))
        for measure, value in asdict(computed.get(spender, Spent())).items():
            yield from compared(f"day {day} {_named(spender)} {measure}", is_kept[measure], value)


def _named(spender: Spender) -> str:
    return f"key:{spender.key_id} user:{spender.user} team:{spender.team} model:{spender.model}"


def minutes(bookings: str) -> Iterator[tuple[int, int]]:
    """`28481235=70 28481236=-5`: minutes since 1970 and micro-dollars, as receipts say it."""
    for booking in bookings.split():
        minute, _, micro_usd = booking.partition("=")
        yield int(minute), int(micro_usd)
