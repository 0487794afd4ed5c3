"""A folder that is made once, and never by halves."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder; where there is none, ``make`` fills an empty one that then gets its name.

    Two at once: the second waits, then finds it. A folder that has its final name is whole, whoever was killed
    meanwhile.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent / ".lock"):
        if not folder.is_dir():
            with _scratch_beside(folder) as scratch:
                make(scratch)
                scratch.rename(folder)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel lets go of it when the process ends, however it ends
        yield


@contextmanager
def _scratch_beside(folder: Path) -> Iterator[Path]:
    """A new folder on the same file system, so that a rename is atomic; gone afterwards if not renamed."""
    for left_by_a_kill in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left_by_a_kill)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    scratch.chmod(0o755)  # mkdtemp's 0700 would shut out a service that runs as another user
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
