"""How busy the engine is, as Prometheus metrics, read when they are scraped."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from libs.telemetry import names
from services.inference.domain.load import Load


class LoadGauges(Collector):
    """The very figures that WatchLoad tells the router."""

    def __init__(self, load: Callable[[], Load]) -> None:
        self._load = load

    def collect(self) -> Iterator[GaugeMetricFamily]:
        load = self._load()
        yield GaugeMetricFamily(names.METRIC_ENGINE_RUNNING, "Requests that the engine works on.", value=load.running)
        yield GaugeMetricFamily(names.METRIC_ENGINE_WAITING, "Requests that wait for a turn.", value=load.waiting)
        yield GaugeMetricFamily(
            names.METRIC_ENGINE_KV_CACHE, "Share of the KV cache in use, at most.", value=load.kv_cache_usage
        )
