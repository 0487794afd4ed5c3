"""The encoder of the semantic cache: which files it is, for whoever makes, checks or loads them.

all-MiniLM-L6-v2 of sentence-transformers (Apache-2.0) as an ONNX graph with weights of 8 bits.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from libs.models_folder import models_folder

MODEL, TOKENIZER = "model.onnx", "tokenizer.json"
# What services/mesh/model/minilm_graph.py makes of the weights: the same bits on every machine.
SHA256 = {
    MODEL: "9905a362a2377ef6d61868772743d1d6bfb93f63a8046c5da84f6006487e4fac",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
DIMENSIONS = 384
MOST_TOKENS = 256
# An image has it elsewhere than a user's cache.
FOLDER_VARIABLE = "TOKENWAY_ENCODER"


def encoder_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where it is, or would be: in the folder that TOKENWAY_ENCODER names, else where `make model` puts it.

    That folder's name changes with the encoder's bits.
    """
    named = environment.get(FOLDER_VARIABLE)
    return Path(named) if named else models_folder(environment) / f"minilm-{SHA256[MODEL][:16]}"


def defects(folder: Path) -> Iterator[str]:
    """What is missing there or is another file; nothing where the encoder is whole."""
    for name, expected in SHA256.items():
        path = folder / name
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            yield f"{path} cannot be read: {error.strerror}"
        else:
            if found != expected:
                yield f"{path} has SHA-256 {found}; expected {expected}"
