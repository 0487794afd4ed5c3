"""Prometheus: one registry and one HTTP port a process, and the metrics of requests to models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from libs.telemetry import names
from libs.telemetry.exemplar import current_trace

_LATENCY_BUCKETS_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30)
_TTFT_BUCKETS_SECONDS = (0.1, 0.2, 0.5, 1, 2)
_OVERHEAD_BUCKETS_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)
# The GenAI conventions' own.
_TOKEN_BUCKETS = tuple(4**power for power in range(14))
_GEN_AI_LABELS = tuple(
    names.prometheus_label(each)
    for each in (names.GEN_AI_OPERATION_NAME, names.GEN_AI_PROVIDER_NAME, names.GEN_AI_REQUEST_MODEL)
)
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
        self._overhead = Histogram(
            names.METRIC_OVERHEAD,
            "A request's time less its waiting for an engine and for its caller to read.",
            ["model"],
            buckets=_OVERHEAD_BUCKETS_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(names.METRIC_TOKENS, "Tokens billed.", ["model", "type"], registry=registry)
        self._token_usage = Histogram(
            names.METRIC_CLIENT_TOKEN_USAGE,
            "Tokens billed, a request at a time.",
            [*_GEN_AI_LABELS, names.prometheus_label(names.GEN_AI_TOKEN_TYPE)],
            buckets=_TOKEN_BUCKETS,
            registry=registry,
        )
        self._cost = Counter(names.METRIC_COST, "Cost of what was delivered.", ["model"], registry=registry)

    def ended(
        self,
        model: str,
        status: Literal["success", "error"],
        *,
        duration_seconds: float,
        overhead_seconds: float,
    ) -> None:
        """A request is over, however it ended."""
        self._requests.labels(model=model, status=status).inc()
        self._latency.labels(model=model).observe(duration_seconds, current_trace())
        self._overhead.labels(model=model).observe(overhead_seconds, current_trace())

    def first_token(self, model: str, *, after_seconds: float) -> None:
        """The first delta went to the client."""
        self._ttft.labels(model=model).observe(after_seconds, current_trace())

    def used(self, model: str, *, input_tokens: int, output_tokens: int, cost_micro_usd: int) -> None:
        """What a receipt says; nothing of it for an answer from the cache."""
        for kind, tokens in (("input", input_tokens), ("output", output_tokens)):
            self._tokens.labels(model=model, type=kind).inc(tokens)
            if tokens:
                labels = (names.OPERATION_CHAT, names.PROVIDER_TOKENWAY, model, kind)
                self._token_usage.labels(*labels).observe(tokens, current_trace())
        self._cost.labels(model=model).inc(cost_micro_usd / MICRO_USD_PER_USD)
