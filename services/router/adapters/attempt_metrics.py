"""What became of each try of a request, and what the router made of it, counted for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from libs.telemetry import names


class AttemptMetrics:
    """Reasons, and results too, are `libs.errors.Reason` in lower case; a try that gave a first token is `begun`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            names.METRIC_REFUSED, "Requests turned away before any model was asked.", ["reason"], registry=registry
        )
        self._attempts = Counter(
            names.METRIC_ATTEMPTS,
            "Attempts, by whether they gave a first token, or why not.",
            ["model", "result"],
            registry=registry,
        )
        self._retries = Counter(
            names.METRIC_RETRIES,
            "Attempts that followed another on the same model, by why that one failed.",
            ["model", "reason"],
            registry=registry,
        )
        self._fallbacks = Counter(
            names.METRIC_FALLBACKS,
            "Requests that left a model for the next candidate, by why.",
            ["model", "reason"],
            registry=registry,
        )
        self._discarded = Counter(
            names.METRIC_TOKENS_DISCARDED,
            "Tokens made beyond the last lease: neither delivered nor billed.",
            ["model"],
            registry=registry,
        )

    def refused(self, reason: str) -> None:
        self._refused.labels(reason.lower()).inc()

    def attempted(self, model: str, result: str) -> None:
        self._attempts.labels(model, result.lower()).inc()

    def retried(self, model: str, reason: str) -> None:
        self._retries.labels(model, reason.lower()).inc()

    def fell_back(self, model: str, reason: str) -> None:
        self._fallbacks.labels(model, reason.lower()).inc()

    def discarded(self, model: str, *, tokens: int) -> None:
        self._discarded.labels(model).inc(tokens)
