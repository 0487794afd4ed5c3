"""Which router is meant, and which key it gets."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from libs.errors import Reason, TokenwayError
from services.mesh.cli.place import router_address
from services.mesh.client.router import RouterAddress
from services.mesh.errors import MeshError
from services.mesh.state_directory import RunningMesh, StateDirectory


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDirectory:
    monkeypatch.delenv("TOKENWAY_API_KEY", raising=False)
    return StateDirectory(tmp_path / "state")


def meant(state: StateDirectory, *, router: str | None = None, key_file: Path | None = None) -> RouterAddress:
    return router_address(state, router=router, ca_file=None, key_file=key_file)


def test_the_mesh_of_this_machine_gets_the_owners_key(state: StateDirectory) -> None:
    with state.owned():
        state.announce(RunningMesh(router="127.0.0.1:7"))
        assert meant(state) == RouterAddress("127.0.0.1:7", state.api_key())


def test_a_key_of_ones_own_wins(state: StateDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with state.owned():
        state.announce(RunningMesh(router="127.0.0.1:7", tls=True))
        monkeypatch.setenv("TOKENWAY_API_KEY", "from-environment")
        assert meant(state) == RouterAddress("127.0.0.1:7", "from-environment", tls=True)
        (tmp_path / "key").write_text("from-file\n")
        assert meant(state, key_file=tmp_path / "key").key == "from-file"


def test_the_owners_key_is_sent_to_no_other_router(state: StateDirectory) -> None:
    with state.owned():
        state.announce(RunningMesh(router="127.0.0.1:7"))
        state.api_key()
        with pytest.raises(TokenwayError) as refused:
            meant(state, router="router.example:443")
    assert refused.value.reason is Reason.KEY_MISSING


def test_a_key_never_leaves_the_machine_in_plaintext(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENWAY_API_KEY", "secret")
    assert meant(state, router="router.example:443").tls
    assert not meant(state, router="127.0.0.1:50051").tls


def test_a_key_is_not_shown_with_its_address() -> None:
    assert "secret" not in repr(RouterAddress("127.0.0.1:7", "secret"))


def test_without_a_mesh_the_cure_is_named(state: StateDirectory) -> None:
    with pytest.raises(MeshError, match=r"start one with `tokenway up`, or name one with --router$"):
        meant(state)


@pytest.mark.parametrize("router", [None, "127.0.0.1:7"])
@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_key_is_a_mistake_and_no_wish_for_the_owners(
    state: StateDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, router: str | None, text: str
) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    with state.owned():
        state.announce(RunningMesh(router="127.0.0.1:7"))
        with pytest.raises(TokenwayError, match=f"the key file {file} is empty: put a key there, or leave it out"):
            meant(state, router=router, key_file=file)
        monkeypatch.setenv("TOKENWAY_API_KEY", text)
        with pytest.raises(TokenwayError, match="TOKENWAY_API_KEY is empty") as refused:
            meant(state, router=router)
    assert refused.value.reason is Reason.KEY_MISSING


def test_a_key_file_that_is_no_text_is_refused(state: StateDirectory, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(TokenwayError, match=f"the key file {tmp_path}/key cannot be read as text"):
        meant(state, key_file=tmp_path / "key")


def test_an_empty_router_is_not_the_one_of_this_machine(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENWAY_API_KEY", "any")
    with state.owned():
        state.announce(RunningMesh(router="127.0.0.1:7"))
        with pytest.raises(click.UsageError, match="--router is empty"):
            meant(state, router="")


def test_tls_that_is_asked_for_is_never_left_out_in_silence(state: StateDirectory, tmp_path: Path) -> None:
    with state.owned():
        state.announce(RunningMesh(router="127.0.0.1:7"))
        with pytest.raises(click.UsageError, match="--ca-file asks for TLS"):
            router_address(state, router=None, ca_file=tmp_path / "ca.pem", key_file=None)
