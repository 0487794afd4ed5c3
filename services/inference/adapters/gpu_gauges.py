"""What each GPU does, as Prometheus metrics, read when they are scraped."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from libs.telemetry import names
from services.inference.domain.ports import GpuReading, Gpus

# A driver answers within milliseconds, or not at all.
PATIENCE_SECONDS = 0.5


class GpuGauges(Collector):
    """No GPU, no series. A driver that hangs costs a scrape its gauges and half a second, and no other metric."""

    def __init__(self, gpus: Gpus, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._gpus = gpus
        self._patience_seconds = patience_seconds
        self._starting = threading.Lock()
        self._reading: threading.Thread | None = None
        self._last: tuple[GpuReading, ...] = ()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The names alone: a registry asks for them on the event loop's thread."""
        yield from _families()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        utilization, memory = _families()
        for each in self._read():
            utilization.add_metric([each.gpu_id], each.utilization_percent)
            memory.add_metric([each.gpu_id], each.memory_used_bytes)
        yield from (utilization, memory)

    def _read(self) -> tuple[GpuReading, ...]:
        reading = self._current()
        reading.join(self._patience_seconds)
        return () if reading.is_alive() else self._last

    def _current(self) -> threading.Thread:
        """The reading that is under way, an earlier scrape's even: one thread may hang, not one more each time."""
        with self._starting:
            if self._reading is None or not self._reading.is_alive():
                # A daemon: a process may end while its driver hangs.
                self._reading = threading.Thread(target=self._keep, name="gpus", daemon=True)
                self._reading.start()
            return self._reading

    def _keep(self) -> None:
        self._last = ()
        self._last = self._gpus.read()


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily(names.METRIC_GPU_UTILIZATION, "Share of time with work, percent.", labels=["gpu_id"]),
        GaugeMetricFamily(names.METRIC_GPU_MEMORY, "Memory in use.", labels=["gpu_id"]),
    )
