"""What was decided without the ledger, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from libs.telemetry import names

_MICRO_USD_PER_USD = 1_000_000


class AwayMetrics:
    """An AwayWatcher."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter(
            names.METRIC_BUDGET_UNCHECKED,
            "Requests while the ledger was away, admitted or refused",
            ("decision",),
            registry=registry,
        )
        self._unbooked_usd = Gauge(
            names.METRIC_BUDGET_UNBOOKED,
            "US dollars held or spent that the ledger does not have yet",
            registry=registry,
        )

    def decided(self, decision: str) -> None:
        self._decisions.labels(decision).inc()

    def unbooked(self, micro_usd: int) -> None:
        self._unbooked_usd.set(micro_usd / _MICRO_USD_PER_USD)
