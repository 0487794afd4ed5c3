"""What labels say of wrong hits as Prometheus metrics: of the organisation of which they say the worst."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from libs.telemetry import names
from services.cache.domain.thresholds import LearntThresholds


class CalibrationCollector(Collector):
    """Organisations are no labels: there may be thousands. `tokenway cache stats` tells them apart.

    Nothing is exported of those without labels, nor where there is no semantic tier.
    """

    def __init__(self, thresholds: LearntThresholds | None) -> None:
        self._thresholds = thresholds

    def collect(self) -> Iterator[Metric]:
        known = self._thresholds.known.values() if self._thresholds else ()
        estimates = [each.estimate for each in known if each.estimate.labels]
        share = GaugeMetricFamily(
            names.METRIC_CACHE_WRONG_SHARE, "Estimated share of wrong semantic hits, where it is highest."
        )
        bound = GaugeMetricFamily(
            names.METRIC_CACHE_WRONG_SHARE_BOUND,
            "Upper bound of the share of wrong semantic hits, where it is highest.",
        )
        if estimates:
            share.add_metric([], max(each.wrong_share for each in estimates))
            bound.add_metric([], max(each.upper_bound for each in estimates))
        yield share
        yield bound
