"""Outbound calls counted by how they ended, and timed."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from libs.rpc.middleware.metrics import BUCKETS_SECONDS
from libs.telemetry import names


class ClientMetrics:
    """What the clients of one process have seen. Labels are services of the mesh, methods of its protos and codes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            names.METRIC_RPC_CLIENT_REQUESTS,
            "Calls made to other services, by how they ended",
            ("service", "method", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            names.METRIC_RPC_CLIENT_SECONDS,
            "Seconds from a call's start to its end, or until its caller had enough",
            ("service", "method"),
            buckets=BUCKETS_SECONDS,
            registry=registry,
        )

    def ended(self, service: str, method: str, code: str, *, seconds: float) -> None:
        """A call is over, however it ended."""
        self._requests.labels(service, method, code).inc()
        self._seconds.labels(service, method).observe(seconds)
