"""The router's administration, with an administrator's key."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from libs.rpc.client import Client
from libs.rpc.method import method
from services.mesh.client.router import RouterAddress, calling
from tokenway.common.v1.money_pb2 import Budget, BudgetState, Spend
from tokenway.common.v1.principal_pb2 import ApiKey
from tokenway.router.v1 import admin_pb2 as pb
from tokenway.router.v1.router_pb2 import GenerateRequest

_FILE, _SERVICE = pb.DESCRIPTOR, "AdminService"
PUT_BUDGET = method(_FILE, _SERVICE, "PutBudget", pb.PutBudgetRequest, pb.PutBudgetResponse)
DELETE_BUDGET = method(_FILE, _SERVICE, "DeleteBudget", pb.DeleteBudgetRequest, pb.DeleteBudgetResponse)
LIST_BUDGETS = method(_FILE, _SERVICE, "ListBudgets", pb.ListBudgetsRequest, pb.ListBudgetsResponse)
LIST_RECEIPTS = method(_FILE, _SERVICE, "ListReceipts", pb.ListReceiptsRequest, pb.ListReceiptsResponse)
GET_SPEND = method(_FILE, _SERVICE, "GetSpend", pb.GetSpendRequest, pb.GetSpendResponse)
VERIFY_LEDGER = method(_FILE, _SERVICE, "VerifyLedger", pb.VerifyLedgerRequest, pb.VerifyLedgerResponse)
CREATE_KEY = method(_FILE, _SERVICE, "CreateKey", pb.CreateKeyRequest, pb.CreateKeyResponse)
LIST_KEYS = method(_FILE, _SERVICE, "ListKeys", pb.ListKeysRequest, pb.ListKeysResponse)
GET_CACHE_STATS = method(_FILE, _SERVICE, "GetCacheStats", pb.GetCacheStatsRequest, pb.GetCacheStatsResponse)
INVALIDATE_CACHE = method(_FILE, _SERVICE, "InvalidateCache", pb.InvalidateCacheRequest, pb.InvalidateCacheResponse)
EXPLAIN_CACHE = method(_FILE, _SERVICE, "ExplainCache", pb.ExplainCacheRequest, pb.ExplainCacheResponse)
REVOKE_KEY = method(_FILE, _SERVICE, "RevokeKey", pb.RevokeKeyRequest, pb.RevokeKeyResponse)

_TIMEOUT_SECONDS = 15.0
# Millions of receipts take their time.
_VERIFY_SECONDS = 3_600.0


class AdminClient:
    """Of the key's own organisation. Every failure is a TokenwayError; nothing is retried."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def put_budget(self, budget: Budget) -> BudgetState:
        """Sets a limit, and says where it stands."""
        request = pb.PutBudgetRequest(budget=budget)
        return (await self._client.unary(PUT_BUDGET, request, timeout_seconds=_TIMEOUT_SECONDS)).state

    async def delete_budget(self, budget: Budget) -> bool:
        """Removes a limit; False when there was none."""
        request = pb.DeleteBudgetRequest(budget=budget)
        return (await self._client.unary(DELETE_BUDGET, request, timeout_seconds=_TIMEOUT_SECONDS)).deleted

    async def list_budgets(self) -> list[BudgetState]:
        """Where every limit stands."""
        response = await self._client.unary(LIST_BUDGETS, pb.ListBudgetsRequest(), timeout_seconds=_TIMEOUT_SECONDS)
        return list(response.states)

    async def list_receipts(self, request: pb.ListReceiptsRequest) -> pb.ListReceiptsResponse:
        """A page of the ledger, newest first."""
        return await self._client.unary(LIST_RECEIPTS, request, timeout_seconds=_TIMEOUT_SECONDS)

    async def get_spend(self, request: pb.GetSpendRequest) -> list[Spend]:
        """What was spent, a row for each combination of names."""
        async with self._client.stream(GET_SPEND, request, timeout_seconds=_TIMEOUT_SECONDS) as responses:
            return [row async for response in responses for row in response.rows]

    async def verify_ledger(self) -> AsyncGenerator[pb.VerifyLedgerResponse]:
        """Holds the organisation's sums against its ledger: what it finds, as it finds it."""
        request = pb.VerifyLedgerRequest()
        async with self._client.stream(VERIFY_LEDGER, request, timeout_seconds=_VERIFY_SECONDS) as findings:
            async for finding in findings:
                yield finding

    async def create_key(self, key: ApiKey) -> pb.CreateKeyResponse:
        """A new key; its secret is in this answer only."""
        request = pb.CreateKeyRequest(key=key)
        return await self._client.unary(CREATE_KEY, request, timeout_seconds=_TIMEOUT_SECONDS)

    async def list_keys(self) -> list[ApiKey]:
        """Every key, revoked ones included."""
        response = await self._client.unary(LIST_KEYS, pb.ListKeysRequest(), timeout_seconds=_TIMEOUT_SECONDS)
        return list(response.keys)

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Ends a key."""
        request = pb.RevokeKeyRequest(key_id=key_id)
        return (await self._client.unary(REVOKE_KEY, request, timeout_seconds=_TIMEOUT_SECONDS)).key

    async def get_cache_stats(self) -> pb.GetCacheStatsResponse:
        """The cache's figures."""
        return await self._client.unary(GET_CACHE_STATS, pb.GetCacheStatsRequest(), timeout_seconds=_TIMEOUT_SECONDS)

    async def invalidate_cache(self, request: pb.InvalidateCacheRequest) -> int:
        """Drops answers, and says how many."""
        return (await self._client.unary(INVALIDATE_CACHE, request, timeout_seconds=_TIMEOUT_SECONDS)).dropped

    async def explain_cache(self, question: GenerateRequest) -> pb.ExplainCacheResponse:
        """What the cache makes of a question."""
        request = pb.ExplainCacheRequest(request=question)
        return await self._client.unary(EXPLAIN_CACHE, request, timeout_seconds=_TIMEOUT_SECONDS)


@asynccontextmanager
async def administering(router: RouterAddress) -> AsyncIterator[AdminClient]:
    """A client while the block runs. Connects at the first call."""
    async with calling(router) as client:
        yield AdminClient(client)
