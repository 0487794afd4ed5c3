"""The budget's ledger in memory, as plain as it can be: a counter is a sum over all reservations, taken when asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date

from libs.errors import TokenwayError
from libs.money import Usage, UsageSource, cost_micro_usd
from services.budget.domain.errors import budget_exceeded, reservation_closed, reservation_not_found
from services.budget.domain.lease import Extension, Lease, LeasePolicy, Reservation, ReservationId
from services.budget.domain.limits import WINDOWS, Account, BudgetState, Limit, Principal, Scope
from services.budget.domain.money import worst_cost_micro_usd
from services.budget.domain.ports import Swept
from services.budget.domain.receipt import Outcome, Receipt, ReceiptPage, ReceiptQuery, Settlement
from services.budget.domain.spend import Spender, Spent
from services.budget.domain.windows import Window, period

_REMEMBERED_MS = 24 * 3_600_000


@dataclass(slots=True)
class Held:
    """A reservation: what was asked, the live part of its lease, and what it has booked at which time."""

    asked: Reservation
    leased: int
    reserved: int
    part_ms: int
    expires_ms: int
    seq: int = 0
    used: Usage = field(default_factory=Usage)
    bookings: list[tuple[int, int]] = field(default_factory=list)
    state: str = "open"
    closed_ms: int = 0
    presumed: int = 0
    released: int = 0
    receipt: Receipt | None = None

    @property
    def booked(self) -> int:
        return sum(amount for _, amount in self.bookings)

    def book(self, amount: int) -> None:
        """In the windows where the live part was reserved."""
        self.bookings.append((self.part_ms, amount))

    def cost_at(self, output_tokens: int) -> int:
        """What the request costs once it has delivered so many."""
        if self.used.input_tokens:
            return cost_micro_usd(self.asked.price, replace(self.used, output_tokens=output_tokens))
        return worst_cost_micro_usd(
            self.asked.price, input_tokens=self.asked.max_input_tokens, output_tokens=output_tokens
        )


class InMemoryLedger:
    """A Ledger without Redis."""

    def __init__(self, *, policy: LeasePolicy | None = None, now_ms: Callable[[], int] | None = None) -> None:
        self._policy = policy or LeasePolicy()
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._latest_ms: dict[str, int] = {}
        self._limits: dict[str, dict[tuple[Account, Window], Limit]] = {}
        self._held: dict[tuple[str, ReservationId], Held] = {}
        # Closed so long ago that their ids are used anew; what they booked stands.
        self._forgotten: list[Held] = []
        self._receipts: list[tuple[str, Receipt]] = []

    async def reserve(self, reservation: Reservation) -> Lease:
        organisation = reservation.principal.organisation
        now = self._begin(organisation)
        existing = self._find(organisation, reservation.id, now)
        if existing and existing.state != "open":
            raise reservation_closed(reservation.id, existing.state)
        if existing:
            return self._lease(existing, now)
        replaced = self._find(organisation, reservation.replaces, now) if reservation.replaces else None
        if replaced and replaced.state == "open":
            held = self._replace(replaced, reservation, now)
        else:
            held = self._first_lease(reservation, list(self._states(reservation.principal, now)), now)
        forgotten = self._held.pop((organisation, reservation.id), None)
        if forgotten:
            self._forgotten.append(forgotten)
        self._held[organisation, reservation.id] = held
        return self._lease(held, now)

    async def extend(self, extension: Extension) -> Lease:
        now = self._begin(extension.organisation)
        held = self._find_or_raise(extension.organisation, extension.id, now)
        if held.state != "open":
            raise reservation_closed(extension.id, held.state)
        if extension.seq <= held.seq:
            return self._lease(held, now)
        before = replace(held, bookings=list(held.bookings))
        try:
            self._extend(held, extension, now)
        except TokenwayError:
            self._held[extension.organisation, extension.id] = before
            raise
        return self._lease(held, now)

    async def settle(self, settlement: Settlement) -> Receipt:
        now = self._begin(settlement.organisation)
        held = self._find_or_raise(settlement.organisation, settlement.id, now)
        final_cost = cost_micro_usd(held.asked.price, settlement.usage)
        if held.state == "open":
            held.book(min(held.reserved, max(0, final_cost - held.booked)))
            uncovered = max(0, final_cost - held.booked)
            self._close(held, now, "settled", settlement.outcome, settlement.usage, settlement.why, uncovered)
        elif held.state == "expired":
            held.state = "settled"
            uncovered = max(0, final_cost - held.booked)
            self._correct(held, now, final_cost, settlement.usage, settlement.why, uncovered)
        return _receipt(held)

    async def release(self, organisation: str, reservation: ReservationId) -> int:
        now = self._begin(organisation)
        held = self._find_or_raise(organisation, reservation, now)
        if held.state == "open":
            held.released = held.reserved
            self._close(held, now, "released", Outcome.RELEASED, held.used)
        elif held.state == "expired":
            held.state = "released"
            held.released = self._correct(held, now, held.booked - held.presumed, held.used)
        return held.released

    async def sweep(self) -> Swept:
        before = [held for held in self._held.values() if held.state == "open"]
        for organisation in {owner for owner, _ in self._held}:
            self._begin(organisation)
        closed = [held for held in before if held.state == "expired"]
        return Swept(len(closed), sum(held.presumed for held in closed))

    async def usage(self, principal: Principal) -> tuple[BudgetState, ...]:
        return tuple(self._states(principal, self._begin(principal.organisation)))

    async def put_limit(self, organisation: str, limit: Limit) -> BudgetState:
        self._limits.setdefault(organisation, {})[limit.account, limit.window] = limit
        return self._state(organisation, limit, self._begin(organisation))

    async def add_limit(self, organisation: str, limit: Limit) -> bool:
        return self._limits.setdefault(organisation, {}).setdefault((limit.account, limit.window), limit) is limit

    async def limits(self, organisation: str) -> tuple[Limit, ...]:
        return tuple(self._limits.get(organisation, {}).values())

    async def remove_limit(self, organisation: str, account: Account, window: Window) -> bool:
        return self._limits.get(organisation, {}).pop((account, window), None) is not None

    async def states(self, organisation: str) -> tuple[BudgetState, ...]:
        now = self._begin(organisation)
        return tuple(self._state(organisation, each, now) for each in await self.limits(organisation))

    async def list_receipts(self, query: ReceiptQuery) -> ReceiptPage:
        # A page token is the place of the oldest receipt that was looked at.
        ledger = list(enumerate(self.receipts(query.organisation)))
        older = ledger[: int(query.page_token.partition("-")[0])] if query.page_token else ledger
        asked = [
            (place, each)
            for place, each in reversed(older)
            if query.request_id in ("", each.request_id) and each.booked_at_seconds >= query.since_seconds
        ]
        page = asked[: query.page_size]
        full = len(page) == query.page_size
        return ReceiptPage(tuple(each for _, each in page), f"{page[-1][0]}-0" if full else "")

    async def spent_on(self, organisation: str, day: date) -> dict[Spender, Spent]:
        found: dict[Spender, Spent] = {}
        for held in self._of(organisation, Account(Scope.ORGANISATION)):
            if held.receipt:
                asked = held.asked
                spender = Spender(asked.principal.key_id, asked.principal.user, asked.principal.team, asked.model)
                found[spender] = found.get(spender, Spent()) + _spent_by(held, f"{day:%Y%m%d}")
        return {spender: spent for spender, spent in found.items() if spent}

    def receipts(self, organisation: str) -> list[Receipt]:
        """The organisation's ledger, oldest first."""
        return [receipt for owner, receipt in self._receipts if owner == organisation]

    def spent_and_reserved(self, organisation: str, account: Account, window: Window, at_ms: int) -> tuple[int, int]:
        """The counter of the window in which that moment lies."""
        return self.counter(organisation, account, window, period(window, at_ms // 1000).id)

    def counter(self, organisation: str, account: Account, window: Window, identity: str) -> tuple[int, int]:
        """Spent and reserved in the window of that id."""
        spent = reserved = 0
        for held in self._of(organisation, account):
            spent += sum(amount for at_ms, amount in held.bookings if period(window, at_ms // 1000).id == identity)
            reserved += held.reserved if period(window, held.part_ms // 1000).id == identity else 0
        return spent, reserved

    def _replace(self, replaced: Held, reservation: Reservation, now: int) -> Held:
        before = list(self._states(reservation.principal, now))
        returned, replaced.reserved = replaced.reserved, 0
        try:
            held = self._first_lease(reservation, before, now)
        except TokenwayError:
            replaced.reserved = returned
            raise
        replaced.released = returned
        self._close(replaced, now, "released", Outcome.RELEASED, replaced.used)
        return held

    def _first_lease(self, asked: Reservation, before: list[BudgetState], now: int) -> Held:
        expires_ms = now + int(self._policy.lifetime_seconds * 1000)
        held = Held(asked, 0, 0, part_ms=now, expires_ms=expires_ms)
        states = list(self._states(asked.principal, now))
        room = min((_left(state) for state in states), default=None)
        worst = held.cost_at(asked.max_output_tokens)
        near_limit = room is not None and room < self._policy.near_limit_factor * worst
        held.leased = asked.max_output_tokens if near_limit else min(asked.want_output_tokens, asked.max_output_tokens)
        held.reserved = held.cost_at(held.leased)
        _refuse(before, [_left(state) - held.reserved for state in states], held.reserved, now)
        return held

    def _extend(self, held: Held, extension: Extension, now: int) -> None:
        before = list(self._states(held.asked.principal, now))
        held.seq, held.used = extension.seq, extension.used
        wanted = min(extension.used.output_tokens + extension.want_output_tokens, held.asked.max_output_tokens)
        held.leased = max(held.leased, wanted)
        held.book(min(held.reserved, max(0, cost_micro_usd(held.asked.price, extension.used) - held.booked)))
        held.reserved = max(0, held.cost_at(max(held.leased, extension.used.output_tokens)) - held.booked)
        held.part_ms, held.expires_ms = now, now + int(self._policy.lifetime_seconds * 1000)
        left_after = [_left(state) for state in self._states(held.asked.principal, now)]
        _refuse(before, left_after, held.reserved, now)

    def _presume(self, held: Held, now: int) -> None:
        held.presumed = held.reserved
        held.book(held.reserved)
        presumed = Usage(
            held.used.input_tokens or held.asked.max_input_tokens,
            held.used.cached_input_tokens,
            max(held.leased, held.used.output_tokens),
            UsageSource.PRESUMED,
        )
        self._close(held, now, "expired", Outcome.PRESUMED, presumed)

    def _close(
        self, held: Held, now: int, state: str, outcome: Outcome, usage: Usage, why: str = "", uncovered: int = 0
    ) -> None:
        asked = held.asked
        held.state, held.closed_ms, held.reserved = state, now, 0
        held.receipt = Receipt(
            request_id=asked.request_id,
            reservation_id=asked.id,
            key_id=asked.principal.key_id,
            model=asked.model,
            price=asked.price,
            usage=usage,
            cost_micro_usd=held.booked,
            outcome=outcome,
            why=why,
            uncovered_micro_usd=uncovered,
            booked_at_seconds=now / 1000,
        )
        self._receipts.append((held.asked.principal.organisation, held.receipt))

    def _correct(self, held: Held, now: int, actual_cost: int, usage: Usage, why: str = "", uncovered: int = 0) -> int:
        lower = min(held.presumed, max(0, held.booked - actual_cost))
        held.receipt = replace(_receipt(held), why=why, uncovered_micro_usd=uncovered)
        if lower:
            held.book(-lower)
            held.receipt = replace(
                held.receipt,
                usage=usage,
                cost_micro_usd=held.booked,
                outcome=Outcome.CORRECTED,
                booked_at_seconds=now / 1000,
            )
            self._receipts.append((held.asked.principal.organisation, held.receipt))
        return lower

    def _begin(self, organisation: str) -> int:
        """Every call begins so: the organisation's time, and no lease that has run out by then."""
        now = self._latest_ms[organisation] = max(self._now_ms(), self._latest_ms.get(organisation, 0))
        for (owner, _), held in self._held.items():
            if owner == organisation and held.state == "open" and held.expires_ms <= now:
                self._presume(held, now)
        return now

    def _find(self, organisation: str, reservation: ReservationId, now: int) -> Held | None:
        held = self._held.get((organisation, reservation))
        if held and held.state != "open" and held.closed_ms + _REMEMBERED_MS <= now:
            return None
        return held

    def _find_or_raise(self, organisation: str, reservation: ReservationId, now: int) -> Held:
        held = self._find(organisation, reservation, now)
        if held is None:
            raise reservation_not_found(reservation)
        return held

    def _lease(self, held: Held, now: int) -> Lease:
        whole = held.leased >= held.asked.max_output_tokens
        return Lease(held.leased, (held.expires_ms - now) / 1000, held.reserved, whole)

    def _of(self, organisation: str, account: Account) -> Iterator[Held]:
        for held in (*self._held.values(), *self._forgotten):
            principal = held.asked.principal
            if principal.organisation == organisation and account in principal.accounts():
                yield held

    def _states(self, principal: Principal, now: int) -> Iterator[BudgetState]:
        for window in WINDOWS:
            for account in principal.accounts():
                limit = self._limits.get(principal.organisation, {}).get((account, window))
                if limit:
                    yield self._state(principal.organisation, limit, now)

    def _state(self, organisation: str, limit: Limit, now: int) -> BudgetState:
        spent, reserved = self.spent_and_reserved(organisation, limit.account, limit.window, now)
        return BudgetState(limit, spent, reserved, period(limit.window, now // 1000).end_seconds)


def _refuse(before: list[BudgetState], left_after: list[int], need: int, now: int) -> None:
    """Raises for the limit that frees last of those that would be passed, but for one whose counter does not rise."""
    passed = [state for state, left in zip(before, left_after, strict=True) if left < 0 and left < _left(state)]
    if passed:
        last = max(passed, key=lambda state: _frees_at(state, need))
        raise budget_exceeded(last, need_micro_usd=need, now_seconds=now / 1000)


def _frees_at(state: BudgetState, need: int) -> float:
    if need > state.limit.limit_micro_usd or state.resets_at_seconds is None:
        return float("inf")
    return state.resets_at_seconds


def _left(state: BudgetState) -> int:
    return state.limit.limit_micro_usd - state.spent_micro_usd - state.reserved_micro_usd


def _spent_by(held: Held, day: str) -> Spent:
    """What it counts for on that day, now that it is closed."""
    receipt = _receipt(held)
    money = sum(amount for at_ms, amount in held.bookings if period(Window.DAY, at_ms // 1000).id == day)
    if period(Window.DAY, held.part_ms // 1000).id != day:
        return Spent(cost_micro_usd=money)
    return Spent(
        int(held.state != "released" or receipt.outcome is Outcome.PRESUMED),
        receipt.usage.input_tokens,
        receipt.usage.cached_input_tokens,
        receipt.usage.output_tokens,
        money,
        held.presumed if receipt.outcome is Outcome.PRESUMED else 0,
        receipt.cost_micro_usd if receipt.usage.source is UsageSource.ESTIMATED else 0,
    )


def _receipt(held: Held) -> Receipt:
    assert held.receipt is not None, "an open reservation has no receipt"
    return held.receipt
