"""Gauges of GPUs, with a stand-in for NVIDIA's library: there is no GPU where tests run."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from services.inference.adapters.nvml_gauges import NvmlGauges


class FakeNvml:
    """Two GPUs, of which the second can stop answering; `away` is a machine without a driver."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.lost = False
        self.open = False

    def nvmlInit(self) -> None:
        if self.away:
            raise self.NVMLError
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUtilizationRates(self, gpu: int) -> SimpleNamespace:
        if self.lost and gpu == 1:
            raise self.NVMLError
        return SimpleNamespace(gpu=60 + gpu)

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> SimpleNamespace:
        return SimpleNamespace(used=(gpu + 1) << 30)


def test_each_gpu_has_its_gauges() -> None:
    registry = CollectorRegistry()
    NvmlGauges(FakeNvml()).register(registry)
    assert registry.get_sample_value("llm_gpu_utilization", {"gpu_id": "0"}) == 60
    assert registry.get_sample_value("llm_gpu_utilization", {"gpu_id": "1"}) == 61
    assert registry.get_sample_value("llm_gpu_memory_bytes", {"gpu_id": "1"}) == 2 << 30


def test_a_gpu_that_does_not_answer_is_left_out_and_the_others_are_not() -> None:
    registry, nvml = CollectorRegistry(), FakeNvml()
    NvmlGauges(nvml).register(registry)
    nvml.lost = True
    assert registry.get_sample_value("llm_gpu_utilization", {"gpu_id": "1"}) is None
    assert registry.get_sample_value("llm_gpu_utilization", {"gpu_id": "0"}) == 60


def test_a_machine_without_a_driver_has_no_gauges_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(away=True))
    assert NvmlGauges.try_start() is None


def test_an_installation_without_the_library_has_no_gauges_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # how Python marks what is absent
    assert NvmlGauges.try_start() is None


def test_a_machine_with_a_gpu_has_gauges_until_they_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    gauges = NvmlGauges.try_start()
    assert gauges is not None
    assert nvml.open
    gauges.close()
    assert not nvml.open
