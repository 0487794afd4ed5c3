"""What the telemetry of one request costs the router alone: its spans, kept or not, exported or not, and its metrics.

The mesh bench has what tracing costs the whole (`% traced`); metrics cannot be turned off, so they are measured here.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Tracer
from prometheus_client import CollectorRegistry

from libs.rpc.call import Call
from libs.rpc.client_metrics import ClientMetrics
from libs.rpc.method import Shape
from libs.rpc.middleware.metrics import metrics
from libs.telemetry import names
from libs.telemetry.metrics import RequestMetrics
from libs.telemetry.otlp import OtlpTarget
from libs.telemetry.tracing import shut_down, tracer_provider
from services.router.adapters.attempt_metrics import AttemptMetrics
from tests.bench.measure import Table, in_turns

# Of a request that the cache has no answer for, beside its root and `route`: each is a CLIENT span and a call counted.
CALLS = (
    *("tokenway.cache.v1.CacheService/Lookup", "tokenway.budget.v1.BudgetService/Reserve"),
    *("tokenway.inference.v1.InferenceService/Generate", "tokenway.budget.v1.BudgetService/Settle"),
    "tokenway.cache.v1.CacheService/Fill",
)
PATH = "/tokenway.router.v1.RouterService/StreamGenerate"
# With seven spans each somewhat less than the 512 that the SDK sends at once.
_REQUESTS_A_BATCH = 70
# A collector in a process of its own, so that its work is not counted.
COLLECTOR = """
import asyncio
from libs.telemetry.otlp_receiver import otlp_receiver

class Nowhere:
    async def take(self, spans): ...

async def main():
    async with otlp_receiver("127.0.0.1:0", sink=Nowhere()) as address:
        print(address, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def bench(*, quick: bool) -> Sequence[Table]:
    rounds, requests = (2, 500) if quick else (7, 2_000)
    with collector() as address:
        providers = {
            "spans, sampled out": provider(ratio=0),
            "spans, 1 in 10 kept and exported": provider(address, ratio=0.1),
            "spans, kept": provider(),
            "spans, kept and exported": provider(address),
        }
        cases = {name: partial(microseconds, each, requests) for name, each in providers.items()}
        figures = await in_turns(cases | {"metrics": partial(Counted().microseconds, requests)}, rounds=rounds)
        for each in providers.values():
            await asyncio.to_thread(shut_down, each)
    return (_table(figures),)


def provider(address: str | None = None, *, ratio: float = 1) -> TracerProvider:
    targets = [OtlpTarget(address)] if address else []
    return tracer_provider("bench", endpoints=targets, sampling_ratio=ratio, instance_id="bench")


@contextmanager
def collector() -> Iterator[str]:
    with subprocess.Popen((sys.executable, "-c", COLLECTOR), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def microseconds(provider: TracerProvider, requests: int) -> float:
    """CPU of all threads, a request."""
    tracer, began = provider.get_tracer("bench"), time.process_time()
    for number in range(1, requests + 1):
        spans(tracer)
        if number % _REQUESTS_A_BATCH == 0:
            provider.force_flush()  # or spans would be dropped, at a pace that no router reaches
    return (time.process_time() - began) / requests * 1e6


def spans(tracer: Tracer) -> None:
    """The router's, with as many attributes as they usually have."""
    attributes = {names.RPC_SYSTEM_NAME: "grpc", names.RPC_METHOD: PATH, names.REQUEST_ID: "0" * 32}
    with tracer.start_as_current_span(PATH, kind=SpanKind.SERVER, attributes=attributes) as root:
        with tracer.start_as_current_span(names.SPAN_ROUTE) as route:
            route.add_event(names.EVENT_CANDIDATE, {names.ROUTE_MODEL: "small", names.ROUTE_SCORE: 7})
        for call in CALLS:
            span = tracer.start_span(call, kind=SpanKind.CLIENT, attributes=attributes)
            span.set_attribute(names.RPC_RESPONSE_STATUS_CODE, "OK")
            span.end()
        for name in (names.OUTCOME, names.KEY_ID, names.GEN_AI_RESPONSE_MODEL):
            root.set_attribute(name, "finished")


class Counted:
    """What the router counts of one such request, within a trace that is kept."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._requests, self._attempts = RequestMetrics(registry), AttemptMetrics(registry)
        self._calls, self._surround = ClientMetrics(registry), metrics(registry=registry)

    async def microseconds(self, requests: int) -> float:
        with provider().get_tracer("bench").start_as_current_span("request"):
            began = time.process_time()
            for _ in range(requests):
                await self._one()
            return (time.process_time() - began) / requests * 1e6

    async def _one(self) -> None:
        async with self._surround(Call(PATH, Shape.UNARY_STREAM, {}, "")):
            for each in CALLS:
                self._calls.ended("service", each, "OK", seconds=0.01)
            self._attempts.attempted("small", "begun")
            self._requests.first_token("small", after_seconds=0.01)
            self._requests.used("small", input_tokens=7, output_tokens=32, cost_micro_usd=9)
            self._requests.ended("small", "success", duration_seconds=0.01, overhead_seconds=0.01)


def _table(figures: Mapping[str, Sequence[float]]) -> Table:
    rows = tuple((name, f"{statistics.median(each):,.0f}") for name, each in figures.items())
    notes = (f"{2 + len(CALLS)} spans, or one request's worth of counters and histograms with exemplars.",)
    return Table("Telemetry of one request in the router", ("what", "CPU µs"), rows, notes)
