"""The command line as users have it: real processes, with the scripted engine so that a mesh is up in two seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh_cli.command import Tokenway, scripted


@pytest.fixture
def tokenway(tmp_path: Path) -> Iterator[Tokenway]:
    """A user with a state directory of their own. What they leave running is killed, and is a failure."""
    with Tokenway(state=tmp_path / "state") as user:
        yield user


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tokenway]:
    """A user whose mesh is running, for the tests of a module together."""
    folder = tmp_path_factory.mktemp("mesh")
    with Tokenway(state=folder / "state") as user:
        up = user.up(scripted(folder))
        yield user
        assert up.end() == 0
