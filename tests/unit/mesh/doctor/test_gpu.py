"""GPUs, with a stand-in for NVIDIA's library: there is no GPU where tests run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from services.mesh.doctor.finding import Finding, Verdict
from services.mesh.doctor.gpu import Gpu, Need
from tests.unit.mesh.doctor.found import about, verdicts

GIB = 1 << 30


class FakeNvml:
    """GPUs of 80 GiB, of which `free` are free; `away` is a machine without a driver."""

    class NVMLError(Exception):
        pass

    def __init__(self, *free: int, away: bool = False, lost: bool = False) -> None:
        self._free, self._away, self._lost = free, away, lost
        self.open = False

    def nvmlInit(self) -> None:
        if self._away:
            raise self.NVMLError("Driver Not Loaded")
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.65"

    def nvmlDeviceGetCount(self) -> int:
        return len(self._free)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> SimpleNamespace:
        if self._lost:
            raise self.NVMLError("GPU is lost")
        return SimpleNamespace(total=80 * GIB, free=self._free[gpu] * GIB)


def need(gpus: int, share: float, weights_bytes: int, *, replicas: int = 1) -> Need:
    return Need(gpus, share, lambda: weights_bytes, replicas)


def found(nvml: Any, wanted: Need, *, in_use: bool = False) -> list[Finding]:
    gpu = Gpu(needs={"large": wanted}, not_needed="", nvml=nvml, in_use=in_use)
    return list(gpu.findings())


@pytest.mark.parametrize(
    ("free", "wanted", "verdict", "cure"),
    [
        ((80,), need(1, 0.9, 16 * GIB), Verdict.OK, ""),
        ((60,), need(1, 0.9, 16 * GIB), Verdict.WRONG, "gpu_memory_utilization: 0.75"),
        ((80,), need(1, 0.9, 140 * GIB), Verdict.WRONG, "tensor_parallel_size: more GPUs"),
        ((80,), need(2, 0.9, 140 * GIB), Verdict.WRONG, "tensor_parallel_size: 1"),
        ((80, 80), need(2, 0.9, 140 * GIB), Verdict.OK, ""),
        ((80, 10), need(2, 0.9, 140 * GIB), Verdict.WRONG, "gpu_memory_utilization: 0.12"),
        ((), need(1, 0.9, GIB), Verdict.WRONG, "tensor_parallel_size: 1"),
    ],
)
def test_memory_is_held_against_what_the_model_wants(
    free: tuple[int, ...], wanted: Need, verdict: Verdict, cure: str
) -> None:
    nvml = FakeNvml(*free)
    model = about(found(nvml, wanted), "large")
    assert model.verdict is verdict
    assert cure in model.cure
    assert not nvml.open


def test_models_and_replicas_share_what_there_is() -> None:
    half = need(1, 0.45, 16 * GIB)
    for needs, wrong in (
        ({"a": half, "b": half}, set()),
        ({"a": half, "b": half, "c": half}, {"c"}),
        ({"a": need(1, 0.45, 16 * GIB, replicas=3)}, {"a"}),
    ):
        found = verdicts(Gpu(needs=needs, not_needed="", nvml=FakeNvml(80), in_use=False).findings())
        assert {name for name, verdict in found.items() if verdict is Verdict.WRONG} == wrong


def test_memory_that_the_running_mesh_has_is_not_missed() -> None:
    assert about(found(FakeNvml(2), need(1, 0.9, 16 * GIB), in_use=True), "large").verdict is Verdict.OK


def test_without_a_driver_it_is_wrong_and_without_the_library_skipped() -> None:
    assert verdicts(found(FakeNvml(away=True), need(1, 0.9, GIB))) == {"driver": Verdict.WRONG}
    assert verdicts(found(None, need(1, 0.9, GIB))) == {"driver": Verdict.SKIPPED}


def test_a_gpu_that_was_lost_is_a_finding_and_the_library_is_closed() -> None:
    nvml = FakeNvml(80, lost=True)
    assert found(nvml, need(1, 0.9, GIB))[-1].says == "a GPU does not answer: GPU is lost"
    assert not nvml.open


def test_nothing_is_asked_where_no_model_needs_a_gpu() -> None:
    assert verdicts(Gpu(needs={}, not_needed="no model", nvml=None, in_use=False).findings()) == {
        "driver": Verdict.SKIPPED
    }
