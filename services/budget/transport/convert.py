"""Messages as the domain's words and back. Total: what breaks a rule is INVALID_REQUEST, naming each field."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from libs.errors import invalid_request
from libs.rpc.money import price_from_proto, price_to_proto, usage_from_proto, usage_to_proto
from services.budget.domain.lease import Extension, Lease, Reservation, ReservationId
from services.budget.domain.limits import BudgetState, Kind, Principal, Scope
from services.budget.domain.receipt import Outcome, Receipt, Settlement
from services.budget.domain.windows import Window
from services.budget.transport import rules
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2, principal_pb2

_SCOPES = {each: money_pb2.BudgetScope.Value(f"BUDGET_SCOPE_{each.upper()}") for each in Scope}
_WINDOWS = {each: money_pb2.BudgetWindow.Value(f"BUDGET_WINDOW_{each.upper()}") for each in Window}
_KINDS = {each: money_pb2.BudgetKind.Value(f"BUDGET_KIND_{each.upper()}") for each in Kind}
_OUTCOMES = {each: money_pb2.Outcome.Value(f"OUTCOME_{each}") for each in Outcome}
_OUTCOMES_BY_NUMBER = {number: each for each, number in _OUTCOMES.items()}
# Only a person reads it. To refuse a settlement for it would cost money.
_MAX_WHY_CHARACTERS = 256


def reservation_from_proto(message: pb.ReserveRequest, *, first_lease_tokens: int) -> Reservation:
    """A caller that wants no number in particular gets `first_lease_tokens`."""
    _refuse(rules.broken_by_reserve(message))
    return Reservation(
        id=ReservationId(message.reservation_id),
        request_id=message.request_id,
        principal=_principal(message.principal),
        model=message.model,
        price=price_from_proto(message.price),
        max_input_tokens=message.max_input_tokens,
        want_output_tokens=message.want_output_tokens or first_lease_tokens,
        max_output_tokens=message.max_output_tokens,
        replaces=ReservationId(message.replaces_reservation_id) if message.replaces_reservation_id else None,
    )


def extension_from_proto(message: pb.ExtendRequest) -> Extension:
    _refuse(rules.broken_by_extend(message))
    return Extension(
        id=ReservationId(message.reservation_id),
        organisation=message.organisation,
        seq=message.seq,
        used=usage_from_proto(message.used),
        want_output_tokens=message.want_output_tokens,
    )


def settlement_from_proto(message: pb.SettleRequest) -> Settlement:
    _refuse(rules.broken_by_settle(message))
    return Settlement(
        id=ReservationId(message.reservation_id),
        organisation=message.organisation,
        usage=usage_from_proto(message.usage),
        outcome=_OUTCOMES_BY_NUMBER[message.outcome],
        why=message.why[:_MAX_WHY_CHARACTERS],
    )


def release_from_proto(message: pb.ReleaseRequest) -> tuple[str, ReservationId]:
    """The organisation, and its reservation."""
    _refuse(rules.broken_by_release(message))
    return message.organisation, ReservationId(message.reservation_id)


def principal_from_proto(message: principal_pb2.Principal) -> Principal:
    _refuse(rules.broken_by_principal(message))
    return _principal(message)


def lease_to_proto(lease: Lease) -> pb.Lease:
    lifetime = Duration()
    lifetime.FromTimedelta(timedelta(seconds=lease.lifetime_seconds))
    return pb.Lease(
        output_tokens=lease.output_tokens,
        lifetime=lifetime,
        reserved_micro_usd=lease.reserved_micro_usd,
        whole=lease.whole,
    )


def receipt_to_proto(receipt: Receipt) -> money_pb2.Receipt:
    """What only the router knows is left for it to add."""
    return money_pb2.Receipt(
        request_id=receipt.request_id,
        reservation_id=receipt.reservation_id,
        model=receipt.model,
        why=receipt.why,
        usage=usage_to_proto(receipt.usage),
        price=price_to_proto(receipt.price),
        cost_micro_usd=receipt.cost_micro_usd,
        outcome=_OUTCOMES[receipt.outcome],
        settled=True,
        uncovered_micro_usd=receipt.uncovered_micro_usd,
        booked_at=_timestamp(receipt.booked_at_seconds),
        key_id=receipt.key_id,
    )


def state_to_proto(state: BudgetState) -> money_pb2.BudgetState:
    limit = state.limit
    message = money_pb2.BudgetState(
        budget=money_pb2.Budget(
            scope=_SCOPES[limit.account.scope],
            subject=limit.account.subject,
            window=_WINDOWS[limit.window],
            kind=_KINDS[limit.kind],
            limit=limit.most,
            soft=limit.soft,
        ),
        used=state.used,
        reserved=state.reserved,
    )
    if state.resets_at_seconds is not None:
        message.resets_at.CopyFrom(_timestamp(state.resets_at_seconds))
    return message


def _principal(message: principal_pb2.Principal) -> Principal:
    return Principal(key_id=message.key_id, organisation=message.organisation, user=message.user, team=message.team)


def _timestamp(seconds: float) -> Timestamp:
    message = Timestamp()
    message.FromMilliseconds(round(seconds * 1000))
    return message


def _refuse(broken: rules.Violations) -> None:
    violations = tuple(broken)
    if violations:
        raise invalid_request(*violations)
