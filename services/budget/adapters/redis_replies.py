"""What the ledger's scripts answer, in the domain's words. The order of the values is that of lua/reservations.lua."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from libs.errors import TokenwayError
from libs.money import Price, Usage, UsageSource
from services.budget.domain.archive import OldReceipt
from services.budget.domain.errors import budget_exceeded
from services.budget.domain.lease import Lease, ReservationId
from services.budget.domain.limits import Account, BudgetState, Kind, Limit, LimitName, Principal, Scope
from services.budget.domain.receipt import Outcome, Receipt
from services.budget.domain.verification import minutes
from services.budget.domain.windows import Window

_HARD, _SOFT = "hard", "soft"


def lease(values: Sequence[Any]) -> Lease:
    output_tokens, lifetime_ms, reserved, whole, passed = values
    return Lease(output_tokens, lifetime_ms / 1000, reserved, bool(whole), tuple(map(_state, passed)))


def refusal(values: Sequence[Any]) -> TokenwayError:
    state, need, now_ms, frees_ms = values
    frees_after_seconds = (frees_ms - now_ms) / 1000 if frees_ms >= 0 else None
    return budget_exceeded(_state(state), need=need, frees_after_seconds=frees_after_seconds)


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


def old_receipt(organisation: str, entry_id: str, flat: Sequence[str]) -> OldReceipt:
    """An entry as XRANGE gives it to a script."""
    entry = dict(zip(flat[::2], flat[1::2], strict=True))
    principal = Principal(entry["key_id"], organisation, entry["user"], entry["team"])
    return OldReceipt(entry_id, principal, stored_receipt(entry), tuple(minutes(entry["bookings"])))


def states(values: Sequence[Any]) -> Iterator[BudgetState]:
    (found,) = values
    return map(_state, found)


def limit_name(name: LimitName) -> str:
    """How a limit is named among its account's."""
    return f"{name.kind}:{name.window}:{_SOFT if name.soft else _HARD}"


def limits(account: str, packed: str) -> Iterator[Limit]:
    """The limits of an account, as lua/limits.lua keeps them."""
    for entry in packed.split():
        kind, window, strength, most = entry.split(":")
        yield Limit(_account(account), Window(window), int(most), Kind(kind), soft=strength == _SOFT)


def _state(values: Sequence[Any]) -> BudgetState:
    account, kind, window, most, soft, used, reserved, end_ms = values
    limit = Limit(_account(account), Window(window), most, Kind(kind), soft=bool(soft))
    return BudgetState(limit, used, reserved, end_ms // 1000 if end_ms >= 0 else None)


def _account(text: str) -> Account:
    scope, _, subject = text.partition(":")
    return Account(Scope(scope), subject)
