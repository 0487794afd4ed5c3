"""What is missing on a machine is named with its cure."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from libs.settings.document import load, read
from libs.settings.schema import CachePolicy, Settings
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


def check(settings: Settings, *, default_model: Path, encoder: Path | None = None) -> None:
    """On a machine that has an encoder, unless the test says where there is none."""
    preflight.check(settings, default_model=default_model, encoder=encoder or default_model.parent)


def with_tier(settings: Settings, tier: str) -> Settings:
    cache = CachePolicy.model_validate({"tier": tier})
    changed = tuple(each.model_copy(update={"cache": cache}) for each in settings.organisations)
    return settings.model_copy(update={"organisations": changed})


def test_a_missing_encoder_says_make_model_where_an_organisation_needs_it(model: Path) -> None:
    with pytest.raises(MeshError, match=r"^the semantic cache's encoder is not in \S+/none; run: make model$"):
        check(with_tier(DEFAULT, "strict"), default_model=model, encoder=model / "none")
    check(with_tier(DEFAULT, "exact"), default_model=model, encoder=model / "none")


def test_a_whole_machine_passes(model: Path) -> None:
    check(DEFAULT, default_model=model)


def test_a_mesh_without_vllm_needs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check(written(), default_model=tmp_path / "none")


def test_a_missing_model_says_make_model(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"^there is no model in \S+/none; run: make model$"):
        check(DEFAULT, default_model=tmp_path / "none")


def test_a_missing_model_of_ones_own_is_not_made(tmp_path: Path, model: Path) -> None:
    with pytest.raises(MeshError, match=r"^there is no model in \S+/none; a Hugging Face folder has a config\.json$"):
        check(with_engine(kind="vllm", model_path=str(tmp_path / "none")), default_model=model)


def test_a_missing_library_says_the_line_for_apt(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(preflight, "_can_load", lambda library: library != "libnuma.so.1")
    with pytest.raises(MeshError, match=r"^vLLM on a CPU needs libnuma\.so\.1; run: sudo apt-get install libnuma1$"):
        check(DEFAULT, default_model=model)


def test_a_gpu_needs_no_libnuma(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(preflight, "_can_load", lambda library: False)
    monkeypatch.setattr(preflight, "_is_cpu_build", lambda: False)
    check(DEFAULT, default_model=model)


def test_a_missing_vllm_says_make_setup(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MeshError, match=r"^vLLM is not installed here; run: make setup"):
        check(DEFAULT, default_model=model)


def with_engine(**engine: object) -> Settings:
    tree = yaml.safe_load(VALID)
    tree["models"][0]["engine"] = engine
    return read(yaml.safe_dump(tree), name="mesh.yaml", environment={})
