"""The budget service behind the Budget port."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.duration_pb2 import Duration

from libs.errors import Reason, TokenwayError
from libs.money import Usage
from libs.rpc.call import current_deadline
from libs.rpc.client import Client
from libs.rpc.method import method
from libs.rpc.money import price_to_proto, usage_to_proto
from services.router.adapters.principal import principal_to_proto
from services.router.domain.answer import Outcome
from services.router.domain.ports import Booked, Lease, PassedLimit, Reservation
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2

_RESERVE = method(pb.DESCRIPTOR, "BudgetService", "Reserve", pb.ReserveRequest, pb.ReserveResponse)
_EXTEND = method(pb.DESCRIPTOR, "BudgetService", "Extend", pb.ExtendRequest, pb.ExtendResponse)
_SETTLE = method(pb.DESCRIPTOR, "BudgetService", "Settle", pb.SettleRequest, pb.SettleResponse)
_RELEASE = method(pb.DESCRIPTOR, "BudgetService", "Release", pb.ReleaseRequest, pb.ReleaseResponse)

# Delivered tokens need some time to reach whoever counts them: stop this long before the lease's end.
_MARGIN_SECONDS = 5.0
# Short leases, as tests have them, keep most of their life.
_MARGIN_SHARE = 0.2
_RENEW_SHARE = 0.5
# CANCELLED by the budget, whose drain was over or whose connection closed: our own caller's leaving is no error.
_UNREACHABLE = frozenset(
    {Reason.SERVICE_UNAVAILABLE, Reason.OUT_OF_TIME, Reason.INTERNAL, Reason.DRAINING, Reason.CANCELLED}
)


class BudgetClient:
    """Fails closed: whatever keeps the budget from answering is BUDGET_UNAVAILABLE."""

    def __init__(self, client: Client, *, timeout_seconds: float) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds

    async def reserve(self, reservation: Reservation) -> Lease:
        request = pb.ReserveRequest(
            reservation_id=reservation.reservation_id,
            request_id=reservation.request_id,
            principal=principal_to_proto(reservation.principal),
            model=reservation.model,
            price=price_to_proto(reservation.price),
            max_input_tokens=reservation.max_input_tokens,
            want_output_tokens=reservation.want_output_tokens,
            max_output_tokens=reservation.max_output_tokens,
            replaces_reservation_id=reservation.replaces,
        )
        asked_at = time.monotonic()
        # Only here: what comes later goes on behind the caller's back.
        with _fail_closed(callers_time=_callers_time_is_shorter(self._timeout_seconds)):
            response = await self._client.unary(_RESERVE, request, timeout_seconds=self._timeout_seconds)
        return _lease(response.lease, asked_at, tuple(map(_passed, response.warnings)))

    async def extend(self, reservation: Reservation, *, seq: int, used: Usage, want_output_tokens: int) -> Lease:
        request = pb.ExtendRequest(
            reservation_id=reservation.reservation_id,
            organisation=reservation.principal.organisation,
            seq=seq,
            used=usage_to_proto(used),
            want_output_tokens=want_output_tokens,
        )
        asked_at = time.monotonic()
        with _fail_closed():
            response = await self._client.unary(_EXTEND, request, timeout_seconds=self._timeout_seconds)
        return _lease(response.lease, asked_at)

    async def settle(self, reservation: Reservation, *, usage: Usage, outcome: Outcome, why: str) -> Booked:
        request = pb.SettleRequest(
            reservation_id=reservation.reservation_id,
            organisation=reservation.principal.organisation,
            usage=usage_to_proto(usage),
            outcome=money_pb2.Outcome.Value(f"OUTCOME_{outcome}"),
            why=why,
        )
        with _fail_closed():
            response = await self._client.unary(
                _SETTLE, request, timeout_seconds=self._timeout_seconds, outlives_caller=True
            )
        receipt = response.receipt
        return Booked(receipt.cost_micro_usd, receipt.uncovered_micro_usd, receipt.why)

    async def release(self, reservation: Reservation) -> None:
        request = pb.ReleaseRequest(
            reservation_id=reservation.reservation_id, organisation=reservation.principal.organisation
        )
        try:
            with _fail_closed():
                await self._client.unary(_RELEASE, request, timeout_seconds=self._timeout_seconds, outlives_caller=True)
        except TokenwayError as error:
            if error.reason is not Reason.RESERVATION_NOT_FOUND:
                raise


def _callers_time_is_shorter(timeout_seconds: float) -> bool:
    deadline = current_deadline.get()
    return deadline is not None and deadline - time.monotonic() < timeout_seconds


@contextmanager
def _fail_closed(*, callers_time: bool = False) -> Iterator[None]:
    """A caller that gives less time than the budget has runs out of its own: that is no fault of the budget."""
    try:
        yield
    except TokenwayError as error:
        if error.reason not in _UNREACHABLE or (callers_time and error.reason is Reason.OUT_OF_TIME):
            raise
        message = f"the budget cannot be asked, so nothing is spent: {error.message}; try again shortly"
        raise TokenwayError(Reason.BUDGET_UNAVAILABLE, message, retry_after_seconds=1.0) from error


def _lease(lease: pb.Lease, asked_at: float, warnings: tuple[PassedLimit, ...] = ()) -> Lease:
    """By our own clock, from before we asked: never longer than the ledger thinks."""
    lifetime = _seconds(lease.lifetime)
    deliver_until = asked_at + lifetime - min(_MARGIN_SECONDS, lifetime * _MARGIN_SHARE)
    renew_at = asked_at + lifetime * _RENEW_SHARE
    return Lease(lease.output_tokens, deliver_until=deliver_until, renew_at=renew_at, warnings=warnings)


def _passed(state: money_pb2.BudgetState) -> PassedLimit:
    budget = state.budget
    scope = money_pb2.BudgetScope.Name(budget.scope).removeprefix("BUDGET_SCOPE_").lower()
    return PassedLimit(
        account=f"{scope}:{budget.subject}" if budget.subject else scope,
        kind=money_pb2.BudgetKind.Name(budget.kind).removeprefix("BUDGET_KIND_").lower(),
        window=money_pb2.BudgetWindow.Name(budget.window).removeprefix("BUDGET_WINDOW_").lower(),
        most=budget.limit,
        taken=state.used + state.reserved,
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
