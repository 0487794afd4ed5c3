"""A process's tracer provider: who it is, what it samples, where its spans go."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

from libs.telemetry import names
from libs.telemetry.otlp import OtlpTarget

# A killed process loses the spans of this long at most; the promise is a second.
EXPORT_EVERY_MS = 500
SHUTDOWN_SECONDS = 3.0


def tracer_provider(
    service_name: str, *, endpoints: Sequence[OtlpTarget], sampling_ratio: float, instance_id: str
) -> TracerProvider:
    """A provider that the process sets as the global one, once, before anything makes a span.

    `sampling_ratio` decides for roots; a child follows its parent. Without endpoints spans are made (their ids are
    in logs and on the wire) and go nowhere. End it with `shut_down`, not with the provider's own `shutdown`.
    """
    resource = Resource.create(
        {
            names.SERVICE_NAME: service_name,
            names.SERVICE_INSTANCE_ID: instance_id,
            names.SERVICE_VERSION: _version(),
        }
    )
    # Its own exit hook would hold the process for half a minute when a collector is away.
    provider = TracerProvider(sampler=LateSampler(sampling_ratio), resource=resource, shutdown_on_exit=False)
    for target in endpoints:
        provider.add_span_processor(BatchSpanProcessor(target.exporter(), schedule_delay_millis=EXPORT_EVERY_MS))
    return provider


def shut_down(provider: TracerProvider, *, timeout_seconds: float = SHUTDOWN_SECONDS) -> bool:
    """Sends what waits, for so long at most; False when time ran out and spans are lost. Blocks: call it last."""
    # The SDK's limit is 30 s a processor and cannot be set from outside. A daemon thread ends with the process.
    flush = threading.Thread(target=provider.shutdown, name="telemetry-shutdown", daemon=True)
    flush.start()
    flush.join(timeout_seconds)
    return not flush.is_alive()


class LateSampler(Sampler):
    """By ratio for roots, as the parent for children; and a span that begins as names.LATE always.

    So a request that was sampled out can still leave one span, made after it ended badly.
    """

    def __init__(self, ratio: float) -> None:
        self._usual = ParentBased(TraceIdRatioBased(ratio))

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        chosen = ALWAYS_ON if attributes and attributes.get(names.LATE) else self._usual
        return chosen.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return "LateSampler"


def _version() -> str:
    try:
        return version("tokenway")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
