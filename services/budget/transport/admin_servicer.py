"""BudgetAdminService: each RPC is a line of conversion round a line of the domain. Who may ask is the router's word."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

from libs.clock import Clock
from libs.rpc.call import Call
from services.budget.domain.bookkeeper import Bookkeeper, spend
from services.budget.domain.ports import KeyStore, Ledger
from services.budget.transport.admin_convert import (
    key_from_proto,
    key_to_proto,
    limit_from_proto,
    limit_name_from_proto,
    organisation_from_proto,
    query_from_proto,
    revocation_from_proto,
)
from services.budget.transport.convert import receipt_to_proto, state_to_proto
from services.budget.transport.spend_convert import finding_to_proto, spend_query_from_proto, spend_to_proto
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2


class BudgetAdminServicer:
    """Limits, keys and the ledger, of one organisation a call."""

    def __init__(self, *, ledger: Ledger, bookkeeper: Bookkeeper, keys: KeyStore, clock: Clock) -> None:
        self._ledger = ledger
        self._bookkeeper = bookkeeper
        self._keys = keys
        self._clock = clock

    async def PutBudget(self, request: pb.PutBudgetRequest, call: Call) -> pb.PutBudgetResponse:
        state = await self._ledger.put_limit(*limit_from_proto(request))
        return pb.PutBudgetResponse(state=state_to_proto(state))

    async def DeleteBudget(self, request: pb.DeleteBudgetRequest, call: Call) -> pb.DeleteBudgetResponse:
        deleted = await self._ledger.remove_limit(*limit_name_from_proto(request))
        return pb.DeleteBudgetResponse(deleted=deleted)

    async def ListBudgets(self, request: pb.ListBudgetsRequest, call: Call) -> pb.ListBudgetsResponse:
        states = await self._ledger.states(organisation_from_proto(request))
        return pb.ListBudgetsResponse(states=sorted(map(state_to_proto, states), key=_place))

    async def ListReceipts(self, request: pb.ListReceiptsRequest, call: Call) -> pb.ListReceiptsResponse:
        page = await self._ledger.list_receipts(query_from_proto(request))
        return pb.ListReceiptsResponse(
            receipts=map(receipt_to_proto, page.receipts), next_page_token=page.next_page_token
        )

    async def GetSpend(self, request: pb.GetSpendRequest, call: Call) -> AsyncGenerator[pb.GetSpendResponse]:
        query = spend_query_from_proto(request)
        for response in spend_to_proto(await spend(query, self._bookkeeper), query.by):
            yield response

    async def VerifyLedger(
        self, request: pb.VerifyLedgerRequest, call: Call
    ) -> AsyncGenerator[pb.VerifyLedgerResponse]:
        async with aclosing(self._bookkeeper.verify(organisation_from_proto(request))) as findings:
            async for finding in findings:
                yield finding_to_proto(finding)

    async def CreateKey(self, request: pb.CreateKeyRequest, call: Call) -> pb.CreateKeyResponse:
        sha256_hex, key = key_from_proto(request, created_at=self._now())
        await self._keys.create(sha256_hex, key)
        return pb.CreateKeyResponse(key=key_to_proto(key))

    async def ListKeys(self, request: pb.ListKeysRequest, call: Call) -> pb.ListKeysResponse:
        keys = await self._keys.of(organisation_from_proto(request))
        return pb.ListKeysResponse(keys=map(key_to_proto, keys))

    async def RevokeKey(self, request: pb.RevokeKeyRequest, call: Call) -> pb.RevokeKeyResponse:
        organisation, key_id = revocation_from_proto(request)
        key = await self._keys.revoke(organisation, key_id, at=self._now())
        return pb.RevokeKeyResponse(key=key_to_proto(key))

    def _now(self) -> datetime:
        # As it is stored: to the second.
        return datetime.fromtimestamp(int(self._clock.now()), UTC)


def _place(state: money_pb2.BudgetState) -> tuple[int, str, int, int, bool]:
    """Where it stands in a list: by whose it is, what it counts and over which time, the soft limit last."""
    budget = state.budget
    return budget.scope, budget.subject, budget.kind, budget.window, budget.soft
