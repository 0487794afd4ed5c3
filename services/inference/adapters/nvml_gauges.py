"""What each GPU does, by NVIDIA's management library. Where there is none there are no gauges, and no error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily

from libs.telemetry import names


class NvmlGauges:
    """Read when they are scraped. `try_start` gives None on a machine without NVML."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        nvml.nvmlInit()
        self._gpus = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]

    @classmethod
    def try_start(cls) -> Self | None:
        """Without the package, the driver or a GPU: None."""
        try:
            import pynvml  # noqa: PLC0415 - optional: nvidia-ml-py
        except ImportError:
            return None
        try:
            return cls(pynvml)
        except pynvml.NVMLError:
            return None

    def register(self, registry: CollectorRegistry) -> None:
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Busy share in percent, and memory in use; a GPU that does not answer is left out this time."""
        utilization = GaugeMetricFamily(
            names.METRIC_GPU_UTILIZATION, "Share of time with work, percent.", labels=["gpu_id"]
        )
        memory = GaugeMetricFamily(names.METRIC_GPU_MEMORY, "Memory in use.", labels=["gpu_id"])
        for index, gpu in enumerate(self._gpus):
            try:
                utilization.add_metric([str(index)], self._nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)
                memory.add_metric([str(index)], self._nvml.nvmlDeviceGetMemoryInfo(gpu).used)
            except self._nvml.NVMLError:
                continue
        yield from (utilization, memory)

    def close(self) -> None:
        self._nvml.nvmlShutdown()
