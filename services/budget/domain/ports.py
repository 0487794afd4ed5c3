"""What the budget needs from outside, and what it may rely on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from libs.keys import StoredKey
from services.budget.domain.arrears import Arrear
from services.budget.domain.lease import Extension, Lease, Reservation, ReservationId
from services.budget.domain.limits import BudgetState, Limit, LimitName, Principal
from services.budget.domain.receipt import Receipt, ReceiptPage, ReceiptQuery, Settlement


@dataclass(frozen=True, slots=True)
class Swept:
    """Leases that were found expired, and the money that was booked as presumed spent for them."""

    leases: int
    presumed_micro_usd: int

    def __add__(self, other: Swept) -> Swept:
        return Swept(self.leases + other.leases, self.presumed_micro_usd + other.presumed_micro_usd)


class Ledger(Protocol):
    """Counters, leases and receipts of every organisation.

    Each call is one step that happens wholly or not at all, whatever else goes on and whoever dies. For every account,
    kind and window, used + reserved never passes the hard limit that was in force when the reservation was made; but by
    what `book` says was spent without the ledger.

    Money is reserved and booked in the calendar's windows that were current when the lease was last given, and counted
    for every account by the hour, day, month and in total, limited or not. Tokens are reserved as a lease covers them
    and booked, as used, at the moment at which they are; the input by its bound until it is counted. A request is
    booked once, when it is reserved, and never given back; it is open, which is what concurrency counts, until it is
    closed. Money by the minute, tokens, requests and concurrency are counted where there is a limit for them when the
    part of the lease is reserved; for requests and concurrency, when the request is. What was counted so is given back
    or booked there, whatever became of the limit.

    An organisation's time never runs back. An expired lease counts as delivered: everything that it held is booked,
    outcome `presumed`, before anything else is looked at. Every closed reservation leaves one receipt in the
    organisation's ledger, a corrected one a second; the receipts and what open reservations have booked add up to what
    the counters of money say.

    Closed reservations are remembered for 24 hours. Any call may raise BUDGET_UNAVAILABLE, after a second at most; then
    it is unknown whether it happened, and it may be repeated.
    """

    async def reserve(self, reservation: Reservation) -> Lease:
        """Reserves for all accounts, kinds and windows, or for none.

        A small lease at first. It is let in only where all of the longest answer fits beside what the longest answers
        of open requests may still want in any window: so what is let in later cuts none short that was let in before.

        With `replaces`, that reservation is released in the same step and this one is the same request: it takes the
        open one's place in the concurrency and is not counted anew; if this one is refused that one stays as it was; if
        that one is closed, unknown or of other accounts, there is nothing to release. Repeated with the same id it
        answers with the lease as it stands. The soft limits that are passed by then come with the lease.

        BUDGET_EXCEEDED names the limit that refuses, of several the one that frees last, which may be never; what open
        requests may still want counts in it as reserved. Where that and what they have reserved stands in the way, it
        says to try again in a second.
        RESERVATION_CLOSED: that id was used, and has ended.
        """
        ...

    async def extend(self, extension: Extension) -> Lease:
        """Books what was used where it was reserved, and reserves the rest and more in the windows of now.

        The new lease is never shorter than the old one, and what others may still want does not stop it. Refused, the
        lease stands exactly as it was. A seq that is not above the last one changes nothing and answers with the lease
        as it stands.

        BUDGET_EXCEEDED, RESERVATION_NOT_FOUND, RESERVATION_CLOSED.
        """
        ...

    async def settle(self, settlement: Settlement) -> Receipt:
        """Books the final usage, never more than was reserved, and returns the rest. Repeated it answers the same.

        After expiry it may only lower what was presumed, in the windows where that was booked: outcome `corrected`.
        What was booked by an Extend stays. A released reservation answers with its receipt as it stands.

        RESERVATION_NOT_FOUND.
        """
        ...

    async def release(self, organisation: str, reservation: ReservationId) -> int:
        """Returns everything that is not booked, after expiry what was presumed; and says how much that was.

        Repeated it answers the same; a settled reservation answers 0. RESERVATION_NOT_FOUND.
        """
        ...

    async def book(self, arrear: Arrear) -> Receipt:
        """Books a request that was admitted and has ended while the ledger was away, whatever the limits say by now.

        Its money in the windows of the moment of its admission, a day ago at most. Without its router's word all that
        it may have cost is presumed, and a late Settle or Release may lower that. Whatever the ledger held under the
        same id is given back in the same step; where the router's word about it is here, that holds. Repeated it
        answers with the receipt as it stands.
        """
        ...

    async def sweep(self) -> Swept:
        """Closes every expired lease of every organisation."""
        ...

    async def usage(self, principal: Principal) -> tuple[BudgetState, ...]:
        """Where each limit of the principal stands now, in no order."""
        ...

    async def put_limit(self, organisation: str, limit: Limit) -> BudgetState:
        """Sets a limit and says where it stands; a lowered one refuses what is new and ends nothing."""
        ...

    async def add_limit(self, organisation: str, limit: Limit) -> bool:
        """Sets a limit where there is none; False where there is one."""
        ...

    async def remove_limit(self, organisation: str, name: LimitName) -> bool:
        """Removes a limit; False where there is none. What was counted stays counted."""
        ...

    async def limits(self, organisation: str) -> tuple[Limit, ...]:
        """Every limit of the organisation, in no order."""
        ...

    async def states(self, organisation: str) -> tuple[BudgetState, ...]:
        """Where every limit of the organisation stands now, in no order."""
        ...

    async def list_receipts(self, query: ReceiptQuery) -> ReceiptPage:
        """The organisation's ledger, newest first. Pages that follow each other miss nothing and repeat nothing.

        A page token that no page gave finds nothing, or begins somewhere.
        """
        ...


class KeyStore(Protocol):
    """API keys by the SHA-256 of their text, in hex; and by organisation and id. Any call may raise BUDGET_UNAVAILABLE.

    An id names one key of its organisation, but where the configuration file gave an id another key later: then all of
    them. No call sees or touches another organisation's.
    """

    async def add(self, keys: Mapping[str, StoredKey]) -> int:
        """Stores those that are not there yet, revoked ones included; says how many."""
        ...

    async def create(self, sha256_hex: str, key: StoredKey) -> None:
        """Stores a new key; idempotent by its hash. INVALID_REQUEST: the organisation has, or had, one of that id."""
        ...

    async def of(self, organisation: str) -> tuple[StoredKey, ...]:
        """The organisation's keys by their ids, revoked and expired ones included."""
        ...

    async def revoke(self, organisation: str, key_id: str, *, at: datetime) -> StoredKey:
        """Ends a key; one that was revoked before keeps the time of the first. NOT_FOUND."""
        ...
