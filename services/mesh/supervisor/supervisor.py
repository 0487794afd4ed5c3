"""Starts the mesh, watches it, and stops it in order."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from libs.keys import sha256_of
from libs.settings.schema import Settings
from services.mesh.errors import InterruptedMeshError, MeshError
from services.mesh.state_directory import RunningMesh, StateDirectory
from services.mesh.supervisor import health, valkey
from services.mesh.supervisor.children import Children
from services.mesh.supervisor.interruption import Interruption
from services.mesh.supervisor.plan import EMBEDDED, Plan, Sockets, as_yaml, plan
from services.mesh.supervisor.process import ChildProcess, Program
from services.mesh.supervisor.runtime_directory import runtime_directory
from services.mesh.trace.receiver import trace_receiver

Result = TypeVar("Result")
Body = Callable[[RunningMesh], Awaitable[Result]]
Planner = Callable[..., Plan]
_VALKEY_GRACE_SECONDS = 10.0
# A service bounds its drain itself; this is for closing everything afterwards.
_CLOSING_SECONDS = 5.0
_TOKEN_BYTES = 32
_BETWEEN_CANCELS_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """One mesh on this machine.

    It starts Valkey, unless there is a Redis; then budget, cache and the replicas together; then, when all of them
    serve, the router. It stops in the reverse order, so that whatever drains still has what it needs. A child that ends
    by itself ends the mesh: to start things again is the platform's business, which also knows when to give up.

    `report` is told the name of everything that serves. `planner` is a seam for tests.
    """

    settings: Settings
    state: StateDirectory
    default_model: Path
    interruption: Interruption
    environment: Mapping[str, str]
    report: Callable[[str], None] = lambda name: None
    # Weights of a large model take minutes to load.
    start_seconds: float = 900
    planner: Planner = plan

    async def run(self, body: Body[Result]) -> Result:
        """Runs the body while the mesh serves. Returns what it returns, once everything has stopped again.

        ServiceFailedError when a child ends by itself, InterruptedMeshError when a signal comes while the body runs.
        """
        with self.state.owned(), runtime_directory(self.state, self.environment) as folder:
            sockets = Sockets(folder)
            children = Children(environment=self._child_environment(sockets), logs=self.state.logs)
            self.interruption.on_second = children.kill
            living = asyncio.create_task(self._live(children, sockets, body))
            asked = asyncio.create_task(self.interruption.asked.wait())
            try:
                await asyncio.wait({living, asked, children.died}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                asked.cancel()
                await _ended(living, children)
            if children.died.done():
                raise children.died.result()
            if living.cancelled():
                raise InterruptedMeshError("stopped by a signal")
            return living.result()

    async def _live(self, children: Children, sockets: Sockets, body: Body[Result]) -> Result:
        async with trace_receiver(sockets.collector, path=self.state.traces), self._mesh(children, sockets) as mesh:
            return await body(mesh)

    @asynccontextmanager
    async def _mesh(self, children: Children, sockets: Sockets) -> AsyncIterator[RunningMesh]:
        the_plan = self._plan(sockets)
        tls = the_plan.settings.services.router.tls
        async with AsyncExitStack() as stack:
            await self._start_store(stack, children, sockets)
            await self._start(stack, children, the_plan, the_plan.backing, ask=the_plan.settings.mesh_tls is None)
            (router,) = await self._start(stack, children, the_plan, (the_plan.router,), ask=tls is None)
            mesh = RunningMesh(router=_dialable(router), tls=tls is not None)
            self.state.announce(mesh)
            stack.callback(self.state.withdraw)
            yield mesh

    def _plan(self, sockets: Sockets) -> Plan:
        made = self.planner(
            self.settings,
            sockets=sockets,
            configuration_file=self.state.configuration_file,
            owner_sha256=sha256_of(self.state.api_key()),
        )
        self.state.write_configuration(as_yaml(made.settings))
        return made

    async def _start_store(self, stack: AsyncExitStack, children: Children, sockets: Sockets) -> None:
        if self.settings.stores.redis_url != EMBEDDED:
            await valkey.check(self.settings.stores.redis_url)
            return
        program = valkey.program(socket=sockets.valkey, data=self.state.valkey)
        (child,) = await stack.enter_async_context(children.running((program,), grace_seconds=_VALKEY_GRACE_SECONDS))
        async with self._in_time(child):
            await valkey.until_it_answers(valkey.url(sockets.valkey))
        child.serves(valkey.url(sockets.valkey))
        self.report(program.name)

    async def _start(
        self, stack: AsyncExitStack, children: Children, the_plan: Plan, programs: tuple[Program, ...], *, ask: bool
    ) -> list[str]:
        grace = the_plan.drain_seconds + _CLOSING_SECONDS
        started = await stack.enter_async_context(children.running(programs, grace_seconds=grace))
        return [await self._serving(child, ask=ask) for child in started]

    async def _serving(self, child: ChildProcess, *, ask: bool) -> str:
        """Its address, once it serves. Behind certificates its own word has to do: they name no socket or loopback."""
        async with self._in_time(child):
            address = await child.address()
        if ask:
            await health.until_serving(child.name, address, service=child.rpc_service)
        self.report(child.name)
        return address

    @asynccontextmanager
    async def _in_time(self, child: ChildProcess) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.start_seconds):
                yield
        except TimeoutError:
            raise MeshError(
                f"{child.name} is not ready after {self.start_seconds:g} seconds; its log: {child.log_path}"
            ) from None

    def _child_environment(self, sockets: Sockets) -> dict[str, str]:
        redis_url = self.settings.stores.redis_url
        return {
            **self.environment,
            # One for each start: nothing that an earlier mesh knew opens this one.
            "TOKENWAY_MESH_TOKEN": self.environment.get("TOKENWAY_MESH_TOKEN") or secrets.token_urlsafe(_TOKEN_BYTES),
            "REDIS_URL": valkey.url(sockets.valkey) if redis_url == EMBEDDED else redis_url,
            "TOKENWAY_DEFAULT_MODEL": str(self.default_model),
            "TOKENWAY_OTLP": sockets.collector,
            # onnxruntime reports to its maker otherwise, from when it is imported, and leaves a file behind.
            "ORT_DISABLE_TELEMETRY": "1",
            # vLLM's own sockets: it leaves them behind, in the temporary folder of the machine.
            "VLLM_RPC_BASE_PATH": str(sockets.folder),
        }


async def _ended(living: asyncio.Task[Any], children: Children) -> None:
    """Cancels until it is done, or is stopping its children: a cancel would then leave some of them behind.

    One cancel is not enough. Until Python 3.12 asyncio.wait_for, which redis-py uses, loses one that comes at the
    moment at which what it waits for is done: github.com/python/cpython/issues/86296.
    """
    while not living.done():
        if not children.is_stopping:
            living.cancel()
        await asyncio.wait({living}, timeout=_BETWEEN_CANCELS_SECONDS)


def _dialable(address: str) -> str:
    """Every address of this machine is no address to dial; loopback is one of them."""
    host, _, port = address.rpartition(":")
    return {"0.0.0.0": f"127.0.0.1:{port}", "[::]": f"[::1]:{port}"}.get(host, address)  # noqa: S104 - compared, not bound
