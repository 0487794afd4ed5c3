"""Calls counted while they run and by how they ended, and timed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from libs.rpc.call import Call, Middleware
from libs.rpc.ending import OK, ending_of
from libs.telemetry import names

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def metrics(*, registry: CollectorRegistry) -> Middleware:
    """By method, and where a call has ended by its status code. Both label sets are fixed by the protos."""
    requests = Counter(
        names.METRIC_RPC_REQUESTS, "Calls served, by how they ended", ("method", "code"), registry=registry
    )
    seconds = Histogram(
        names.METRIC_RPC_SECONDS,
        "Seconds from a call's arrival to its end",
        ("method",),
        buckets=BUCKETS_SECONDS,
        registry=registry,
    )
    in_flight = Gauge(names.METRIC_RPC_IN_FLIGHT, "Calls being served", ("method",), registry=registry)

    @asynccontextmanager
    async def surround(call: Call) -> AsyncIterator[None]:
        method, began, ending = names.rpc_span(call.path), time.monotonic(), OK
        in_flight.labels(method).inc()
        try:
            yield
        except (Exception, asyncio.CancelledError, GeneratorExit) as error:
            ending = ending_of(error, call)
            raise
        finally:
            in_flight.labels(method).dec()
            requests.labels(method, ending.code.name).inc()
            seconds.labels(method).observe(time.monotonic() - began)

    return surround
