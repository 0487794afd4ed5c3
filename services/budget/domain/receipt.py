"""How a request ended and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from libs.money import Price, Usage
from services.budget.domain.lease import ReservationId


class Outcome(StrEnum):
    """How a request ended: the names of `tokenway.common.v1.Outcome`."""

    FINISHED = "FINISHED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    DEADLINE = "DEADLINE"
    BUDGET = "BUDGET"
    CACHED = "CACHED"
    SHARED = "SHARED"
    # The ledger's own words: its caller never settles with these.
    PRESUMED = "PRESUMED"
    CORRECTED = "CORRECTED"
    RELEASED = "RELEASED"


SETTLED_WITH = frozenset(Outcome) - {Outcome.PRESUMED, Outcome.CORRECTED, Outcome.RELEASED}


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of a request, in its router's words."""

    id: ReservationId
    organisation: str
    # In all, since the request began.
    usage: Usage
    outcome: Outcome
    # Why this model.
    why: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was booked."""

    request_id: str
    reservation_id: ReservationId
    key_id: str
    model: str
    price: Price
    usage: Usage
    cost_micro_usd: int
    outcome: Outcome
    why: str
    # Used beyond what was reserved; never billed.
    uncovered_micro_usd: int
    booked_at_seconds: float


@dataclass(frozen=True, slots=True)
class ReceiptQuery:
    """Which receipts of an organisation are asked for."""

    organisation: str
    # Only this request's; empty: all.
    request_id: str = ""
    page_size: int = 100
    # From the last page; empty: from the newest.
    page_token: str = ""
    # Booked then or later.
    since_seconds: float = 0


@dataclass(frozen=True, slots=True)
class ReceiptPage:
    """Receipts, newest first. An empty token: these are all."""

    receipts: tuple[Receipt, ...]
    next_page_token: str
