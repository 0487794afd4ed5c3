"""What is missing on a machine is named with its cure."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from libs.settings.document import load, read
from libs.settings.schema import Settings
from services.mesh.errors import MeshError
from services.mesh.supervisor import preflight
from tests.unit.settings.documents import VALID, written

DEFAULT = load("services/mesh/default.yaml", environment={})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


@pytest.fixture(autouse=True)
def with_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(preflight, "_is_cpu_build", lambda: True)
    monkeypatch.setattr(preflight, "_can_load", lambda library: True)


def test_a_whole_machine_passes(model: Path) -> None:
    preflight.check(DEFAULT, default_model=model)


def test_a_mesh_without_vllm_needs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    preflight.check(written(), default_model=tmp_path / "none")


def test_a_missing_model_says_make_model(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"^there is no model in \S+/none; run: make model$"):
        preflight.check(DEFAULT, default_model=tmp_path / "none")


def test_a_missing_model_of_ones_own_is_not_made(tmp_path: Path, model: Path) -> None:
    with pytest.raises(MeshError, match=r"^there is no model in \S+/none; a Hugging Face folder has a config\.json$"):
        preflight.check(with_engine(kind="vllm", model_path=str(tmp_path / "none")), default_model=model)


def test_a_missing_library_says_the_line_for_apt(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(preflight, "_can_load", lambda library: library != "libnuma.so.1")
    with pytest.raises(MeshError, match=r"^vLLM on a CPU needs libnuma\.so\.1; run: sudo apt-get install libnuma1$"):
        preflight.check(DEFAULT, default_model=model)


def test_a_gpu_needs_no_libnuma(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(preflight, "_can_load", lambda library: False)
    monkeypatch.setattr(preflight, "_is_cpu_build", lambda: False)
    preflight.check(DEFAULT, default_model=model)


def test_a_missing_vllm_says_make_setup(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MeshError, match=r"^vLLM is not installed here; run: make setup"):
        preflight.check(DEFAULT, default_model=model)


def with_engine(**engine: object) -> Settings:
    tree = yaml.safe_load(VALID)
    tree["models"][0]["engine"] = engine
    return read(yaml.safe_dump(tree), name="mesh.yaml", environment={})
