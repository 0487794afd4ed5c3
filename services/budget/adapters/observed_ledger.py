"""What each verb decided: counted for Prometheus, and written on the span of its call."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter

from libs.errors import TokenwayError
from libs.telemetry import names
from services.budget.domain.chore import Result
from services.budget.domain.lease import Extension, Lease, Reservation, ReservationId
from services.budget.domain.ledger_around import LedgerAround
from services.budget.domain.limits import BudgetState
from services.budget.domain.ports import Ledger, Swept
from services.budget.domain.receipt import Receipt, Settlement

_MICRO_USD_PER_USD = 1_000_000


class LedgerMetrics:
    """Labels are verbs, decisions and outcomes alone: whose money it was stands in the ledger."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter(
            names.METRIC_BUDGET_DECISIONS,
            "Leases asked for: given in part or whole, or why not",
            ("verb", "decision"),
            registry=registry,
        )
        self._receipts = Counter(
            names.METRIC_BUDGET_SETTLEMENTS, "Requests settled, by how they ended", ("outcome",), registry=registry
        )
        self._passed = Counter(
            names.METRIC_BUDGET_SOFT_LIMITS_PASSED,
            "Reservations with which a soft limit was passed",
            ("scope", "window", "kind"),
            registry=registry,
        )
        self._presumed_leases = Counter(
            names.METRIC_BUDGET_PRESUMED_LEASES, "Leases that ran out, presumed delivered", registry=registry
        )
        self._presumed_usd = Counter(
            names.METRIC_BUDGET_PRESUMED_COST, "US dollars booked for leases that ran out", registry=registry
        )
        self._uncovered_usd = Counter(
            names.METRIC_BUDGET_UNCOVERED_COST, "US dollars used beyond a lease, never billed", registry=registry
        )
        self._sweeps = Counter(names.METRIC_BUDGET_SWEEPS, "Sweeps, by how they ended", ("result",), registry=registry)
        self._trims = Counter(
            names.METRIC_BUDGET_TRIMS,
            "Rounds in which old receipts were exported and trimmed, by how they ended",
            ("result",),
            registry=registry,
        )

    def decided(self, verb: str, decision: str) -> None:
        self._decisions.labels(verb, decision).inc()

    def warned(self, passed: Iterable[BudgetState]) -> None:
        """Of whom, is in the router's log."""
        for each in passed:
            self._passed.labels(each.limit.account.scope, each.limit.window, each.limit.kind).inc()

    def settled(self, receipt: Receipt) -> None:
        self._receipts.labels(receipt.outcome.lower()).inc()
        self._uncovered_usd.inc(receipt.uncovered_micro_usd / _MICRO_USD_PER_USD)

    def swept(self, swept: Swept) -> None:
        """Leases that any call found expired, the sweeper's among them."""
        self._presumed_leases.inc(swept.leases)
        self._presumed_usd.inc(swept.presumed_micro_usd / _MICRO_USD_PER_USD)

    def sweep_ended(self, result: Result) -> None:
        self._sweeps.labels(result).inc()

    def trim_ended(self, result: Result) -> None:
        self._trims.labels(result).inc()


class ObservedLedger(LedgerAround):
    """A Ledger like the one inside it."""

    def __init__(self, inner: Ledger, *, metrics: LedgerMetrics) -> None:
        super().__init__(inner)
        self._metrics = metrics

    async def reserve(self, reservation: Reservation) -> Lease:
        scopes = [str(each.scope) for each in reservation.principal.accounts()]
        trace.get_current_span().set_attribute(names.BUDGET_SCOPES, scopes)
        lease = await self._decided("reserve", reservation.id, self._inner.reserve(reservation))
        self._metrics.warned(lease.warnings)
        return lease

    async def extend(self, extension: Extension) -> Lease:
        return await self._decided("extend", extension.id, self._inner.extend(extension))

    async def settle(self, settlement: Settlement) -> Receipt:
        receipt = await self._inner.settle(settlement)
        self._metrics.settled(receipt)
        span = trace.get_current_span()
        span.set_attribute(names.BUDGET_RESERVATION_ID, settlement.id)
        span.set_attribute(names.COST_MICRO_USD, receipt.cost_micro_usd)
        span.set_attribute(names.OUTCOME, receipt.outcome.lower())
        return receipt

    async def release(self, organisation: str, reservation: ReservationId) -> int:
        trace.get_current_span().set_attribute(names.BUDGET_RESERVATION_ID, reservation)
        return await self._inner.release(organisation, reservation)

    async def _decided(self, verb: str, reservation: ReservationId, asking: Awaitable[Lease]) -> Lease:
        span = trace.get_current_span()
        span.set_attribute(names.BUDGET_RESERVATION_ID, reservation)
        try:
            lease = await asking
        except TokenwayError as error:
            span.set_attribute(names.BUDGET_DECISION, error.reason.lower())
            self._metrics.decided(verb, error.reason.lower())
            raise
        decision = "whole" if lease.whole else "part"
        span.set_attribute(names.BUDGET_DECISION, decision)
        span.set_attribute(names.BUDGET_RESERVED_MICRO_USD, lease.reserved_micro_usd)
        self._metrics.decided(verb, decision)
        return lease
