"""What the ledger's scripts answer, in the domain's words. The order of the values is that of lua/reservations.lua."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from libs.errors import TokenwayError
from libs.money import Price, Usage, UsageSource
from services.budget.domain.errors import budget_exceeded
from services.budget.domain.lease import Lease, ReservationId
from services.budget.domain.limits import Account, BudgetState, Limit, Scope
from services.budget.domain.receipt import Outcome, Receipt
from services.budget.domain.windows import Window

_STATE_VALUES = 6


def lease(values: Sequence[Any]) -> Lease:
    output_tokens, lifetime_ms, reserved, whole = values
    return Lease(output_tokens, lifetime_ms / 1000, reserved, bool(whole))


def refusal(values: Sequence[Any]) -> TokenwayError:
    account, window, limit, spent, reserved, need, now_ms, end_ms = values
    state = _state((account, window, limit, spent, reserved, end_ms))
    return budget_exceeded(state, need_micro_usd=need, now_seconds=now_ms / 1000)


def receipt(reservation: ReservationId, values: Sequence[Any]) -> Receipt:
    request_id, key_id, model, *numbers, outcome, why, uncovered, booked_at_ms = values
    price_input, price_cached, price_output, version, input_tokens, cached, output, source, cost = numbers
    return Receipt(
        request_id=request_id,
        reservation_id=reservation,
        key_id=key_id,
        model=model,
        price=Price(price_input, price_cached, price_output, version),
        usage=Usage(input_tokens, cached, output, UsageSource(source)),
        cost_micro_usd=cost,
        outcome=Outcome(outcome),
        why=why,
        uncovered_micro_usd=uncovered,
        booked_at_seconds=booked_at_ms / 1000,
    )


def stored_receipt(entry: Mapping[str, str]) -> Receipt:
    """An entry of the ledger, as lua/reservations.lua wrote it."""
    return Receipt(
        request_id=entry["request_id"],
        reservation_id=ReservationId(entry["reservation_id"]),
        key_id=entry["key_id"],
        model=entry["model"],
        price=Price(
            int(entry["price_input"]), int(entry["price_cached"]), int(entry["price_output"]), entry["price_version"]
        ),
        usage=Usage(int(entry["input"]), int(entry["cached"]), int(entry["output"]), UsageSource(entry["source"])),
        cost_micro_usd=int(entry["cost"]),
        outcome=Outcome(entry["outcome"]),
        why=entry["why"],
        uncovered_micro_usd=int(entry["uncovered"]),
        booked_at_seconds=int(entry["booked_at_ms"]) / 1000,
    )


def states(values: Sequence[Any]) -> Iterator[BudgetState]:
    for first in range(0, len(values), _STATE_VALUES):
        yield _state(values[first : first + _STATE_VALUES])


def limit_field(limit: Limit) -> str:
    """How a limit is named among its organisation's."""
    return f"{limit.account}:{limit.window}:{limit.kind}"


def limit(field: str, value: str) -> Limit:
    """The reverse of `limit_field`, with the limit's value."""
    scope, subject, window, _ = field.split(":")
    return Limit(Account(Scope(scope), subject), Window(window), int(value))


def _state(values: Sequence[Any]) -> BudgetState:
    account, window, most, spent, reserved, end_ms = values
    scope, _, subject = account.partition(":")
    return BudgetState(
        Limit(Account(Scope(scope), subject), Window(window), most),
        spent,
        reserved,
        end_ms // 1000 if end_ms >= 0 else None,
    )
