"""Options that say which mesh of this machine is meant: its state directory, its configuration."""

from __future__ import annotations

import os
from pathlib import Path

import click

from services.mesh.state_directory import StateDirectory

DEFAULT_CONFIGURATION = Path(__file__).parents[1] / "default.yaml"

state_dir_option = click.option(
    "--state-dir",
    "state",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    callback=lambda context, parameter, chosen: StateDirectory.of(chosen, os.environ),
    help="Key, data and logs of the mesh [TOKENWAY_STATE_DIR, else ~/.local/state/tokenway].",
)
