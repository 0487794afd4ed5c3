"""What a process gives to the service in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from opentelemetry.trace import Tracer
from prometheus_client import CollectorRegistry

from libs.clock import Clock, SystemClock
from libs.rpc.call import Middleware
from libs.rpc.chain import compose
from libs.rpc.channel import dial
from libs.rpc.client import Client
from libs.rpc.client_metrics import ClientMetrics
from libs.rpc.middleware.deadline import deadline
from libs.rpc.middleware.errors import Pack, errors
from libs.rpc.middleware.identity import identity
from libs.rpc.middleware.logging import logging
from libs.rpc.middleware.mesh_guard import MESH_TOKEN_KEY, mesh_guard
from libs.rpc.middleware.metrics import metrics
from libs.rpc.middleware.tracing import tracing
from libs.rpc.tls import Tls


@dataclass(frozen=True, slots=True)
class Runtime:
    """Trace, metrics, time and the secrets of the mesh. One a process; a test builds its own."""

    tracer: Tracer
    registry: CollectorRegistry
    mesh_token: str = field(default="", repr=False)
    mesh_tls: Tls | None = None
    clock: Clock = field(default_factory=SystemClock)
    # Of all clients together, for a registry takes each name once. Absent: made here.
    client_metrics: ClientMetrics | None = None

    def __post_init__(self) -> None:
        if self.client_metrics is None:
            object.__setattr__(self, "client_metrics", ClientMetrics(self.registry))

    def chain(
        self,
        *,
        public: bool = False,
        pack: Pack | None = None,
        default_deadline_seconds: float | None = None,
        inner: Sequence[Middleware] = (),
    ) -> Middleware:
        """The chain of one server. Public ports make request ids; the others demand the mesh token.

        The order, outermost first, and why:
        identity   all that follows names the request
        tracing    its span covers the rest; logs inside carry its ids
        metrics    counts what the caller saw, so outside of errors
        logging    likewise
        errors     turns what handlers raise into the status that those above see
        deadline   its TimeoutError becomes an error of ours before it reaches errors
        guard      a stranger gets an error like any other, and nothing behind it runs
        inner      the service's own: authentication
        """
        guard = (mesh_guard(mesh_token=self.mesh_token),) if self.asks_for_token(public=public) else ()
        return compose(
            (
                identity(trusted=not public),
                tracing(tracer=self.tracer, entry=public),
                metrics(registry=self.registry),
                logging(),
                errors(pack=pack),
                deadline(default_seconds=default_deadline_seconds),
                *guard,
                *inner,
            )
        )

    def asks_for_token(self, *, public: bool) -> bool:
        """Whether a port demands the mesh token: an internal one does, unless the handshake refuses strangers."""
        return not public and not (self.mesh_tls is not None and self.mesh_tls.mutual)

    def client(self, address: str, *, service: str, tracer: Tracer | None = None, host: str | None = None) -> Client:
        """A client of another service of the mesh; close it. Another tracer is for calls that belong to no request.

        `host`: the name that was resolved to this address.
        """
        metadata = {MESH_TOKEN_KEY: self.mesh_token} if self.mesh_token else {}
        channel = dial(address, tls=self.mesh_tls, host=host)
        return Client(
            channel,
            service=service,
            tracer=tracer or self.tracer,
            metadata=metadata,
            metrics=self.client_metrics,
        )
