"""Gauges of GPUs, with a stand-in for NVIDIA's library: there is no GPU where tests run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from libs.testing.gpus import FakeGpus
from services.inference.adapters.gpu_gauges import GpuGauges
from services.inference.adapters.nvml_gpus import NvmlGpus
from services.inference.domain.ports import GpuReading

TWO = (GpuReading("0", 60, 1 << 30), GpuReading("1", 61, 2 << 30))


class FakeNvml:
    """Two GPUs, of which the second can stop answering; `away` is a machine without a driver."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, away: bool = False, lost: bool = False) -> None:
        self.away, self.lost = away, lost
        self.inits = 0

    def nvmlInit(self) -> None:
        self.inits += 1
        if self.away:
            raise self.NVMLError

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


def nvml_gpus(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml | None) -> NvmlGpus:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)  # None is how Python marks what is absent
    return NvmlGpus()


def test_every_gpu_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    gpus = nvml_gpus(monkeypatch, nvml)
    assert nvml.inits == 0, "the driver is not asked before somebody wants to know"
    assert gpus.read() == gpus.read() == TWO
    assert nvml.inits == 1


def test_a_gpu_that_does_not_answer_is_left_out_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert nvml_gpus(monkeypatch, FakeNvml(lost=True)).read() == TWO[:1]


@pytest.mark.parametrize("nvml", [FakeNvml(away=True), None], ids=["no driver", "no library"])
def test_a_machine_without_a_gpu_has_no_reading_and_no_error(
    monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml | None
) -> None:
    gpus = nvml_gpus(monkeypatch, nvml)
    assert gpus.read() == gpus.read() == ()


def test_each_gpu_has_its_gauges() -> None:
    registry = CollectorRegistry()
    registry.register(GpuGauges(FakeGpus(TWO)))
    assert registry.get_sample_value("llm_gpu_utilization", {"gpu_id": "1"}) == 61
    assert registry.get_sample_value("llm_gpu_memory_bytes", {"gpu_id": "1"}) == 2 << 30


def test_a_machine_without_a_gpu_has_no_series() -> None:
    assert [sample for family in GpuGauges(FakeGpus()).collect() for sample in family.samples] == []


def test_registering_the_gauges_asks_no_driver() -> None:
    gpus = FakeGpus(TWO)
    CollectorRegistry(auto_describe=True).register(GpuGauges(gpus))
    assert gpus.readings == 0


@pytest.fixture
def hanging() -> Iterator[FakeGpus]:
    gpus = FakeGpus(TWO, answers=threading.Event())
    yield gpus
    gpus.answers.set()


def test_a_driver_that_hangs_costs_its_gauges_and_one_thread_however_often_it_is_scraped(hanging: FakeGpus) -> None:
    gauges = GpuGauges(hanging, patience_seconds=0.01)
    before = threading.active_count()
    for _ in range(3):
        assert [sample for family in gauges.collect() for sample in family.samples] == []
    assert threading.active_count() == before + 1
    assert hanging.readings == 1


def test_a_driver_that_comes_back_has_its_gauges_again(hanging: FakeGpus) -> None:
    gauges = GpuGauges(hanging, patience_seconds=0.01)
    list(gauges.collect())
    hanging.answers.set()
    patient = [sample for _ in range(100) for family in gauges.collect() for sample in family.samples]
    assert patient
