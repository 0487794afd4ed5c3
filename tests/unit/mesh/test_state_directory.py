"""What a mesh keeps on one machine, and for whom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.mesh.errors import MeshError
from services.mesh.state_directory import RunningMesh, StateDirectory

MESH = RunningMesh(router="127.0.0.1:50051")


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


def test_a_chosen_folder_wins_over_the_environment() -> None:
    environment = {"TOKENWAY_STATE_DIR": "/b", "XDG_STATE_HOME": "/c"}
    assert StateDirectory.of(Path("/a"), environment).root == Path("/a")
    assert StateDirectory.of(None, environment).root == Path("/b")
    assert StateDirectory.of(None, {"XDG_STATE_HOME": "/c"}).root == Path("/c/tokenway")


@pytest.mark.parametrize("environment", [{}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}])
def test_without_a_choice_it_is_in_the_home_folder(environment: dict[str, str]) -> None:
    assert StateDirectory.of(None, environment).root == Path.home() / ".local/state/tokenway"


def test_a_mesh_is_found_while_its_folder_is_held(state: StateDirectory) -> None:
    assert state.running() is None
    with state.owned():
        assert state.running() is None
        state.announce(MESH)
        assert state.running() == MESH
        state.withdraw()
        assert state.running() is None


def test_a_killed_mesh_is_not_taken_for_a_running_one(state: StateDirectory) -> None:
    with state.owned():
        state.announce(MESH)
    assert state.running() is None
    with state.owned():
        assert state.running() is None, "the next one has not started yet"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "x"}'])
def test_an_announcement_that_is_not_ours_is_none(state: StateDirectory, text: str) -> None:
    with state.owned():
        (state.root / "mesh.json").write_text(text)
        assert state.running() is None


def test_a_folder_is_held_once(state: StateDirectory) -> None:
    with state.owned(), pytest.raises(MeshError, match="already"), StateDirectory(state.root).owned():
        pass
    with state.owned():
        pass


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = StateDirectory(tmp_path / "file" / "state")
    with pytest.raises(MeshError, match=r"^cannot use the state directory \S+: Not a directory$"), state.owned():
        pass


def test_the_key_is_made_once_and_is_for_the_owner_alone(state: StateDirectory) -> None:
    with state.owned():
        key = state.api_key()
        assert re.fullmatch(r"tw_[A-Za-z0-9_-]{43}", key)
        assert state.api_key() == key
        assert state.api_key_file.stat().st_mode & 0o777 == 0o600


def test_a_key_that_the_owner_brought_is_kept(state: StateDirectory) -> None:
    with state.owned():
        state.api_key_file.write_text("my-own\n")
        assert state.api_key() == "my-own"


def test_a_key_file_that_is_empty_is_no_key(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    state.api_key_file.write_text("\n")
    with pytest.raises(MeshError, match=f"{state.api_key_file} is empty: remove it and start the mesh again"):
        state.api_key()


def test_the_last_request_is_remembered(state: StateDirectory) -> None:
    state.remember_request("a")
    assert state.last_request() is None, "nothing is written where no mesh ever ran"
    with state.owned():
        state.remember_request("b")
    assert state.last_request() == "b"
