"""How the budget refuses."""

from __future__ import annotations

from datetime import UTC, datetime

from libs.errors import FieldViolation, QuotaViolation, Reason, TokenwayError, invalid_request
from services.budget.domain.lease import ReservationId
from services.budget.domain.limits import BudgetState
from services.budget.domain.windows import Window

# Long enough for a restarted Redis to load, short beside a client's patience.
_UNAVAILABLE_RETRY_SECONDS = 1.0


def budget_exceeded(state: BudgetState, *, need_micro_usd: int, now_seconds: float) -> TokenwayError:
    """The limit that refuses; when it resets, unless what is needed is more than the whole of it."""
    limit = state.limit
    subject = limit.account.subject
    whose = f"{limit.account.scope} {subject}" if subject else str(limit.account.scope)
    stands = (
        f"{state.spent_micro_usd} micro-dollars are spent and {state.reserved_micro_usd} reserved"
        f" of {limit.limit_micro_usd}"
    )
    when = "in total" if limit.window is Window.TOTAL else f"for this {limit.window}"
    never_fits = need_micro_usd > limit.limit_micro_usd
    return TokenwayError(
        Reason.BUDGET_EXCEEDED,
        f"the budget of the {whose} {when} is exceeded: {stands}, and this request needs"
        f" {need_micro_usd}; {_advice(state, never_fits=never_fits)}",
        metadata={
            "scope": str(limit.account.scope),
            "subject": subject,
            "window": str(limit.window),
            "kind": str(limit.kind),
            "limit": str(limit.limit_micro_usd),
            "used": str(state.spent_micro_usd),
            "reserved": str(state.reserved_micro_usd),
        },
        retry_after_seconds=None if never_fits else _seconds_until_reset(state, now_seconds),
        quotas=(QuotaViolation(str(limit.account), stands),),
    )


def reservation_not_found(reservation: ReservationId) -> TokenwayError:
    return TokenwayError(
        Reason.RESERVATION_NOT_FOUND,
        f"there is no reservation {reservation}, or it was closed more than 24 hours ago; reserve anew",
        metadata={"reservation_id": reservation},
    )


def reservation_closed(reservation: ReservationId, state: str) -> TokenwayError:
    """`state` is settled, released or expired."""
    return TokenwayError(
        Reason.RESERVATION_CLOSED,
        f"the reservation {reservation} is {state}, so nothing more can be drawn on it; reserve anew",
        metadata={"reservation_id": reservation, "state": state},
    )


def budget_unavailable(why: str) -> TokenwayError:
    """Redis is away or frozen: nothing is spent that cannot be checked."""
    return TokenwayError(
        Reason.BUDGET_UNAVAILABLE,
        f"money cannot be checked, so nothing is spent: {why}; try again",
        retry_after_seconds=_UNAVAILABLE_RETRY_SECONDS,
    )


def key_exists(key_id: str) -> TokenwayError:
    """An id is never used twice: the ledger names who spent by it."""
    description = (
        f"is {key_id!r}, and the organisation has a key of that id, or had one that is revoked: choose another"
    )
    return invalid_request(FieldViolation("key.principal.key_id", description))


def key_not_found(key_id: str) -> TokenwayError:
    return TokenwayError(
        Reason.NOT_FOUND,
        f"the organisation has no key {key_id!r}: ListKeys says which there are",
        metadata={"resource": "key", "name": key_id},
    )


def _advice(state: BudgetState, *, never_fits: bool) -> str:
    if never_fits:
        return "it can never fit: ask for fewer tokens or have the limit raised"
    if state.resets_at_seconds is None:
        return "wait for open requests to end or have the limit raised"
    resets_at = datetime.fromtimestamp(state.resets_at_seconds, UTC)
    return f"the window ends at {resets_at:%Y-%m-%dT%H:%M:%SZ}; ask for fewer tokens or try again then"


def _seconds_until_reset(state: BudgetState, now_seconds: float) -> float | None:
    return None if state.resets_at_seconds is None else state.resets_at_seconds - now_seconds
