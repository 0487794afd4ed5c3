"""What only its owner should read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.mesh.doctor.files import Files, check
from services.mesh.doctor.finding import Finding, Verdict
from services.mesh.doctor.patient import Patient
from services.mesh.state_directory import StateDirectory
from tests.unit.mesh.doctor.found import about, all_of
from tests.unit.settings.documents import written

TLS = "services: {router: {tls: {certificate_file: /t/c.pem, key_file: /t/k.pem}}}\n"


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    state = StateDirectory(tmp_path / "state")
    state.root.mkdir(mode=0o700)
    state.api_key()
    return state


def found(state: StateDirectory, *secrets: Path) -> list[Finding]:
    return list(Files(state=state, secrets=secrets).findings())


def test_as_the_mesh_makes_it_it_is_well(state: StateDirectory) -> None:
    assert {each.verdict for each in found(state)} == {Verdict.OK}
    assert state.api_key() not in str(found(state))


def test_a_mesh_that_never_ran_has_none(tmp_path: Path) -> None:
    assert about(found(StateDirectory(tmp_path / "none")), "state directory").verdict is Verdict.SKIPPED


def test_a_folder_that_others_may_look_into_is_wrong(state: StateDirectory) -> None:
    state.root.chmod(0o755)
    folder = about(found(state), "state directory")
    assert (folder.verdict, folder.cure) == (Verdict.WRONG, f"chmod 700 {state.root}")


def test_a_file_in_its_place_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert "is no folder" in about(found(StateDirectory(tmp_path / "state")), "state directory").says


def test_a_folder_of_another_user_is_wrong(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "belongs to the user" in about(found(state), "state directory").says


@pytest.mark.parametrize(
    ("mode", "verdict"), [(0o600, Verdict.OK), (0o400, Verdict.OK), (0o440, Verdict.WARNING), (0o644, Verdict.WARNING)]
)
def test_who_may_read_a_key(state: StateDirectory, tmp_path: Path, mode: int, verdict: Verdict) -> None:
    key = tmp_path / "k.pem"
    key.write_text("")
    key.chmod(mode)
    assert about(found(state, key), "k.pem").verdict is verdict


def test_a_key_that_is_not_there_is_wrong(state: StateDirectory, tmp_path: Path) -> None:
    assert "No such file" in about(found(state, tmp_path / "k.pem"), "k.pem").says


async def test_the_keys_that_the_configuration_names_are_examined(state: StateDirectory) -> None:
    patient = Patient(file=Path("f"), state=state, environment={}, default_model=Path("m"), settings=written(TLS))
    assert "/t/k.pem" in about(await all_of(check(patient)), "k.pem").says
