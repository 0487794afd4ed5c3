"""This replica's index as Prometheus metrics, read when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from libs.telemetry import names
from services.cache.adapters.redis_replica import Replica
from services.cache.domain.ports import VectorIndex


class IndexCollector(Collector):
    """How large it is, and how well it follows; all 0 where there is none."""

    def __init__(self, *, index: VectorIndex | None, replica: Replica | None) -> None:
        self._index, self._replica = index, replica

    def collect(self) -> Iterator[Metric]:
        index, replica = self._index, self._replica
        yield GaugeMetricFamily(
            names.METRIC_CACHE_INDEX_ENTRIES,
            "Questions that the semantic tier looks among.",
            value=0 if index is None else len(index),
        )
        yield GaugeMetricFamily(
            names.METRIC_CACHE_INDEX_BEHIND,
            "Seconds since this replica last knew that it had read all changes.",
            value=0 if replica is None else replica.behind_seconds,
        )
        yield CounterMetricFamily(
            names.METRIC_CACHE_INDEX_REBUILDS,
            "How often this replica read all answers: at its start, and after changes were lost.",
            value=0 if replica is None else replica.rebuilds,
        )
