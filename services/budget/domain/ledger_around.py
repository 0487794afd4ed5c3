"""What every ledger round another does alike."""

from __future__ import annotations

from services.budget.domain.arrears import Arrear
from services.budget.domain.limits import BudgetState, Limit, LimitName, Principal
from services.budget.domain.ports import Ledger, Swept
from services.budget.domain.receipt import Receipt, ReceiptPage, ReceiptQuery


class LedgerAround:
    """Asks the ledger inside it. Who is made of it adds the verbs of a reservation, and is then a Ledger."""

    def __init__(self, inner: Ledger) -> None:
        self._inner = inner

    async def sweep(self) -> Swept:
        return await self._inner.sweep()

    async def book(self, arrear: Arrear) -> Receipt:
        return await self._inner.book(arrear)

    async def usage(self, principal: Principal) -> tuple[BudgetState, ...]:
        return await self._inner.usage(principal)

    async def put_limit(self, organisation: str, limit: Limit) -> BudgetState:
        return await self._inner.put_limit(organisation, limit)

    async def add_limit(self, organisation: str, limit: Limit) -> bool:
        return await self._inner.add_limit(organisation, limit)

    async def remove_limit(self, organisation: str, name: LimitName) -> bool:
        return await self._inner.remove_limit(organisation, name)

    async def limits(self, organisation: str) -> tuple[Limit, ...]:
        return await self._inner.limits(organisation)

    async def states(self, organisation: str) -> tuple[BudgetState, ...]:
        return await self._inner.states(organisation)

    async def list_receipts(self, query: ReceiptQuery) -> ReceiptPage:
        return await self._inner.list_receipts(query)
