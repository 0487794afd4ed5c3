"""A listening port: our handlers, health and reflection, and an orderly end. Beneath it is grpc.aio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from libs.address import unix_socket_in_use, with_port
from libs.errors import Reason, TokenwayError
from libs.rpc.call import Middleware
from libs.rpc.channel import refuse_plaintext, server_options
from libs.rpc.grpc_handlers import GrpcHandlers, OpenCalls
from libs.rpc.middleware.errors import Pack
from libs.rpc.middleware.mesh_guard import is_of_the_mesh
from libs.rpc.routes import Route
from libs.rpc.runtime import Runtime
from libs.rpc.tls import Tls

_WITHOUT_END_SECONDS = 86_400.0  # a day


class RpcServer:
    """Serves routes at an address while its `async with` block runs; `address` then holds the bound port.

    Health answers under "" (alive) and under each service's name (ready). Leaving the block drains: not ready, no new
    calls, those in flight may end within `drain_seconds`, then they are cancelled.
    """

    def __init__(
        self,
        *,
        name: str,
        listen: str,
        routes: Sequence[Route],
        runtime: Runtime,
        public: bool = False,
        tls: Tls | None = None,
        drain_seconds: float = 30,
        default_deadline_seconds: float | None = None,
        pack: Pack | None = None,
        inner: Sequence[Middleware] = (),
    ) -> None:
        self.name = name
        self.address = listen
        self.failed: asyncio.Future[TokenwayError] = asyncio.get_running_loop().create_future()
        self._tls = tls if public else runtime.mesh_tls
        self._drain_seconds = drain_seconds
        self._services = tuple(sorted({each.method.service for each in routes}))
        self._open_calls = OpenCalls()
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=server_options(public=public))
        surround = runtime.chain(
            public=public, pack=pack, default_deadline_seconds=default_deadline_seconds, inner=inner
        )
        self._server.add_generic_rpc_handlers(
            (GrpcHandlers(routes=routes, surround=surround, open_calls=self._open_calls),)
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        token = runtime.mesh_token if runtime.asks_for_token(public=public) else None
        self._server.add_generic_rpc_handlers(_reflection(self._services, mesh_token=token))

    async def __aenter__(self) -> Self:
        self.address = with_port(self.address, self._bind())
        await self._server.start()
        await self._set_ready(ready=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._set_ready(ready=False)
        async with asyncio.TaskGroup() as tasks:
            # Refuses new calls at once. What outlives every call that matters, a health watch, is not waited for.
            # It has no end of its own: where that came just when the other stop has destroyed the server, as after a
            # moment in which the machine stood still, grpc 1.85 would crash the process.
            tasks.create_task(self._server.stop(_WITHOUT_END_SECONDS))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._open_calls.wait_until_none(), self._drain_seconds)
            tasks.create_task(self._server.stop(None))

    async def fail(self, error: TokenwayError) -> None:
        """Not ready any more, and for good: the process ends itself with this error."""
        await self._set_ready(ready=False)
        if not self.failed.done():
            self.failed.set_result(error)

    def _bind(self) -> int:
        if self._tls is None:
            refuse_plaintext(self.address, "listen on")
        try:
            if unix_socket_in_use(self.address):
                raise RuntimeError("a server answers on that socket")
            if self._tls is not None:
                return self._server.add_secure_port(self.address, self._tls.server_credentials())
            return self._server.add_insecure_port(self.address)
        except RuntimeError as error:
            message = f"{self.name} cannot listen on {self.address}: is the port in use? Free it or configure another"
            raise TokenwayError(Reason.INVALID_REQUEST, message, metadata={"address": self.address}) from error

    async def _set_ready(self, *, ready: bool) -> None:
        kind = health_pb2.HealthCheckResponse.ServingStatus
        for each in self._services:
            await self._health.set(each, kind.Value("SERVING" if ready else "NOT_SERVING"))


def _reflection(services: Sequence[str], *, mesh_token: str | None) -> tuple[grpc.GenericRpcHandler, ...]:
    names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
    collected = _Collector()
    servicer = reflection.aio.ReflectionServicer(names)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, collected)  # type: ignore[no-untyped-call]
    if mesh_token is None:
        return tuple(collected.handlers)
    return tuple(_Guarded(each, mesh_token) for each in collected.handlers)


class _Collector:
    """Stands in for a server while a library registers itself, so that its handlers can be wrapped."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """Not used: the generic handlers say the same."""


class _Guarded(grpc.GenericRpcHandler):
    """Hides a library's handler from whoever is not of the mesh."""

    def __init__(self, handler: grpc.GenericRpcHandler, mesh_token: str) -> None:
        self._handler = handler
        self._mesh_token = mesh_token

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        metadata = {
            key: value for key, value in handler_call_details.invocation_metadata or () if isinstance(value, str)
        }
        return self._handler.service(handler_call_details) if is_of_the_mesh(metadata, self._mesh_token) else None
