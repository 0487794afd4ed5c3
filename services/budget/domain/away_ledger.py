"""Fail open: what may be spent while the ledger is away, for organisations that would rather pay than wait."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from libs.clock import Clock
from libs.errors import Reason, TokenwayError
from libs.money import usd
from services.budget.domain.arrears import Arrear, Arrears, AwayTerms, Booked, Line, Name
from services.budget.domain.errors import budget_unavailable, reservation_closed
from services.budget.domain.journal import Journal
from services.budget.domain.lease import Extension, Lease, Reservation, ReservationId
from services.budget.domain.ledger_around import LedgerAround
from services.budget.domain.ports import Ledger, Swept
from services.budget.domain.receipt import Receipt, Settlement

Answer = TypeVar("Answer")


class AwayWatcher(Protocol):
    """Hears what is decided without the ledger."""

    def decided(self, decision: str) -> None:
        """`admitted`, or `refused` for want of room under the cap."""
        ...

    def unbooked(self, micro_usd: int) -> None:
        """What the ledger does not have yet."""
        ...


class AwayLedger(LedgerAround):
    """A Ledger like the one inside it, which is asked first. While that is away, these organisations are served still.

    A request is admitted where the whole of the worst that it can cost fits under this replica's cap, whatever the
    limits say, and is written to the journal before its lease is given. It ends as it began, without the ledger, also
    when that is back meanwhile; a lease that is not renewed is presumed delivered. `sweep` books what has ended. What
    the ledger gave a lease for is not taken over: such a stream ends with its lease if the ledger stays away.
    """

    def __init__(
        self,
        inner: Ledger,
        *,
        journal: Journal,
        terms: Mapping[str, AwayTerms],
        lease_seconds: float,
        clock: Clock,
        watcher: AwayWatcher,
    ) -> None:
        super().__init__(inner)
        self._journal, self._terms = journal, terms
        self._lease_seconds, self._clock, self._watcher = lease_seconds, clock, watcher
        self._arrears = Arrears(terms)
        for line in journal.read():
            self._arrears.apply(line)
        # Of the open ones; by the clock that does not jump. After a restart each has a lease's time again.
        self._expires_at = {each.name: self._expiry() for each in self._arrears.all() if each.state == "open"}
        self._booking: Name | None = None
        # Until then what other replicas have admitted may not be booked yet.
        self._away_until = 0.0
        self._watcher.unbooked(self._arrears.unbooked_micro_usd)

    async def reserve(self, reservation: Reservation) -> Lease:
        organisation = reservation.principal.organisation
        if organisation not in self._terms:
            return await self._inner.reserve(reservation)
        if known := self._arrear(organisation, reservation.id):
            return self._renewed(known)
        try:
            lease = await self._noted(self._inner.reserve(reservation))
        except TokenwayError as error:
            if error.reason is not Reason.BUDGET_UNAVAILABLE:
                raise
            lease = await self._admitted(reservation, error)
        if reservation.replaces and (replaced := self._arrear(organisation, reservation.replaces)):
            await self._ended(replace(replaced, state="released"))
        return lease

    async def extend(self, extension: Extension) -> Lease:
        if known := self._arrear(extension.organisation, extension.id):
            return self._renewed(known)
        return await self._elsewhere(extension.organisation, self._inner.extend(extension))

    async def settle(self, settlement: Settlement) -> Receipt:
        known = self._arrear(settlement.organisation, settlement.id)
        if known is None:
            return await self._elsewhere(settlement.organisation, self._inner.settle(settlement))
        if known.state in ("open", "expired"):
            known = replace(known, state="settled", settlement=settlement)
        # Once more where it was settled already: whoever asks again may not have been heard to the end.
        await self._ended(known)
        return known.receipt(self._clock.now())

    async def release(self, organisation: str, reservation: ReservationId) -> int:
        known = self._arrear(organisation, reservation)
        if known is None:
            # Found nowhere it is done with: whoever was refused gives back what there never was.
            return await self._noted(self._inner.release(organisation, reservation))
        if known.state == "settled":
            return 0
        await self._ended(replace(known, state="released"))
        return known.held_micro_usd

    async def sweep(self) -> Swept:
        swept = await self._noted(self._inner.sweep())
        await self._presume()
        await self._book_all()
        return swept

    def _arrear(self, organisation: str, reservation: ReservationId) -> Arrear | None:
        if (organisation, reservation) == self._booking:
            raise budget_unavailable("the ledger is back, and is told of this reservation just now")
        return self._arrears.of((organisation, reservation))

    async def _admitted(self, reservation: Reservation, away: TokenwayError) -> Lease:
        arrear = Arrear(reservation, self._clock.now())
        left = self._arrears.left_micro_usd(arrear.organisation, arrear.admitted_at_seconds)
        if arrear.held_micro_usd > left:
            self._watcher.decided("refused")
            raise budget_unavailable(
                f"of what this organisation may spend unchecked {usd(max(0, left))} is left here, and this request may "
                f"cost {usd(arrear.held_micro_usd)}"
            ) from away
        lease = self._renewed(arrear)
        try:
            await self._write(arrear)
        except TokenwayError:
            self._arrears.apply(replace(arrear, state="released"))
            self._arrears.apply(Booked(*arrear.name))
            del self._expires_at[arrear.name]
            raise
        self._watcher.decided("admitted")
        return lease

    def _renewed(self, arrear: Arrear) -> Lease:
        """It covers the whole answer, so only its time can run out."""
        if arrear.state != "open":
            raise reservation_closed(arrear.id, arrear.state)
        self._expires_at[arrear.name] = self._expiry()
        most = arrear.reservation.max_output_tokens
        return Lease(most, self._lease_seconds, arrear.held_micro_usd, whole=True)

    def _expiry(self) -> float:
        return self._clock.monotonic() + self._lease_seconds

    async def _ended(self, arrear: Arrear) -> None:
        self._expires_at.pop(arrear.name, None)
        await self._write(arrear)

    async def _write(self, line: Line) -> None:
        """Counts at once, so that nobody else takes the same room; on disk when it returns."""
        self._arrears.apply(line)
        self._watcher.unbooked(self._arrears.unbooked_micro_usd)
        await self._journal.append(line)

    async def _presume(self) -> None:
        now = self._clock.monotonic()
        for name in [name for name, expires_at in self._expires_at.items() if expires_at <= now]:
            # As it stands by now: its router may have spoken while another was written down.
            arrear = self._arrears.of(name)
            if arrear is not None and arrear.state == "open":
                await self._ended(replace(arrear, state="expired"))

    async def _book_all(self) -> None:
        """Of those that have ended; stops where the ledger is away again, and the next sweep goes on there."""
        ended = [each.name for each in self._arrears.all() if each.state != "open"]
        for each in ended:
            await self._book(each)
        if ended:
            await self._journal.rewrite(self._arrears.lines(self._clock.now()))

    async def _book(self, name: Name) -> None:
        arrear = self._arrears.of(name)
        if arrear is None:
            return
        self._booking = name
        try:
            if arrear.reservation.replaces:
                await self._given_back(arrear.organisation, arrear.reservation.replaces)
            if arrear.state == "released":
                await self._given_back(*name)
            else:
                await self._inner.book(arrear)
        finally:
            self._booking = None
        await self._write(Booked(*name))

    async def _given_back(self, organisation: str, reservation: ReservationId) -> None:
        """The call that found the ledger away may have been heard all the same."""
        try:
            await self._inner.release(organisation, reservation)
        except TokenwayError as error:
            if error.reason is not Reason.RESERVATION_NOT_FOUND:
                raise

    async def _elsewhere(self, organisation: str, asking: Awaitable[Answer]) -> Answer:
        """What another replica has admitted is known there alone, until it is booked: to ask again may find it."""
        try:
            return await self._noted(asking)
        except TokenwayError as error:
            lately = self._clock.monotonic() < self._away_until
            if error.reason is Reason.RESERVATION_NOT_FOUND and organisation in self._terms and lately:
                raise budget_unavailable("the ledger was away, and may not have been told of it yet") from error
            raise

    async def _noted(self, asking: Awaitable[Answer]) -> Answer:
        try:
            return await asking
        except TokenwayError as error:
            if error.reason is Reason.BUDGET_UNAVAILABLE:
                self._away_until = self._expiry()
            raise
