"""A folder for sockets: short, for a socket's path has 107 bytes at most, and gone when the mesh is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from services.mesh.errors import MeshError
from services.mesh.state_directory import StateDirectory

_PREFIX = "tokenway-"
# With 18 for the name that is made here and 37 for the longest of the sockets' own, vLLM's, that is 105.
_LONGEST_PARENT_BYTES = 50


@contextmanager
def runtime_directory(state: StateDirectory, environment: Mapping[str, str]) -> Iterator[Path]:
    """A new folder of mode 0700. What a mesh that was killed in the same state directory left is removed first."""
    _remove_linked(state.sockets)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_parent(environment)))
    state.sockets.symlink_to(folder)
    try:
        yield folder
    finally:
        _remove_linked(state.sockets)


def _parent(environment: Mapping[str, str]) -> Path:
    candidates = [environment.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"]  # noqa: S108 - mkdtemp makes a private folder in it
    for each in candidates:
        if Path(each).is_absolute() and len(each.encode()) <= _LONGEST_PARENT_BYTES and os.access(each, os.W_OK):
            return Path(each)
    raise MeshError(f"none of {candidates} is a folder that can be written; set XDG_RUNTIME_DIR to a short one")


def _remove_linked(link: Path) -> None:
    if not link.is_symlink():
        return
    # Whatever else somebody may have linked is not ours to remove.
    if (folder := link.readlink()).name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
    link.unlink()
