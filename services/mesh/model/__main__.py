"""``python -m services.mesh.model [UNPACKED_WHEEL]``: the default model's folder, made if need be."""

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from services.mesh.model.smollm2 import NAME, default_model_path, prepare


def prepare_with_progress(unpacked_wheel: Path, console: Console) -> Path:
    """``prepare``, with a bar on a terminal and two plain lines elsewhere."""
    if not console.is_terminal:
        console.print(f"preparing {NAME} ...", highlight=False)
        folder = prepare(unpacked_wheel)
        console.print(f"prepared {NAME}", highlight=False)
        return folder
    name = TextColumn("preparing {task.description}")
    with Progress(name, BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(NAME, total=None)
        return prepare(unpacked_wheel, lambda done, total: bar.update(task, completed=done, total=total))


def main(arguments: list[str]) -> int:
    """Print the folder and return 0, or 1 if there is none and nothing to make it from."""
    folder = default_model_path()
    if not folder.is_dir() and not arguments:
        print(f"error: {NAME} is not prepared: make model", file=sys.stderr)
        return 1
    if not folder.is_dir():
        prepare_with_progress(Path(arguments[0]), Console(stderr=True))
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
