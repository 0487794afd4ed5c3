"""The cache's counts as Prometheus metrics, read when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from libs.telemetry import names
from services.cache.domain.stats import FillResult, FlightEvent, SemanticResult, Stats, Verdict


class StatsCollector(Collector):
    """Every verdict and result is there from the start, at 0, so that rates have a beginning."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        counts = self._stats.counts()
        yield GaugeMetricFamily(
            names.METRIC_CACHE_HIT_RATE, "Hits ÷ lookups of what may be cached, since the start.", value=counts.hit_rate
        )
        lookups = CounterMetricFamily(names.METRIC_CACHE_LOOKUPS, "Lookups by verdict.", labels=["verdict"])
        for verdict in Verdict:
            lookups.add_metric([verdict], counts.lookups[verdict])
        yield lookups
        fills = CounterMetricFamily(
            names.METRIC_CACHE_FILLS, "Answers offered, by what became of them.", labels=["result"]
        )
        for result in FillResult:
            fills.add_metric([result], counts.fills[result])
        yield fills
        flights = CounterMetricFamily(
            names.METRIC_CACHE_FLIGHTS, "Generations that more than one request waited for.", labels=["event"]
        )
        for event in FlightEvent:
            flights.add_metric([event], self._stats.flights[event])
        yield flights
        yield GaugeMetricFamily(
            names.METRIC_CACHE_FOLLOWERS, "Lookups that follow another's generation.", value=self._stats.followers
        )
        semantic = CounterMetricFamily(
            names.METRIC_CACHE_SEMANTIC, "Lookups of the semantic tier, by what came of them.", labels=["result"]
        )
        for came in SemanticResult:
            semantic.add_metric([came], counts.semantic[came])
        yield semantic
        vetoes = CounterMetricFamily(
            names.METRIC_CACHE_GUARD_VETOES, "Answers near enough that the lexical guard kept back.", labels=["kind"]
        )
        for kind, number in self._stats.vetoes.items():
            vetoes.add_metric([kind], number)
        yield vetoes
        yield CounterMetricFamily(
            names.METRIC_CACHE_BAD_HITS, "Hits that callers have reported as wrong.", value=counts.reported
        )
        yield CounterMetricFamily(
            names.METRIC_CACHE_UNREADABLE, "Stored answers that could not be trusted.", value=self._stats.unreadable
        )
