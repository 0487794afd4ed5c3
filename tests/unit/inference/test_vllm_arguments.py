"""What vLLM is told, for each of its versions and for CPU and GPU. Nothing here imports vLLM."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from libs.settings.schema import VllmEngine
from services.inference.adapters.vllm_arguments import engine_arguments, prepare_environment

# The fields of AsyncEngineArgs that we know of, and that vLLM 0.26 has too.
OLD = frozenset(
    {
        *("model", "served_model_name", "tensor_parallel_size", "max_num_seqs", "max_model_len", "dtype"),
        *("enforce_eager", "load_format", "stream_interval", "kv_cache_memory_bytes", "block_size"),
        *("scheduling_policy", "otlp_traces_endpoint", "shutdown_timeout", "use_tqdm_on_load"),
        *("structured_outputs_config", "gpu_memory_utilization", "distributed_executor_backend"),
    }
)
NEW = OLD | {"max_num_queued_reqs"}


def told(*, cpu: bool, known: frozenset[str] = NEW, **settings: Any) -> dict[str, Any]:
    engine = VllmEngine(kind="vllm", model_path="/models/tiny", **settings)
    return engine_arguments(engine, model="tiny", cpu=cpu, known=known)


def test_a_cpu_engine_starts_fast_and_small() -> None:
    arguments = told(cpu=True)
    assert arguments["enforce_eager"]
    assert arguments["distributed_executor_backend"] == "uni"
    assert arguments["kv_cache_memory_bytes"] == 256 << 20
    assert arguments["block_size"] == 32
    assert "gpu_memory_utilization" not in arguments


def test_what_the_file_says_goes_before_what_suits_a_cpu() -> None:
    arguments = told(cpu=True, kv_cache_memory_bytes=1 << 30, block_size=64)
    assert (arguments["kv_cache_memory_bytes"], arguments["block_size"]) == (1 << 30, 64)


def test_a_gpu_engine_gets_what_the_file_says_and_nothing_that_suits_a_cpu() -> None:
    arguments = told(cpu=False, gpu_memory_utilization=0.8, tensor_parallel_size=2, load_format="dummy")
    assert arguments["gpu_memory_utilization"] == 0.8
    assert arguments["tensor_parallel_size"] == 2
    assert arguments["load_format"] == "dummy"
    assert not arguments["enforce_eager"]
    assert not {"distributed_executor_backend", "kv_cache_memory_bytes", "block_size"} & arguments.keys()


def test_an_argument_that_came_later_is_left_out_for_an_older_version() -> None:
    assert told(cpu=True)["max_num_queued_reqs"] == 256 + 1_024
    assert told(cpu=True, known=OLD).keys() <= OLD


def test_an_argument_that_went_away_is_not_left_out_in_silence() -> None:
    assert "scheduling_policy" in told(cpu=True, known=NEW - {"scheduling_policy"})


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.parametrize("cpu", [True, False])
def test_the_installed_version_has_every_argument(*, cpu: bool) -> None:
    spec = find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "engine" / "arg_utils.py").read_text()
    fields = {
        each.target.id
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name in ("EngineArgs", "AsyncEngineArgs")
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    assert told(cpu=cpu, known=frozenset(fields), block_size=32, kv_cache_memory_bytes=1 << 30).keys() <= fields


def test_the_environment_keeps_what_the_user_has_set() -> None:
    environment = {"OMP_NUM_THREADS": "8", "HF_HUB_OFFLINE": "0"}
    prepare_environment(environment, cpu=True)
    assert environment["OMP_NUM_THREADS"] == "8"
    assert environment["HF_HUB_OFFLINE"] == "0"
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"


def test_what_suits_a_cpu_is_not_set_for_a_gpu() -> None:
    environment: dict[str, str] = {}
    prepare_environment(environment, cpu=False)
    assert not {"OMP_NUM_THREADS", "VLLM_ENABLE_V1_MULTIPROCESSING", "TORCHDYNAMO_DISABLE"} & environment.keys()
