"""A runtime for tests: real spans and real metrics, kept in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from libs.rpc.runtime import Runtime
from libs.telemetry.tracing import LateSampler

MESH_TOKEN = "mesh-token-of-the-tests"  # guards nothing


@dataclass(frozen=True, slots=True)
class Recorded:
    """A runtime and what it has recorded."""

    runtime: Runtime
    _spans: InMemorySpanExporter = field(repr=False)
    _provider: TracerProvider = field(repr=False)

    def beside(self, service: str) -> Recorded:
        """Another service's runtime: its own metrics, and the same spans."""
        runtime = Runtime(
            tracer=self._provider.get_tracer(service),
            registry=CollectorRegistry(),
            mesh_token=self.runtime.mesh_token,
        )
        return Recorded(runtime, self._spans, self._provider)

    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended, in that order."""
        return self._spans.get_finished_spans()

    def span(self, name: str) -> ReadableSpan:
        """The one ended span of that name."""
        (found,) = [each for each in self.spans() if each.name == name]
        return found

    def sample(self, metric: str, **labels: str) -> float:
        """The value of a metric's sample; 0 when nothing was counted."""
        return self.runtime.registry.get_sample_value(metric, labels) or 0


def recorded_runtime(*, service: str = "test", mesh_token: str = MESH_TOKEN, sampling_ratio: float = 1) -> Recorded:
    """A fresh runtime, independent of the process's global providers."""
    spans = InMemorySpanExporter()
    provider = TracerProvider(sampler=LateSampler(sampling_ratio))
    provider.add_span_processor(SimpleSpanProcessor(spans))
    runtime = Runtime(tracer=provider.get_tracer(service), registry=CollectorRegistry(), mesh_token=mesh_token)
    return Recorded(runtime, spans, provider)
