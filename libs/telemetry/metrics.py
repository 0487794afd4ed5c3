"""Prometheus: one registry and one HTTP port a process, and the metrics of requests to models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from libs.telemetry import names

_LATENCY_BUCKETS_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30)
_TTFT_BUCKETS_SECONDS = (0.1, 0.2, 0.5, 1, 2)
MICRO_USD_PER_USD = 1_000_000


@contextmanager
def metrics_server(address: str, *, registry: CollectorRegistry) -> Iterator[str]:
    """Serves the registry at `host:port`, in a thread of its own; yields the bound address, so port 0 works.

    OSError when the address is taken.
    """
    host, _, port = address.rpartition(":")
    server, thread = start_http_server(int(port), addr=host.strip("[]"), registry=registry)
    try:
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class RequestMetrics:
    """What the router counts of every request, under the names that dashboards for LLM services know."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(names.METRIC_REQUESTS, "Requests that ended.", ["model", "status"], registry=registry)
        self._latency = Histogram(
            names.METRIC_LATENCY,
            "From a request's arrival to its end.",
            ["model"],
            buckets=_LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self._ttft = Histogram(
            names.METRIC_TIME_TO_FIRST_TOKEN,
            "From a request's arrival to its first token.",
            ["model"],
            buckets=_TTFT_BUCKETS_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(names.METRIC_TOKENS, "Tokens billed.", ["model", "type"], registry=registry)
        self._cost = Counter(names.METRIC_COST, "Cost of what was delivered.", ["model"], registry=registry)

    def ended(self, model: str, status: Literal["success", "error"], *, duration_seconds: float) -> None:
        """A request is over, however it ended."""
        self._requests.labels(model=model, status=status).inc()
        self._latency.labels(model=model).observe(duration_seconds)

    def first_token(self, model: str, *, after_seconds: float) -> None:
        """The first delta went to the client."""
        self._ttft.labels(model=model).observe(after_seconds)

    def used(self, model: str, *, input_tokens: int, output_tokens: int, cost_micro_usd: int) -> None:
        """What a receipt says; nothing of it for an answer from the cache."""
        self._tokens.labels(model=model, type="input").inc(input_tokens)
        self._tokens.labels(model=model, type="output").inc(output_tokens)
        self._cost.labels(model=model).inc(cost_micro_usd / MICRO_USD_PER_USD)
