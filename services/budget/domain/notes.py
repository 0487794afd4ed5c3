"""What is counted for a limit alone, recomputed: rates, open requests, and money by the minute."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from services.budget.domain.limits import Kind, Principal
from services.budget.domain.windows import BUCKETS, SLIDING_SECONDS, Window, bucket_seconds


@dataclass(frozen=True, slots=True)
class RateName:
    """A counter of anything but money: an account such as `key:ci`, a kind, a window."""

    account: str
    kind: Kind
    window: Window

    def __str__(self) -> str:
        return f"{self.account.rstrip(':')} {self.kind} {self.window}"


@dataclass(frozen=True, slots=True)
class Where:
    """In which counter of whichever of a principal's accounts has that scope."""

    scope: str
    kind: Kind
    window: Window


@dataclass(frozen=True, slots=True)
class Note:
    """Amounts that were booked, and in which counters; negative where something is taken back."""

    # When the part of the lease was reserved, which says the calendar's window; when this was booked, which says the
    # bucket of a sliding one.
    reserved_second: int
    booked_second: int
    amounts: Mapping[Kind, int]
    where: tuple[Where, ...]

    def money_by_minute(self, principal: Principal) -> Iterator[tuple[str, int]]:
        """Accounts that count money by the minute, and how much."""
        for name in named(self.where, principal):
            if name.kind is Kind.MONEY:
                yield name.account, self.amounts[Kind.MONEY]


@dataclass(slots=True)
class RateSums:
    """What was booked in each counter, by bucket; in one where nothing leaves the window."""

    booked: dict[RateName, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, note: Note, principal: Principal) -> None:
        for name in named(note.where, principal):
            if name.kind is not Kind.MONEY:
                self.booked[name][_bucket(name, note.booked_second)] += note.amounts.get(name.kind, 0)

    def used(self, name: RateName, now_seconds: float) -> int:
        """What counts at that moment."""
        return in_window(name, self.booked.get(name, Counter()), now_seconds)


def named(where: Iterable[Where], principal: Principal) -> Iterator[RateName]:
    """The counters, by the principal's accounts."""
    accounts = {str(each.scope): str(each) for each in principal.accounts()}
    return (RateName(accounts[each.scope], each.kind, each.window) for each in where)


def in_window(name: RateName, buckets: Mapping[int, int], now_seconds: float) -> int:
    """The sum of the buckets that count at that moment."""
    oldest = _bucket(name, now_seconds) - BUCKETS
    return sum(amount for number, amount in buckets.items() if number >= oldest)


def is_told(window: Window, receipts_reach_back_seconds: float | None) -> bool:
    """Whether all that counts in such a window is still in the ledger; None: nothing was ever trimmed.

    Of what is trimmed only money by the hour, day, month and in total is in the checkpoint.
    """
    if receipts_reach_back_seconds is None:
        return True
    return window is not Window.TOTAL and _reach_seconds(window) <= receipts_reach_back_seconds


def _reach_seconds(window: Window) -> int:
    return SLIDING_SECONDS[window] + bucket_seconds(window)


def _bucket(name: RateName, seconds: float) -> int:
    return 0 if name.window is Window.TOTAL else int(seconds) // bucket_seconds(name.window)
