"""Spans sent over real OTLP are found in the file, by another connection, as soon as the sender has its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import grpc.aio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from libs.telemetry import names
from libs.telemetry.otlp import OtlpTarget
from libs.telemetry.span import EndedSpan
from libs.telemetry.tracing import shut_down, tracer_provider
from libs.testing.otlp import span_collector
from services.mesh.trace.receiver import trace_receiver
from services.mesh.trace.store import TraceStore

Received = Callable[[Path], Awaitable[Sequence[EndedSpan]]]


def send(address: str, *span_names: str) -> None:
    """One request of a service named `router`."""
    provider = tracer_provider("router", endpoints=[OtlpTarget(address)], sampling_ratio=1, instance_id="1")
    with provider.get_tracer("test").start_as_current_span("outer", attributes={names.REQUEST_ID: "req-1"}):
        for name in span_names:
            provider.get_tracer("test").start_span(name).end()
    assert shut_down(provider)


def stored(path: Path) -> list[EndedSpan]:
    with TraceStore.read(path) as store:
        return store.of_request("req-1")


async def received_by_store(tmp_path: Path) -> Sequence[EndedSpan]:
    path = tmp_path / "traces.db"
    async with trace_receiver("127.0.0.1:0", path=path) as address:
        await asyncio.to_thread(send, address, "inner")
        return await asyncio.to_thread(stored, path)


async def received_by_collector(_tmp_path: Path) -> Sequence[EndedSpan]:
    async with span_collector() as collector:
        await asyncio.to_thread(send, collector.address, "inner")
        return collector.spans


@pytest.mark.parametrize("received", [received_by_store, received_by_collector])
async def test_the_store_and_the_sink_of_tests_receive_the_same(received: Received, tmp_path: Path) -> None:
    spans = {span.name: span for span in await received(tmp_path)}
    assert set(spans) == {"outer", "inner"}
    assert spans["inner"].parent_span_id == spans["outer"].span_id
    assert {span.service for span in spans.values()} == {"router"}


async def test_a_taken_address_is_an_os_error(tmp_path: Path) -> None:
    async with trace_receiver("127.0.0.1:0", path=tmp_path / "one.db") as address:
        with pytest.raises(OSError, match=address):
            async with trace_receiver(address, path=tmp_path / "two.db"):
                pass


async def test_spans_without_whole_ids_are_refused_and_the_others_kept() -> None:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    spans.add(name="broken", trace_id=b"short", span_id=b"12345678")
    spans.add(name="whole", trace_id=b"0123456789abcdef", span_id=b"12345678")
    async with span_collector() as collector, grpc.aio.insecure_channel(collector.address) as channel:
        answer = await TraceServiceStub(channel).Export(request)  # type: ignore[no-untyped-call] # generated, untyped
        assert answer.partial_success.rejected_spans == 1
        assert [span.name for span in collector.spans] == ["whole"]


async def test_waiting_for_spans_that_never_come_says_which_did() -> None:
    async with span_collector() as collector:
        await asyncio.to_thread(send, collector.address)
        with pytest.raises(AssertionError, match=r"1 came: \['router: outer'\]"):
            await collector.named("outer", "inner", timeout_seconds=0.05)
