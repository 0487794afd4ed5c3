"""The mesh that runs in the state directory: every service's health, every model; else what would start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import ClassVar

from libs.errors import Reason, TokenwayError
from libs.rpc.channel import dial
from libs.rpc.probe import health
from libs.rpc.tls import Tls
from libs.settings.addresses import takes_a_free_port
from libs.settings.document import load
from libs.settings.mistakes import SettingsError
from libs.settings.schema import Settings
from services.mesh.client.router import RouterAddress, connected
from services.mesh.doctor.finding import Finding, ok, skipped, warning, wrong
from services.mesh.doctor.patient import Patient
from services.mesh.errors import MeshError
from services.mesh.state_directory import RunningMesh, StateDirectory
from services.mesh.supervisor.plan import EMBEDDED, Plan, Sockets, plan

_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Served:
    """A server of the mesh: where it is, and as what it says that it is healthy."""

    name: str
    address: str
    rpc_service: str


def check(patient: Patient) -> Mesh:
    return Mesh(state=patient.state, running=patient.running, settings=patient.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """`settings` are those with which one would start."""

    name: ClassVar[str] = "mesh"
    limit_seconds: ClassVar[float] = 15
    state: StateDirectory
    running: RunningMesh | None
    settings: Settings | None

    async def findings(self) -> AsyncIterator[Finding]:
        if self.running is None:
            yield self._would_start()
            return
        try:
            # What the services read, whatever the file says that they were started with by now.
            settings = load(self.state.configuration_file, environment={})
        except SettingsError as error:
            yield wrong("services", f"the mesh runs, and {error}", cure="stop it, and start it again: tokenway up")
            return
        for finding in await asyncio.gather(*(_healthy(each, settings) for each in _servers(settings, self.running))):
            yield finding
        async for finding in self._models(self.running):
            yield finding

    def _would_start(self) -> Finding:
        none = f"no mesh runs in {self.state.root}"
        if self.settings is None:
            return skipped("services", f"{none}, and the configuration is refused")
        try:
            made = plan(
                self.settings,
                sockets=Sockets(self.state.sockets),
                configuration_file=self.state.configuration_file,
                owner_sha256="0" * 64,
            )
        except MeshError as error:
            return skipped("services", f"{none}, and `tokenway up` would not start one: {error}")
        names = ", ".join(_programs(made, self.settings))
        return skipped("services", f"{none}; `tokenway up` would start {names}")

    async def _models(self, running: RunningMesh) -> AsyncIterator[Finding]:
        try:
            router = RouterAddress(running.router, self.state.api_key(), tls=running.tls)
            async with connected(router) as client:
                models = (await client.list_models(timeout_seconds=_ANSWER_SECONDS)).models
        except MeshError as error:
            yield wrong("models", str(error), cure=f"rm {self.state.api_key_file}")
            return
        except TokenwayError as error:
            if error.reason is Reason.KEY_REVOKED:
                cure = f"stop the mesh, rm {self.state.api_key_file}, and start it again: `tokenway up` makes a new one"
                yield wrong("models", "the mesh's own key was revoked, so nobody can ask with it", cure=cure)
            elif running.tls:  # by an authority and for names that are not ours to know
                yield skipped("router", f"its certificate is none that this command trusts, for {running.router}")
            else:
                yield wrong("models", f"the router does not list them: {error}", cure=_logs(self.state, "router"))
            return
        for each in models:
            if each.available:
                yield ok(f"model {each.name}", "ready")
            else:
                yield wrong(f"model {each.name}", "has no replica that answers", cure=_logs(self.state, "inference-*"))


def _servers(settings: Settings, running: RunningMesh) -> Iterator[Served]:
    if not running.tls:
        yield Served("router", running.router, "tokenway.router.v1.RouterService")
    for name, service in (("budget", settings.services.budget), ("cache", settings.services.cache)):
        yield Served(name, service.reached_at, f"tokenway.{name}.v1.{name.title()}Service")
    for model in settings.models:
        for index, endpoint in enumerate(model.endpoints):
            yield Served(f"{model.name}-{index}", endpoint, "tokenway.inference.v1.InferenceService")


async def _healthy(served: Served, settings: Settings) -> Finding:
    if takes_a_free_port(served.address):
        return skipped(served.name, "listens on a port that only it knows")
    tls = settings.mesh_tls if served.name != "router" else None
    try:
        pair = Tls(tls.certificate_file, tls.key_file, tls.ca_file) if tls else None
        async with dial(served.address, tls=pair) as channel:
            status = await health(channel, served.rpc_service, timeout_seconds=_ANSWER_SECONDS)
    except OSError as error:
        return skipped(served.name, f"cannot be asked without our certificate: {error}")
    if status == "SERVING":
        return ok(served.name, f"{served.address} serves")
    if status == "NOT_SERVING":
        return warning(served.name, f"{served.address} is not ready, or drains", cure="wait; its log says for what")
    return wrong(served.name, f"{served.address}: {status}", cure="stop the mesh and start it again: tokenway up")


def _programs(made: Plan, settings: Settings) -> Iterator[str]:
    if settings.stores.redis_url == EMBEDDED:
        yield "valkey"
    yield from (each.name for each in (*made.backing, made.router))


def _logs(state: StateDirectory, name: str) -> str:
    return f"tail {state.logs / name}.log"
