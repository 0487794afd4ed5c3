"""How the budget refuses."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from libs.errors import FieldViolation, QuotaViolation, Reason, TokenwayError, invalid_request
from libs.money import usd
from services.budget.domain.lease import ReservationId
from services.budget.domain.limits import BudgetState, Kind, Limit
from services.budget.domain.windows import Window

# Long enough for a restarted Redis to load, short beside a client's patience.
_UNAVAILABLE_RETRY_SECONDS = 1.0
_SECONDS_AN_HOUR = 3_600
_NEEDED = (Kind.MONEY, Kind.INPUT_TOKENS, Kind.OUTPUT_TOKENS)


def budget_exceeded(state: BudgetState, *, need: int, frees_after_seconds: float | None) -> TokenwayError:
    """The limit that refuses, and after what time there may be room; None: never, as things stand."""
    limit = state.limit
    stands = _stands(state)
    # A request is always one: that it needs one need not be said.
    needs = f", and this request needs {_amount(limit.kind, need)}" if limit.kind in _NEEDED else ""
    return TokenwayError(
        Reason.BUDGET_EXCEEDED,
        f"{_whose(limit)}: {stands}{needs}; {_advice(state, need, frees_after_seconds)}",
        metadata={
            "scope": str(limit.account.scope),
            "subject": limit.account.subject,
            "window": str(limit.window),
            "kind": str(limit.kind),
            "limit": str(limit.most),
            "used": str(state.used),
            "reserved": str(state.reserved),
            "needed": str(need),
        },
        retry_after_seconds=frees_after_seconds,
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
        f"the organisation has no key {key_id!r}: ListKeys (`tokenway keys list`) says which there are",
        metadata={"resource": "key", "name": key_id},
    )


def _whose(limit: Limit) -> str:
    subject = limit.account.subject
    return f"{limit.account.scope} {subject}" if subject else str(limit.account.scope)


def _stands(state: BudgetState) -> str:
    """`60 of 60 requests in this minute`."""
    limit = state.limit
    when = "in total" if limit.window is Window.TOTAL else f"in this {limit.window}"
    if limit.kind is Kind.CONCURRENCY:
        return f"{state.reserved} of {limit.most} requests are open at once"
    of = f"{_amount(limit.kind, state.used + state.reserved)} of {_amount(limit.kind, limit.most)}"
    what = "spent" if limit.kind is Kind.MONEY else limit.kind.replace("_", " ")
    held = f" ({_amount(limit.kind, state.reserved)} of it reserved by open requests)" if state.reserved else ""
    return f"{of} {what} {when}{held}"


def _amount(kind: Kind, amount: int) -> str:
    return usd(amount) if kind is Kind.MONEY else str(amount)


def _advice(state: BudgetState, need: int, frees_after_seconds: float | None) -> str:
    if not state.limit.most:
        return "a limit of 0 lets nothing through: have it raised"
    if need > state.limit.most:
        return "it can never fit: ask for fewer tokens or have the limit raised"
    if frees_after_seconds is None:
        is_left = state.limit.kind in _NEEDED and state.used + state.reserved < state.limit.most
        return f"nothing will free it: {'ask for fewer tokens or ' if is_left else ''}have the limit raised"
    if state.resets_at_seconds is not None and state.used + need <= state.limit.most:
        return f"open requests may give some of that back: try again in {math.ceil(frees_after_seconds)} s"
    if state.resets_at_seconds is not None:
        resets_at = datetime.fromtimestamp(state.resets_at_seconds, UTC)
        return (
            f"the {state.limit.window} ends at {resets_at:%Y-%m-%dT%H:%M:%SZ}; ask for fewer tokens or try again then"
        )
    return f"next in {_duration(frees_after_seconds)}"


def _duration(seconds: float) -> str:
    """`61 s`, and from an hour on `1:00:24` or `30 days, 8:41:24`."""
    whole = math.ceil(seconds)
    return f"{whole} s" if whole < _SECONDS_AN_HOUR else str(timedelta(seconds=whole))
