"""A model's folder that is whole, and each way in which it is not; and the keys of providers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libs import minilm
from services.mesh.doctor.finding import Finding, Verdict
from services.mesh.doctor.models import Models, Weights, check
from services.mesh.doctor.patient import Patient
from services.mesh.doctor.weights import defects, size_bytes
from services.mesh.state_directory import StateDirectory
from tests.unit.mesh.doctor.found import all_of, verdicts
from tests.unit.settings.documents import written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "tokenizer.json").write_text("{}")
    shard(tmp_path / "model.safetensors", 64)
    return tmp_path


def shard(path: Path, tensor_bytes: int) -> None:
    header = json.dumps({"__metadata__": {}, "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, tensor_bytes]}})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(tensor_bytes))


def judged(folder: Path, *, is_default: bool = False, is_dummy: bool = False) -> Finding:
    weights = {"small": Weights(folder, is_default, is_dummy)}
    (found,) = Models(weights=weights, key_variables={}, environment={}).findings()
    return found


def test_a_whole_folder_is_well(folder: Path) -> None:
    assert judged(folder).verdict is Verdict.OK
    assert size_bytes(folder) == (folder / "model.safetensors").stat().st_size


def test_every_shard_that_the_index_names_must_be_there(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert judged(folder).says == f"{folder}/other.safetensors cannot be read: No such file or directory"
    shard(folder / "other.safetensors", 8)
    assert judged(folder).verdict is Verdict.OK


@pytest.mark.parametrize("cut", [0, 4, 20, -1])
def test_a_download_that_broke_off_is_seen_wherever_it_did(folder: Path, cut: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    assert judged(folder).verdict is Verdict.WRONG
    assert str(path) in judged(folder).says


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"\xff" * 64, (2).to_bytes(8, "little") + b"[]"])
def test_what_is_no_safetensors_file_is_seen(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    assert "is no safetensors file" in judged(folder).says


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("config.json", "config.json cannot be read: No such file or directory"),
        ("tokenizer.json", "has no tokenizer.json"),
        ("model.safetensors", "has no *.safetensors"),
    ],
)
def test_each_file_that_is_missing_is_named(folder: Path, missing: str, says: str) -> None:
    (folder / missing).unlink()
    (defect,) = defects(folder)
    assert defect.endswith(says)


def test_random_weights_need_none(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert judged(folder, is_dummy=True).verdict is Verdict.OK


def test_the_cure_is_the_command_that_makes_it(folder: Path, tmp_path: Path) -> None:
    assert judged(tmp_path / "none", is_default=True).cure == "make model"
    (folder / "config.json").unlink()
    assert judged(folder, is_default=True).cure == f"rm -rf {folder} && make model"
    assert judged(folder).cure == f"fetch the model again, whole, into {folder}"


def test_a_providers_key_is_there_or_its_variable_is_named() -> None:
    both = Models(weights={}, key_variables={"a": "A_KEY", "b": "B_KEY"}, environment={"A_KEY": "sk-secret"})
    found = list(both.findings())
    assert verdicts(found) == {"a": Verdict.OK, "b": Verdict.WARNING}
    assert "secret" not in str(found)


async def test_a_scripted_engine_needs_nothing(tmp_path: Path) -> None:
    patient = Patient(
        file=tmp_path, state=StateDirectory(tmp_path), environment={}, default_model=tmp_path, settings=written()
    )
    assert set(verdicts(await all_of(check(patient))).values()) == {Verdict.SKIPPED}


def test_an_encoder_that_is_missing_or_another_is_wrong_and_named(tmp_path: Path) -> None:
    def judged(folder: Path) -> Finding:
        (found,) = Models(weights={}, key_variables={}, environment={}, encoder=folder).findings()
        return found

    assert judged(minilm.encoder_folder()).verdict is Verdict.OK
    assert judged(tmp_path / "none").cure == "make model"
    for name in minilm.SHA256:
        (tmp_path / name).write_text("another")
    assert judged(tmp_path).cure == f"rm -rf {tmp_path} && make model"
    assert "model.onnx has SHA-256" in str(judged(tmp_path))
