"""The limits and counters of the ledger in memory: a counter is a sum over all reservations, taken when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NoReturn

from libs.testing.held import Amounts, Booking, Counted, Held, bookings_in, is_in
from services.budget.domain.errors import budget_exceeded
from services.budget.domain.limits import WINDOWS, Account, BudgetState, Kind, Limit, LimitName, Principal
from services.budget.domain.windows import BUCKETS, Window, bucket_seconds, period

# Where what is reserved stands in the way, it may be gone at any moment.
_TRY_AGAIN_MS = 1_000
_OF_REQUEST = (Kind.REQUESTS, Kind.CONCURRENCY)
_NEVER = float("inf")


class InMemoryCounters:
    """`held` gives an organisation's reservations, all that there ever were."""

    def __init__(self, held: Callable[[str], Iterator[Held]]) -> None:
        self._held = held
        self._limits: dict[str, dict[LimitName, Limit]] = {}

    def put(self, organisation: str, limit: Limit) -> None:
        """Sets it, in place of one of its name."""
        limits = self._limits.setdefault(organisation, {})
        limits.pop(limit.name, None)  # the latest comes last
        limits[limit.name] = limit

    def add(self, organisation: str, limit: Limit) -> bool:
        """Sets it where there is none of its name."""
        return self._limits.setdefault(organisation, {}).setdefault(limit.name, limit) is limit

    def remove(self, organisation: str, name: LimitName) -> bool:
        """False where there is none."""
        return self._limits.get(organisation, {}).pop(name, None) is not None

    def limits(self, organisation: str) -> tuple[Limit, ...]:
        """As they were set."""
        return tuple(self._limits.get(organisation, {}).values())

    def used_and_reserved(
        self, organisation: str, account: Account, window: Window, at_ms: int, kind: Kind = Kind.MONEY
    ) -> tuple[int, int]:
        """The counter at that moment; of money, of the calendar's window in which it lies."""
        counted = Counted(account, kind, window)
        if kind is Kind.MONEY:
            return self.counter(organisation, account, window, period(window, at_ms // 1000).id)
        of = list(self._held(organisation))
        used = sum(each.amount for each in bookings_in(of, counted) if is_in(window, each.booked_ms, at_ms))
        return used, sum(held.reserved.get(kind, 0) for held in of if counted in held.counted)

    def counter(self, organisation: str, account: Account, window: Window, identity: str) -> tuple[int, int]:
        """Of money, spent and reserved in the window of that id."""
        counted, of = Counted(account, Kind.MONEY, window), list(self._held(organisation))
        bookings = bookings_in(of, counted)
        spent = sum(each.amount for each in bookings if period(window, each.reserved_ms // 1000).id == identity)
        live = (each for each in of if counted in each.counted and period(window, each.part_ms // 1000).id == identity)
        return spent, sum(each.reserved.get(Kind.MONEY, 0) for each in live)

    def bookings(self, organisation: str, counted: Counted) -> list[Booking]:
        """What was ever booked in a counter."""
        return list(bookings_in(self._held(organisation), counted))

    def limits_of(self, principal: Principal) -> list[Limit]:
        """In the order in which they are looked at: by account, then as they were set."""
        accounts = principal.accounts()
        limits = (each for each in self._limits.get(principal.organisation, {}).values() if each.account in accounts)
        return sorted(limits, key=lambda limit: accounts.index(limit.account))

    def touched(self, principal: Principal) -> tuple[Counted, ...]:
        """Where the first part of a request is counted."""
        return self._always(principal) + self._limited(principal, tuple(Kind))

    def _always(self, principal: Principal) -> tuple[Counted, ...]:
        return tuple(Counted(account, Kind.MONEY, window) for account in principal.accounts() for window in WINDOWS)

    def _limited(self, principal: Principal, kinds: tuple[Kind, ...]) -> tuple[Counted, ...]:
        """What is counted beside that, of those kinds: what there are limits for."""
        limited = dict.fromkeys(counted_by(each) for each in self.limits_of(principal) if each.kind in kinds)
        return tuple(each for each in limited if each not in self._always(principal))

    def next_part(self, principal: Principal, before: tuple[Counted, ...]) -> tuple[Counted, ...]:
        """Where a new part of a request is counted; what counts the request itself stays as it was."""
        of_part = tuple(kind for kind in Kind if kind not in _OF_REQUEST)
        of_request = tuple(each for each in before if each.kind in _OF_REQUEST)
        return self._always(principal) + self._limited(principal, of_part) + of_request

    def state(self, organisation: str, limit: Limit, now: int, *, wanted: bool = False) -> BudgetState:
        """With what is wanted beyond leases, as if that were reserved."""
        used, reserved = self.used_and_reserved(organisation, limit.account, limit.window, now, limit.kind)
        if wanted:
            reserved += sum(each.wanted.get(limit.kind, 0) for each in self._whose(organisation, limit.account))
        ends = period(limit.window, now // 1000).end_seconds if limit.kind is Kind.MONEY else None
        return BudgetState(limit, used, reserved, ends)

    def _whose(self, organisation: str, account: Account) -> Iterator[Held]:
        return (each for each in self._held(organisation) if account in each.asked.principal.accounts())

    def refuse(
        self, organisation: str, passed: list[tuple[BudgetState, BudgetState]], takes: Amounts, need: Amounts, now: int
    ) -> NoReturn:
        """For the limit that frees last, of those that a step would pass; each as it was, and as it would be."""
        frees = [self._frees_ms(organisation, was, will, takes, need, now) for was, will in passed]
        latest = max(frees)
        state = passed[frees.index(latest)][0]
        after_seconds = (latest - now) / 1000 if latest < _NEVER else None
        raise budget_exceeded(state, need=need[state.limit.kind], frees_after_seconds=after_seconds)

    def _frees_ms(
        self, organisation: str, was: BudgetState, will: BudgetState, takes: Amounts, need: Amounts, now: int
    ) -> float:
        """When the limit may have room."""
        limit, too_much = was.limit, -room_in(will)
        if need[limit.kind] > limit.most:
            return _NEVER
        ends_ms = _NEVER if was.resets_at_seconds is None else was.resets_at_seconds * 1000
        if too_much <= will.reserved - takes.get(limit.kind, 0):
            return min(now + _TRY_AGAIN_MS, ends_ms)
        if limit.window is Window.TOTAL or limit.kind is Kind.MONEY:
            return ends_ms
        bucket_ms = bucket_seconds(limit.window) * 1000
        for each in sorted(bookings_in(self._held(organisation), counted_by(limit)), key=lambda each: each.booked_ms):
            if is_in(limit.window, each.booked_ms, now):
                leaves_ms = (each.booked_ms // bucket_ms + BUCKETS + 1) * bucket_ms
                still_in = sum(
                    other.amount
                    for other in bookings_in(self._held(organisation), counted_by(limit))
                    if is_in(limit.window, other.booked_ms, leaves_ms)
                )
                if was.used - still_in >= too_much:
                    return leaves_ms
        return now + _TRY_AGAIN_MS


def counted_by(limit: Limit) -> Counted:
    """What it limits."""
    return Counted(limit.account, limit.kind, limit.window)


def room_in(state: BudgetState) -> int:
    """Negative where it is passed."""
    return state.limit.most - state.used - state.reserved
