"""BudgetService: each RPC is a line of conversion round a line of the domain."""

from __future__ import annotations

from libs.rpc.call import Call
from libs.rpc.routes import Route, routes
from services.budget.domain.ports import Ledger
from services.budget.transport.admin_servicer import BudgetAdminServicer
from services.budget.transport.convert import (
    extension_from_proto,
    lease_to_proto,
    principal_from_proto,
    receipt_to_proto,
    release_from_proto,
    reservation_from_proto,
    settlement_from_proto,
    state_to_proto,
)
from tokenway.budget.v1 import budget_pb2 as pb


class BudgetServicer:
    """What may be spent."""

    def __init__(self, *, ledger: Ledger, first_lease_tokens: int) -> None:
        self._ledger = ledger
        self._first_lease_tokens = first_lease_tokens

    async def Reserve(self, request: pb.ReserveRequest, call: Call) -> pb.ReserveResponse:
        reservation = reservation_from_proto(request, first_lease_tokens=self._first_lease_tokens)
        lease = await self._ledger.reserve(reservation)
        return pb.ReserveResponse(lease=lease_to_proto(lease), warnings=map(state_to_proto, lease.warnings))

    async def Extend(self, request: pb.ExtendRequest, call: Call) -> pb.ExtendResponse:
        lease = await self._ledger.extend(extension_from_proto(request))
        return pb.ExtendResponse(lease=lease_to_proto(lease))

    async def Settle(self, request: pb.SettleRequest, call: Call) -> pb.SettleResponse:
        receipt = await self._ledger.settle(settlement_from_proto(request))
        return pb.SettleResponse(receipt=receipt_to_proto(receipt))

    async def Release(self, request: pb.ReleaseRequest, call: Call) -> pb.ReleaseResponse:
        organisation, reservation = release_from_proto(request)
        released_micro_usd = await self._ledger.release(organisation, reservation)
        return pb.ReleaseResponse(released_micro_usd=released_micro_usd)

    async def GetUsage(self, request: pb.GetUsageRequest, call: Call) -> pb.GetUsageResponse:
        states = await self._ledger.usage(principal_from_proto(request.principal))
        return pb.GetUsageResponse(states=map(state_to_proto, states))


def budget_routes(servicer: BudgetServicer, admin: BudgetAdminServicer) -> tuple[Route, ...]:
    """Both services of the proto."""
    return (
        *routes(pb.DESCRIPTOR, "BudgetService", servicer),
        *routes(pb.DESCRIPTOR, "BudgetAdminService", admin),
    )
