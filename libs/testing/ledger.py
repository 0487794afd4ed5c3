"""The budget's ledger in memory, as plain as it can be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from libs.money import Usage, UsageSource, cost_micro_usd
from libs.testing.counters import InMemoryCounters, counted_by, room_in
from libs.testing.held import Amounts, Booking, Counted, Held
from libs.testing.receipts import InMemoryReceipts
from services.budget.domain.arrears import Arrear
from services.budget.domain.errors import reservation_closed, reservation_not_found
from services.budget.domain.lease import Extension, Lease, LeasePolicy, Reservation, ReservationId
from services.budget.domain.limits import Account, BudgetState, Kind, Limit, LimitName, Principal
from services.budget.domain.ports import Swept
from services.budget.domain.receipt import Outcome, Receipt, ReceiptPage, ReceiptQuery, Settlement
from services.budget.domain.windows import Window

_REMEMBERED_MS = 24 * 3_600_000


class InMemoryLedger:
    """A Ledger without Redis."""

    def __init__(self, *, policy: LeasePolicy | None = None, now_ms: Callable[[], int] | None = None) -> None:
        self._policy = policy or LeasePolicy()
        self._now_ms = now_ms or (lambda: time.time_ns() // 1_000_000)
        self._latest_ms: dict[str, int] = {}
        self._counters = InMemoryCounters(self.held)
        self._held: dict[tuple[str, ReservationId], Held] = {}
        # Closed so long ago that their ids are used anew; what they booked stands.
        self._forgotten: list[Held] = []
        self.entries = InMemoryReceipts()

    async def reserve(self, reservation: Reservation) -> Lease:
        organisation = reservation.principal.organisation
        now = self.begin(organisation)
        existing = self._find(organisation, reservation.id, now)
        if existing and existing.state != "open":
            raise reservation_closed(reservation.id, existing.state)
        if existing:
            return self._lease(existing, now, self._passed(existing, now))
        replaced = self._find(organisation, reservation.replaces, now) if reservation.replaces else None
        if replaced and replaced.asked.principal.accounts() != reservation.principal.accounts():
            replaced = None
        expires_ms = now + int(self._policy.lifetime_seconds * 1000)
        held = Held(reservation, 0, part_ms=now, expires_ms=expires_ms)
        forgotten = self._held.pop((organisation, reservation.id), None)
        if forgotten:
            self._forgotten.append(forgotten)
        self._step(held, now, lambda: self._take_place(held, replaced, now), begins=True, books=int(replaced is None))
        if replaced and replaced.state == "open":
            self._close(replaced, now, "released", Outcome.RELEASED, replaced.used)
        return self._lease(held, now, self._passed(held, now))

    async def extend(self, extension: Extension) -> Lease:
        now = self.begin(extension.organisation)
        held = self._find_or_raise(extension.organisation, extension.id, now)
        if held.state != "open":
            raise reservation_closed(extension.id, held.state)
        if extension.seq <= held.seq:
            return self._lease(held, now)
        self._step(held, now, lambda: self._extend(held, extension, now), begins=False)
        return self._lease(held, now)

    async def settle(self, settlement: Settlement) -> Receipt:
        now = self.begin(settlement.organisation)
        held = self._find_or_raise(settlement.organisation, settlement.id, now)
        final_cost = cost_micro_usd(held.asked.price, settlement.usage)
        uncovered = max(0, final_cost - held.booked())
        if held.state == "open":
            held.book(held.used_of(settlement.usage), now)
            uncovered = max(0, final_cost - held.booked())
            self._close(held, now, "settled", settlement.outcome, settlement.usage, settlement.why, uncovered)
        elif held.state == "expired":
            held.state = "settled"
            said = {
                Kind.MONEY: final_cost,
                Kind.INPUT_TOKENS: settlement.usage.input_tokens,
                Kind.OUTPUT_TOKENS: settlement.usage.output_tokens,
            }
            self._correct(held, now, said, settlement.usage, settlement.why, uncovered)
        return receipt_of(held)

    async def release(self, organisation: str, reservation: ReservationId) -> int:
        now = self.begin(organisation)
        held = self._find_or_raise(organisation, reservation, now)
        if held.state == "open":
            held.released = held.reserved.get(Kind.MONEY, 0)
            self._close(held, now, "released", Outcome.RELEASED, held.used)
        elif held.state == "expired":
            held.state = "released"
            said = {kind: held.booked(kind) - most for kind, most in held.presumed.items()}
            held.released = self._correct(held, now, said, held.used, receipt_of(held).why)
        return held.released

    async def book(self, arrear: Arrear) -> Receipt:
        asked, owner = arrear.reservation, arrear.organisation
        now = self.begin(owner)
        existing = self._find(owner, asked.id, now)
        told_by_others = existing and (
            existing.state == "settled" or (existing.state == "released" and not arrear.settlement)
        )
        if existing and (existing.late or told_by_others):
            return receipt_of(existing)
        if existing:
            await self.release(owner, asked.id)
        if before := self._held.get((owner, asked.id)):
            self._forgotten.append(before)
        at_ms = max(now - _REMEMBERED_MS, min(now, int(arrear.admitted_at_seconds * 1000)))
        held = self._held[owner, asked.id] = Held(asked, asked.max_output_tokens, at_ms, expires_ms=now, late=True)
        counters, whose = self._counters, asked.principal
        held.counted = counters.next_part(whose, existing.counted) if existing else counters.touched(whose)
        held.reserve(held.leased)
        held.book({Kind.REQUESTS: 0 if existing else 1}, now)
        if (settlement := arrear.settlement) is None:
            self._presume(held, now)
            held.receipt = replace(receipt_of(held), why=arrear.why)
            self.entries.amend(owner, held.receipt)
        else:
            held.book(held.used_of(settlement.usage), now)
            uncovered = max(0, cost_micro_usd(asked.price, settlement.usage) - held.booked())
            self._close(held, now, "settled", settlement.outcome, settlement.usage, arrear.why, uncovered)
        return receipt_of(held)

    async def sweep(self) -> Swept:
        before = [held for held in self._held.values() if held.state == "open"]
        for organisation in {owner for owner, _ in self._held}:
            self.begin(organisation)
        closed = [held for held in before if held.state == "expired"]
        return Swept(len(closed), sum(held.presumed.get(Kind.MONEY, 0) for held in closed))

    async def usage(self, principal: Principal) -> tuple[BudgetState, ...]:
        now, organisation = self.begin(principal.organisation), principal.organisation
        return tuple(self._counters.state(organisation, each, now) for each in self._counters.limits_of(principal))

    async def put_limit(self, organisation: str, limit: Limit) -> BudgetState:
        self._counters.put(organisation, limit)
        return self._counters.state(organisation, limit, self.begin(organisation))

    async def add_limit(self, organisation: str, limit: Limit) -> bool:
        self.begin(organisation)
        return self._counters.add(organisation, limit)

    async def limits(self, organisation: str) -> tuple[Limit, ...]:
        return self._counters.limits(organisation)

    async def remove_limit(self, organisation: str, name: LimitName) -> bool:
        self.begin(organisation)
        return self._counters.remove(organisation, name)

    async def states(self, organisation: str) -> tuple[BudgetState, ...]:
        now = self.begin(organisation)
        return tuple(self._counters.state(organisation, each, now) for each in await self.limits(organisation))

    async def list_receipts(self, query: ReceiptQuery) -> ReceiptPage:
        return self.entries.page(query)

    def used_and_reserved(
        self, organisation: str, account: Account, window: Window, at_ms: int, kind: Kind = Kind.MONEY
    ) -> tuple[int, int]:
        """The counter at that moment."""
        return self._counters.used_and_reserved(organisation, account, window, at_ms, kind)

    def counter(self, organisation: str, account: Account, window: Window, identity: str) -> tuple[int, int]:
        """Of money, spent and reserved in the window of that id."""
        return self._counters.counter(organisation, account, window, identity)

    def bookings(self, organisation: str, counted: Counted) -> list[Booking]:
        """What was ever booked in a counter."""
        return self._counters.bookings(organisation, counted)

    def receipts(self, organisation: str) -> list[Receipt]:
        """What the entries say."""
        return [each.receipt for each in self.entries.of(organisation)]

    def _take_place(self, held: Held, replaced: Held | None, now: int) -> None:
        """Reserves for it, where it replaces an open one in place of that."""
        principal = held.asked.principal
        returned: Amounts = {}
        if replaced and replaced.state == "open":
            held.counted = self._counters.next_part(principal, replaced.counted)
            returned = replaced.reserved
            replaced.give_back()
        else:
            held.counted = self._counters.touched(principal)
        held.leased = min(held.asked.want_output_tokens, held.asked.max_output_tokens)
        held.reserve(held.leased)
        held.book({Kind.REQUESTS: 0 if replaced else 1}, now)
        if replaced and replaced.state == "open":
            replaced.released = returned.get(Kind.MONEY, 0)

    def _extend(self, held: Held, extension: Extension, now: int) -> None:
        held.book(held.used_of(extension.used), now)
        held.seq, held.used = extension.seq, extension.used
        wanted = min(extension.used.output_tokens + extension.want_output_tokens, held.asked.max_output_tokens)
        held.leased = max(held.leased, wanted)
        held.counted = self._counters.next_part(held.asked.principal, held.counted)
        held.reserve(max(held.leased, extension.used.output_tokens))
        held.part_ms, held.expires_ms = now, now + int(self._policy.lifetime_seconds * 1000)

    def _step(self, held: Held, now: int, change: Callable[[], None], *, begins: bool, books: int = 0) -> None:
        """Makes the change, or raises for the limit that it would pass and leaves everything as it was.

        A request that begins must fit as a whole, beside all that open ones may still want.
        """
        owner = held.asked.principal.organisation
        limits = [each for each in self._counters.limits_of(held.asked.principal) if not each.soft]
        before = self._standing(owner, limits, now, wanted=begins)
        saved = {name: replace(each, bookings=list(each.bookings)) for name, each in self._held.items()}
        self._held[owner, held.asked.id] = held
        change()
        after = self._standing(owner, limits, now, wanted=begins)
        passed = [(was[-1], will[-1]) for was, will in zip(before, after, strict=True) if _is_passed(was, will)]
        if passed:
            self._held = saved
            takes = {kind: most + (held.wanted[kind] if begins else 0) for kind, most in held.reserved.items()}
            self._counters.refuse(owner, passed, takes, {**takes, Kind.REQUESTS: books}, now)

    def _standing(self, owner: str, limits: list[Limit], now: int, *, wanted: bool) -> list[list[BudgetState]]:
        """Of each limit, without what is wanted beyond leases; and with it, where that counts."""
        views = (False, True) if wanted else (False,)
        return [[self._counters.state(owner, each, now, wanted=view) for view in views] for each in limits]

    def _presume(self, held: Held, now: int) -> None:
        held.presumed = {kind: most for kind, most in held.reserved.items() if kind is not Kind.CONCURRENCY}
        held.book(held.presumed, now)
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
        held.give_back()
        held.state, held.closed_ms = state, now
        held.receipt = Receipt(
            request_id=asked.request_id,
            reservation_id=asked.id,
            key_id=asked.principal.key_id,
            model=asked.model,
            price=asked.price,
            usage=usage,
            cost_micro_usd=held.booked(),
            outcome=outcome,
            why=why,
            uncovered_micro_usd=uncovered,
            booked_at_seconds=now / 1000,
        )
        self.entries.write(held.asked.principal, held.receipt, held.money())

    def _correct(self, held: Held, now: int, said: Amounts, usage: Usage, why: str = "", uncovered: int = 0) -> int:
        lower = {kind: min(held.presumed.get(kind, 0), max(0, held.booked(kind) - most)) for kind, most in said.items()}
        held.receipt = replace(receipt_of(held), why=why, uncovered_micro_usd=uncovered)
        held.book({kind: -most for kind, most in lower.items()}, held.closed_ms)
        if any(lower.values()):
            held.receipt = replace(
                held.receipt,
                usage=usage,
                cost_micro_usd=held.booked(),
                outcome=Outcome.CORRECTED,
                booked_at_seconds=now / 1000,
            )
            money = lower.get(Kind.MONEY, 0)
            booked = ((held.part_ms // 60_000, -money),) if money else ()
            self.entries.write(held.asked.principal, held.receipt, booked)
        return lower.get(Kind.MONEY, 0)

    def begin(self, organisation: str) -> int:
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

    def _lease(self, held: Held, now: int, warnings: tuple[BudgetState, ...] = ()) -> Lease:
        whole = held.leased >= held.asked.max_output_tokens
        reserved_micro_usd = held.reserved.get(Kind.MONEY, 0)
        return Lease(held.leased, (held.expires_ms - now) / 1000, reserved_micro_usd, whole, warnings)

    def _passed(self, held: Held, now: int) -> tuple[BudgetState, ...]:
        """The soft limits over which it stands."""
        principal = held.asked.principal
        soft = (each for each in self._counters.limits_of(principal) if each.soft and counted_by(each) in held.counted)
        states = (self._counters.state(principal.organisation, each, now) for each in soft)
        return tuple(each for each in states if room_in(each) < 0)

    def held(self, organisation: str) -> Iterator[Held]:
        """Every reservation that there ever was."""
        for held in (*self._held.values(), *self._forgotten):
            if held.asked.principal.organisation == organisation:
                yield held


def receipt_of(held: Held) -> Receipt:
    """Of one that is closed."""
    assert held.receipt is not None, "an open reservation has no receipt"
    return held.receipt


def _is_passed(was: list[BudgetState], will: list[BudgetState]) -> bool:
    """Whether there is less room than before, and too little, in any view."""
    return any(room_in(after) < min(0, room_in(before)) for before, after in zip(was, will, strict=True))
