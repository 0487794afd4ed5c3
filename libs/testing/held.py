"""A reservation of the ledger in memory: what it was asked, what its lease holds, what it has booked and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from libs.money import Usage, cost_micro_usd
from services.budget.domain.lease import Reservation
from services.budget.domain.limits import Account, Kind
from services.budget.domain.money import worst_cost_micro_usd
from services.budget.domain.receipt import Receipt
from services.budget.domain.windows import BUCKETS, Window, bucket_seconds

_MINUTE_MS = 60_000

# By kind; what is not in it is 0.
Amounts = Mapping[Kind, int]


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted of an account: a kind, over a window."""

    account: Account
    kind: Kind
    window: Window


@dataclass(frozen=True, slots=True)
class Booking:
    """An amount that was booked, in which counters and when."""

    counted: tuple[Counted, ...]
    kind: Kind
    amount: int
    # When it was reserved, which says the calendar's window; and when it was booked, which says the bucket.
    reserved_ms: int
    booked_ms: int


@dataclass(slots=True)
class Held:
    """A reservation: what was asked, the live part of its lease, and what it has booked at which time."""

    asked: Reservation
    leased: int
    part_ms: int
    expires_ms: int
    # Where the live part is counted.
    counted: tuple[Counted, ...] = ()
    reserved: Amounts = field(default_factory=dict)
    # What the longest answer would take beyond that and what is booked.
    wanted: Amounts = field(default_factory=dict)
    seq: int = 0
    used: Usage = field(default_factory=Usage)
    bookings: list[Booking] = field(default_factory=list)
    state: str = "open"
    closed_ms: int = 0
    presumed: Amounts = field(default_factory=dict)
    released: int = 0
    receipt: Receipt | None = None
    # Booked after the ledger was away.
    late: bool = False

    def booked(self, kind: Kind = Kind.MONEY) -> int:
        return sum(each.amount for each in self.bookings if each.kind is kind)

    def book(self, amounts: Amounts, at_ms: int) -> None:
        """Where the live part was reserved."""
        self.bookings += (Booking(self.counted, kind, most, self.part_ms, at_ms) for kind, most in amounts.items())

    def money(self) -> tuple[tuple[int, int], ...]:
        """What was booked of money in which minutes, as a receipt has it."""
        by_minute: Counter[int] = Counter()
        for each in self.bookings:
            if each.kind is Kind.MONEY:
                by_minute[each.reserved_ms // _MINUTE_MS] += each.amount
        return tuple((minute, booked) for minute, booked in by_minute.items() if booked)

    def unbooked(self, amounts: Amounts) -> Amounts:
        """What of them is not booked yet."""
        return {kind: max(0, most - self.booked(kind)) for kind, most in amounts.items()}

    def used_of(self, usage: Usage) -> Amounts:
        """What that usage comes to and is not booked, as far as it is reserved."""
        cost = cost_micro_usd(self.asked.price, usage)
        used = {Kind.MONEY: cost, Kind.INPUT_TOKENS: usage.input_tokens, Kind.OUTPUT_TOKENS: usage.output_tokens}
        return {kind: min(most, self.reserved.get(kind, 0)) for kind, most in self.unbooked(used).items()}

    def reserve(self, output_tokens: int) -> None:
        """All that it takes to deliver so many, and is not booked."""
        self.reserved = self.unbooked(self.covering(output_tokens))
        longest = self.unbooked(self.covering(self.asked.max_output_tokens))
        self.wanted = {kind: max(0, most - self.reserved[kind]) for kind, most in longest.items()}

    def give_back(self) -> None:
        """All that the live part holds and that was wanted beyond it."""
        self.reserved, self.wanted = {}, {}

    def covering(self, output_tokens: int) -> Amounts:
        """What it takes to deliver so many."""
        return {
            Kind.MONEY: self.cost_at(output_tokens),
            Kind.INPUT_TOKENS: self.used.input_tokens or self.asked.max_input_tokens,
            Kind.OUTPUT_TOKENS: output_tokens,
            Kind.CONCURRENCY: 1,
        }

    def cost_at(self, output_tokens: int) -> int:
        """What the request costs once it has delivered so many."""
        if self.used.input_tokens:
            return cost_micro_usd(self.asked.price, replace(self.used, output_tokens=output_tokens))
        return worst_cost_micro_usd(
            self.asked.price, input_tokens=self.asked.max_input_tokens, output_tokens=output_tokens
        )


def bookings_in(of: Iterable[Held], counted: Counted) -> Iterator[Booking]:
    """What was ever booked in a counter."""
    for held in of:
        yield from (each for each in held.bookings if each.kind is counted.kind and counted in each.counted)


def is_in(window: Window, booked_ms: int, at_ms: int) -> bool:
    """Whether its bucket still counts at that moment."""
    if window is Window.TOTAL:
        return True
    bucket_ms = bucket_seconds(window) * 1000
    return booked_ms // bucket_ms >= at_ms // bucket_ms - BUCKETS
