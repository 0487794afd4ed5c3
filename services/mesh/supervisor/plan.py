"""What runs where on one machine. Pure: settings and paths in, settings and commands out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from libs.address import is_local
from libs.settings.addresses import takes_a_free_port
from libs.settings.schema import Key, Model, Organisation, Services, Settings
from services.mesh.errors import MeshError
from services.mesh.supervisor.process import Program

OWNER_KEY_ID = "local"
EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Sockets:
    """The sockets that the supervisor itself is concerned with, in a folder of their own."""

    folder: Path

    @property
    def valkey(self) -> Path:
        return self.folder / "valkey.sock"

    @property
    def collector(self) -> str:
        """Where the embedded trace store receives spans."""
        return f"unix:{self.folder}/otlp.sock"


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings that the services will read, and what to start: the backing services, then the router."""

    settings: Settings
    backing: tuple[Program, ...]
    router: Program

    @property
    def drain_seconds(self) -> float:
        """The longest that a service may take to drain."""
        services = self.settings.services
        return max(each.drain_seconds for each in (services.router, services.cache, services.budget))


def plan(settings: Settings, *, sockets: Sockets, configuration_file: Path, owner_sha256: str) -> Plan:
    """The plan for this machine.

    A service whose address the file leaves open, and a replica at port 0, get a unix socket: no port to collide with,
    nothing to resolve. What the file says stays, so that a mesh of several machines can still be tried on one.
    """
    here = _with_sockets(_with_owner(settings, owner_sha256), sockets.folder)
    # The services get the address of Redis from the environment, since it may hold a password.
    here = here.model_copy(update={"stores": here.stores.model_copy(update={"redis_url": EMBEDDED})})
    return Plan(
        settings=here,
        backing=(
            _service("budget", configuration_file),
            _service("cache", configuration_file),
            *(program for model in here.models for program in _replicas(model, configuration_file)),
        ),
        router=_service("router", configuration_file),
    )


def as_yaml(settings: Settings) -> str:
    """The text that reads back as the same settings. What nobody said stays unsaid: a default is no choice."""
    return yaml.safe_dump(settings.model_dump(mode="json", exclude_unset=True), sort_keys=False, allow_unicode=True)


def _service(name: str, configuration_file: Path, *options: str, replica: str = "") -> Program:
    # -P: a folder `services` where the command happens to be run must not be taken for ours.
    command = (sys.executable, "-P", "-m", f"services.{name}", "--config", str(configuration_file), *options)
    rpc_service = f"tokenway.{name}.v1.{name.title()}Service"
    return Program(name=f"{name}-{replica}" if replica else name, command=command, rpc_service=rpc_service)


def _replicas(model: Model, configuration_file: Path) -> Iterator[Program]:
    if model.engine is None:
        return
    for index, endpoint in enumerate(model.endpoints):
        if not is_local(endpoint):
            raise MeshError(
                f"models.{model.name}: the replica at {endpoint} is not on this machine, so `tokenway up` cannot start "
                "it; give it a local address, or leave out `engine` when somebody else runs it"
            )
        options = ("--model", model.name, "--replica", str(index))
        yield _service("inference", configuration_file, *options, replica=f"{model.name}-{index}")


def _with_owner(settings: Settings, sha256: str) -> Settings:
    """Adds the key of whoever runs the mesh to the first organisation, unless the file has it."""
    if any(key.sha256 == sha256 for organisation in settings.organisations for key in organisation.keys):
        return settings
    first, *others = settings.organisations
    taken = {key.id for key in first.keys}
    names = (OWNER_KEY_ID, *(f"{OWNER_KEY_ID}-{number}" for number in range(2, len(taken) + 3)))
    owner = Key(id=next(name for name in names if name not in taken), sha256=sha256, role="admin")
    return settings.model_copy(update={"organisations": (_with_key(first, owner), *others)})


def _with_key(organisation: Organisation, key: Key) -> Organisation:
    return organisation.model_copy(update={"keys": (*organisation.keys, key)})


def _with_sockets(settings: Settings, directory: Path) -> Settings:
    """Certificates name hosts, which sockets are not: with mesh_tls everything stays where the file puts it."""
    if settings.mesh_tls is not None:
        return settings
    models = tuple(_model_with_sockets(index, model, directory) for index, model in enumerate(settings.models))
    services = _services_with_sockets(settings.services, directory)
    return settings.model_copy(update={"models": models, "services": services})


def _services_with_sockets(services: Services, directory: Path) -> Services:
    moved = {}
    for name in ("cache", "budget"):
        service = getattr(services, name)
        if "listen" not in service.model_fields_set:
            moved[name] = service.model_copy(update={"listen": f"unix:{directory / name}.sock"})
    return services.model_copy(update=moved)


def _model_with_sockets(index: int, model: Model, directory: Path) -> Model:
    # By number, for a model's name may be as long as the whole path of a socket may be.
    endpoints = tuple(
        f"unix:{directory}/model-{index}-{replica}.sock" if takes_a_free_port(endpoint) else endpoint
        for replica, endpoint in enumerate(model.endpoints)
    )
    return model.model_copy(update={"endpoints": endpoints})
