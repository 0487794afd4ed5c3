"""`tokenway demo`: the whole mesh in a minute, from nothing to nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from libs.keys import new_api_key, sha256_of
from libs.minilm import encoder_folder
from libs.settings.document import load
from libs.settings.schema import Key, Limit, Settings
from services.mesh.cli.local_mesh import DEFAULT_CONFIGURATION
from services.mesh.cli.page import Page
from services.mesh.cli.stage import Stage
from services.mesh.cli.tour import LIMIT_USD, Tour
from services.mesh.errors import InterruptedMeshError
from services.mesh.model.smollm2 import NAME, default_model_path
from services.mesh.state_directory import RunningMesh, StateDirectory
from services.mesh.supervisor import preflight
from services.mesh.supervisor.interruption import Interruption
from services.mesh.supervisor.supervisor import Supervisor

_KEY_ID = "demo"
_CACHE_SECONDS = 2.0


@click.command(
    cls=Page,
    examples=(("tokenway demo", "half a minute on two cores"),),
    environment=("XDG_CACHE_HOME",),
    runs_the_mesh=True,
)
def demo() -> None:
    """Start the mesh, ask it three questions, and stop it again.

    Receipts and a trace are shown. A real model answers, by vLLM on this machine's CPU. Ports and data are the demo's
    own and gone afterwards. It exits with 0 only if everything behaved: the answer, the cache, the budget, the trace
    down into the engine.
    """
    key = new_api_key()
    settings = _with_demo_key(load(DEFAULT_CONFIGURATION, environment={}), key)
    preflight.check(settings, default_model=default_model_path(), encoder=encoder_folder())
    with _scratch() as folder:
        asyncio.run(_demo(settings, key, StateDirectory(folder)))


async def _demo(settings: Settings, key: str, state: StateDirectory) -> None:
    stage = Stage()
    interruption = Interruption()
    supervisor = Supervisor(
        settings=settings,
        state=state,
        default_model=default_model_path(),
        interruption=interruption,
        environment=_environment(),
        report=stage.serves,
    )

    async def tour(mesh: RunningMesh) -> None:
        stage.has_started(mesh)
        await Tour(stage=stage, mesh=mesh, key=key, traces=state.traces).run()
        stage.stops()

    stage.starts(f"{NAME} on vLLM, on the CPU of this machine")
    with interruption.listening(), stage:
        await supervisor.run(tour)
    stage.has_stopped()


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that is gone afterwards; but after a failure it stays, for the logs are in it."""
    folder = Path(tempfile.mkdtemp(prefix="tokenway-demo-"))
    try:
        yield folder
    except InterruptedMeshError:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _with_demo_key(settings: Settings, key: str) -> Settings:
    """The default mesh at a free port, and a key that may spend very little a day."""
    (organisation,) = settings.organisations
    limit = Limit(scope="key", subject=_KEY_ID, window="day", limit_usd=LIMIT_USD)
    owner = organisation.model_copy(update={"keys": (Key(id=_KEY_ID, sha256=sha256_of(key)),), "budgets": (limit,)})
    # The usual 20 ms for the cache would make a busy machine's demo tell a lie.
    patient = {"listen": "127.0.0.1:0", "cache_lookup_seconds": _CACHE_SECONDS}
    router = settings.services.router.model_copy(update=patient)
    services = settings.services.model_copy(update={"router": router})
    return settings.model_copy(update={"organisations": (owner,), "services": services})


def _environment() -> dict[str, str]:
    """What steers a mesh of the user's own must not steer the demo."""
    return {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "TOKENWAY_MESH_TOKEN"}}
