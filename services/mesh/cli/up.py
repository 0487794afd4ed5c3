"""`tokenway up`: the mesh on this machine, until a signal."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click
from rich.console import Console

from libs.minilm import encoder_folder
from libs.settings.document import load
from libs.settings.schema import Settings
from services.mesh.cli.ending import DONE
from services.mesh.cli.local_mesh import DEFAULT_CONFIGURATION, state_dir_option
from services.mesh.cli.number import MOST_SECONDS, Number
from services.mesh.cli.page import Page
from services.mesh.doctor.ports import Ports, listening
from services.mesh.errors import InterruptedMeshError, MeshError
from services.mesh.model.smollm2 import default_model_path
from services.mesh.state_directory import RunningMesh, StateDirectory
from services.mesh.supervisor import preflight
from services.mesh.supervisor.interruption import Interruption
from services.mesh.supervisor.supervisor import Supervisor


@click.command(
    cls=Page,
    examples=(
        ("tokenway up", "a small model, on the CPU"),
        ("tokenway up --config mesh.yaml", "your own; deploy/tokenway.example.yaml explains every field"),
        ("REDIS_URL=redis://127.0.0.1:6379/0 tokenway up", "with a Redis of your own instead of the embedded Valkey"),
    ),
    exit_codes={DONE: "stopped by a signal, in order"},
    environment=("REDIS_URL", "TOKENWAY_MESH_TOKEN", "XDG_CACHE_HOME"),
    runs_the_mesh=True,
)
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration [a small model, on the CPU].",
)
@click.option(
    "--start-timeout",
    type=Number(float, least=1, most=MOST_SECONDS),
    metavar="SECONDS",
    default=900,
    show_default=True,
    help="How long each service may take to start.",
)
@state_dir_option
def up(*, file: Path | None, start_timeout: float, state: StateDirectory) -> None:
    """Start the mesh and keep it running.

    Prints one line, `ready router=HOST:PORT`, once every service serves. SIGTERM and Ctrl-C drain; a second one kills.
    A service that cannot start, or ends by itself, ends the mesh.
    """
    settings = load(file or DEFAULT_CONFIGURATION)
    preflight.check(settings, default_model=default_model_path(), encoder=encoder_folder())
    # Before models load, which takes a minute and more.
    for taken in Ports(addresses=dict(listening(settings)), state=state).held():
        raise MeshError(f"{taken.subject}: {taken.says}; {taken.cure}")
    asyncio.run(_up(settings, state, start_seconds=start_timeout))


async def _up(settings: Settings, state: StateDirectory, *, start_seconds: float) -> None:
    console = Console(stderr=True)
    is_ready = False

    async def stay(mesh: RunningMesh) -> None:
        nonlocal is_ready
        is_ready = True
        sys.stdout.write(f"ready router={mesh.router}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()  # until a signal cancels it

    interruption = Interruption()
    supervisor = Supervisor(
        settings=settings,
        state=state,
        default_model=default_model_path(),
        interruption=interruption,
        environment=os.environ,
        report=lambda name: console.print(f"{name} serves", style="dim") if console.is_terminal else None,
        start_seconds=start_seconds,
    )
    with interruption.listening():
        try:
            await supervisor.run(stay)
        except InterruptedMeshError:
            if not is_ready:
                raise
