"""Reservations: money set aside before the first token, and leases on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from libs.money import Price, Usage
from services.budget.domain.limits import BudgetState, Principal

ReservationId = NewType("ReservationId", str)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a request asks for before its first token."""

    id: ReservationId
    request_id: str
    principal: Principal
    model: str
    price: Price
    # An upper bound; the first Extend that knows better corrects it.
    max_input_tokens: int
    # Output tokens wanted at first, and the most that the request can deliver.
    want_output_tokens: int
    max_output_tokens: int
    # A reservation on another model that goes out as this one comes in.
    replaces: ReservationId | None = None


@dataclass(frozen=True, slots=True)
class Extension:
    """Asks to book what was used and to lease more."""

    id: ReservationId
    organisation: str
    seq: int
    # In all, since the request began.
    used: Usage
    # Beyond what was used; 0 only renews the lease's time.
    want_output_tokens: int


@dataclass(frozen=True, slots=True)
class Lease:
    """What may be delivered."""

    # Counted from the start of the answer.
    output_tokens: int
    lifetime_seconds: float
    reserved_micro_usd: int
    # True when it covers the most that the request can deliver: then an Extend only renews its time.
    whole: bool
    # Soft limits that are passed; a Reserve alone looks at them.
    warnings: tuple[BudgetState, ...] = ()


@dataclass(frozen=True, slots=True)
class LeasePolicy:
    """How leases are given."""

    lifetime_seconds: float = 60
