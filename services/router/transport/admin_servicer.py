"""AdminService: the caller's organisation is added, and the budget service does the rest.

The messages of both services are the same but for the organisation, which is never the caller's to say. So they are
passed on as they are, and a mistake that the budget service names has the same field here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TypeVar

from google.protobuf.message import Message

from libs.clock import Clock
from libs.errors import invalid_request
from libs.keys import new_api_key, sha256_of
from libs.rpc.call import Call
from libs.rpc.client import Client
from libs.rpc.method import Method, method
from services.router.domain.principal import Principal
from services.router.transport.administrator import Audit, administrator
from services.router.transport.key_rules import broken_by_create_key
from tokenway.budget.v1 import budget_pb2
from tokenway.common.v1.money_pb2 import (
    BUDGET_KIND_MONEY,
    BUDGET_KIND_UNSPECIFIED,
    Budget,
    BudgetKind,
    BudgetScope,
    BudgetWindow,
)
from tokenway.common.v1.principal_pb2 import ApiKey, KeyRole
from tokenway.router.v1 import admin_pb2 as pb

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

# Nobody's answer waits for it, and a long ledger takes several reads.
_TIMEOUT_SECONDS = 10.0
# Millions of receipts are read in steps.
_VERIFY_SECONDS = 3_600.0


def _of_budget(name: str, request: type[Request], response: type[Response]) -> Method[Request, Response]:
    return method(budget_pb2.DESCRIPTOR, "BudgetAdminService", name, request, response)


_PUT_BUDGET = _of_budget("PutBudget", budget_pb2.PutBudgetRequest, budget_pb2.PutBudgetResponse)
_DELETE_BUDGET = _of_budget("DeleteBudget", budget_pb2.DeleteBudgetRequest, budget_pb2.DeleteBudgetResponse)
_LIST_BUDGETS = _of_budget("ListBudgets", budget_pb2.ListBudgetsRequest, budget_pb2.ListBudgetsResponse)
_LIST_RECEIPTS = _of_budget("ListReceipts", budget_pb2.ListReceiptsRequest, budget_pb2.ListReceiptsResponse)
_GET_SPEND = _of_budget("GetSpend", budget_pb2.GetSpendRequest, budget_pb2.GetSpendResponse)
_VERIFY_LEDGER = _of_budget("VerifyLedger", budget_pb2.VerifyLedgerRequest, budget_pb2.VerifyLedgerResponse)
_CREATE_KEY = _of_budget("CreateKey", budget_pb2.CreateKeyRequest, budget_pb2.CreateKeyResponse)
_LIST_KEYS = _of_budget("ListKeys", budget_pb2.ListKeysRequest, budget_pb2.ListKeysResponse)
_REVOKE_KEY = _of_budget("RevokeKey", budget_pb2.RevokeKeyRequest, budget_pb2.RevokeKeyResponse)


class AdminServicer:
    """Budgets, keys and receipts of the caller's organisation."""

    def __init__(self, *, budget: Client, audit: Audit, clock: Clock, models: frozenset[str]) -> None:
        self._budget = budget
        self._audit = audit
        self._clock = clock
        self._models = models

    async def PutBudget(self, request: pb.PutBudgetRequest, call: Call) -> pb.PutBudgetResponse:
        admin = administrator(call)
        forwarded = budget_pb2.PutBudgetRequest(organisation=admin.organisation, budget=request.budget)
        response = await self._ask(_PUT_BUDGET, forwarded)
        self._audit.changed(admin, "PutBudget", f"{_named(request.budget)} = {_most(request.budget)}")
        return pb.PutBudgetResponse(state=response.state)

    async def DeleteBudget(self, request: pb.DeleteBudgetRequest, call: Call) -> pb.DeleteBudgetResponse:
        admin = administrator(call)
        forwarded = budget_pb2.DeleteBudgetRequest(organisation=admin.organisation, budget=request.budget)
        response = await self._ask(_DELETE_BUDGET, forwarded)
        if response.deleted:
            self._audit.changed(admin, "DeleteBudget", _named(request.budget))
        return pb.DeleteBudgetResponse(deleted=response.deleted)

    async def ListBudgets(self, request: pb.ListBudgetsRequest, call: Call) -> pb.ListBudgetsResponse:
        forwarded = budget_pb2.ListBudgetsRequest(organisation=administrator(call).organisation)
        return pb.ListBudgetsResponse(states=(await self._ask(_LIST_BUDGETS, forwarded)).states)

    async def ListReceipts(self, request: pb.ListReceiptsRequest, call: Call) -> pb.ListReceiptsResponse:
        forwarded = budget_pb2.ListReceiptsRequest(
            organisation=administrator(call).organisation,
            request_id=request.request_id,
            page_size=request.page_size,
            page_token=request.page_token,
            since=request.since if request.HasField("since") else None,
        )
        response = await self._ask(_LIST_RECEIPTS, forwarded)
        return pb.ListReceiptsResponse(receipts=response.receipts, next_page_token=response.next_page_token)

    async def GetSpend(self, request: pb.GetSpendRequest, call: Call) -> AsyncGenerator[pb.GetSpendResponse]:
        forwarded = budget_pb2.GetSpendRequest(
            organisation=administrator(call).organisation,
            first_day=request.first_day,
            last_day=request.last_day,
            by=request.by,
        )
        async with self._budget.stream(_GET_SPEND, forwarded, timeout_seconds=_TIMEOUT_SECONDS) as responses:
            async for response in responses:
                yield pb.GetSpendResponse(rows=response.rows)

    async def VerifyLedger(
        self, request: pb.VerifyLedgerRequest, call: Call
    ) -> AsyncGenerator[pb.VerifyLedgerResponse]:
        forwarded = budget_pb2.VerifyLedgerRequest(organisation=administrator(call).organisation)
        async with self._budget.stream(_VERIFY_LEDGER, forwarded, timeout_seconds=_VERIFY_SECONDS) as findings:
            async for finding in findings:
                yield pb.VerifyLedgerResponse(
                    progress=finding.progress if finding.HasField("progress") else None,
                    difference=finding.difference if finding.HasField("difference") else None,
                    verified=finding.verified if finding.HasField("verified") else None,
                )

    async def CreateKey(self, request: pb.CreateKeyRequest, call: Call) -> pb.CreateKeyResponse:
        admin = administrator(call)
        key = self._key(request, admin)
        # It is in this answer and nowhere else: if that is lost, so is the key.
        secret = new_api_key()
        forwarded = budget_pb2.CreateKeyRequest(key_sha256=bytes.fromhex(sha256_of(secret)), key=key)
        response = await self._ask(_CREATE_KEY, forwarded)
        self._audit.changed(admin, "CreateKey", _described(response.key))
        return pb.CreateKeyResponse(secret=secret, key=response.key)

    async def ListKeys(self, request: pb.ListKeysRequest, call: Call) -> pb.ListKeysResponse:
        forwarded = budget_pb2.ListKeysRequest(organisation=administrator(call).organisation)
        return pb.ListKeysResponse(keys=(await self._ask(_LIST_KEYS, forwarded)).keys)

    async def RevokeKey(self, request: pb.RevokeKeyRequest, call: Call) -> pb.RevokeKeyResponse:
        admin = administrator(call)
        forwarded = budget_pb2.RevokeKeyRequest(organisation=admin.organisation, key_id=request.key_id)
        response = await self._ask(_REVOKE_KEY, forwarded)
        self._audit.changed(admin, "RevokeKey", f"key {request.key_id}")
        return pb.RevokeKeyResponse(key=response.key)

    def _key(self, request: pb.CreateKeyRequest, admin: Principal) -> ApiKey:
        """The key that is asked for, in the administrator's organisation; every rule that it breaks is named."""
        own = admin.organisation
        broken = tuple(
            broken_by_create_key(request, organisation=own, models=self._models, now_seconds=self._clock.now())
        )
        if broken:
            raise invalid_request(*broken)
        key = ApiKey()
        key.CopyFrom(request.key)
        key.principal.organisation = own
        return key

    async def _ask(self, asked: Method[Request, Response], request: Request) -> Response:
        return await self._budget.unary(asked, request, timeout_seconds=_TIMEOUT_SECONDS)


def _named(budget: Budget) -> str:
    """Such as `key:ci hour` or `team:ops minute requests, soft`; only of a budget that was accepted."""
    scope = BudgetScope.Name(budget.scope).removeprefix("BUDGET_SCOPE_").lower()
    window = BudgetWindow.Name(budget.window).removeprefix("BUDGET_WINDOW_").lower()
    kind = "" if _is_money(budget) else " " + BudgetKind.Name(budget.kind).removeprefix("BUDGET_KIND_").lower()
    whose = f"{scope}:{budget.subject}" if budget.subject else scope
    return f"{whose} {window}{kind}{', soft' if budget.soft else ''}"


def _most(budget: Budget) -> str:
    return f"{budget.limit} micro-dollars" if _is_money(budget) else str(budget.limit)


def _is_money(budget: Budget) -> bool:
    return budget.kind in {BUDGET_KIND_UNSPECIFIED, BUDGET_KIND_MONEY}


def _described(key: ApiKey) -> str:
    role = KeyRole.Name(key.principal.role).removeprefix("KEY_ROLE_").lower()
    return f"key {key.principal.key_id}, role {role}"
