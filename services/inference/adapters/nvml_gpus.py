"""The GPUs of this machine, by NVIDIA's management library."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import structlog

from services.inference.domain.ports import GpuReading


class NvmlGpus:
    """Asks the driver first when it is read first: where it hangs, start-up does not.

    The handles are the process's; the driver takes them back when it ends.
    """

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] | None = None
        self._log = structlog.get_logger("gpu")

    def read(self) -> tuple[GpuReading, ...]:
        if self._handles is None:
            self._handles = self._opened()
        return tuple(reading for index, gpu in enumerate(self._handles) if (reading := self._read(index, gpu)))

    def _opened(self) -> list[Any]:
        """None without the package (nvidia-ml-py), a driver or a GPU: said once."""
        try:
            self._nvml = import_module("pynvml")
        except ImportError as error:
            self._log.debug("no gauges of GPUs", why=str(error))
            return []
        try:
            self._nvml.nvmlInit()
            return [self._nvml.nvmlDeviceGetHandleByIndex(each) for each in range(self._nvml.nvmlDeviceGetCount())]
        except self._nvml.NVMLError as error:
            self._log.debug("no gauges of GPUs", why=str(error))
            return []

    def _read(self, index: int, gpu: Any) -> GpuReading | None:
        try:
            return GpuReading(
                str(index),
                self._nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
                self._nvml.nvmlDeviceGetMemoryInfo(gpu).used,
            )
        except self._nvml.NVMLError:
            return None
