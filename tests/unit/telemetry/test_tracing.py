"""Spans reach a real collector; a collector that is away costs nothing but its spans."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from libs.telemetry import names
from libs.telemetry.otlp import OtlpTarget
from libs.telemetry.span import SpanStatus
from libs.telemetry.tracing import shut_down, tracer_provider
from libs.testing.otlp import span_collector

NOBODY_LISTENS = "127.0.0.1:9"  # discard: a port that no program takes
SHORT_SECONDS = 0.3


def provider_to(*addresses: str, ratio: float = 1.0) -> TracerProvider:
    targets = [OtlpTarget(address) for address in addresses]
    return tracer_provider("router", endpoints=targets, sampling_ratio=ratio, instance_id="router-1")


async def shut_down_aside(provider: TracerProvider, timeout_seconds: float = 3.0) -> bool:
    """Not on the loop: the collector runs there."""
    return await asyncio.to_thread(shut_down, provider, timeout_seconds=timeout_seconds)


async def test_a_span_reaches_every_collector_with_the_name_of_its_service(tmp_path: Path) -> None:
    async with span_collector() as one, span_collector(f"unix:{tmp_path}/otlp.sock") as other:
        provider = provider_to(one.address, other.address)
        with provider.get_tracer("test").start_as_current_span("route", attributes={names.REQUEST_ID: "r1"}):
            pass
        assert await shut_down_aside(provider)
        for collector in (one, other):
            [span] = collector.spans
            assert (span.name, span.service, span.attributes[names.REQUEST_ID]) == ("route", "router", "r1")


async def test_a_span_is_sent_without_a_flush() -> None:
    async with span_collector() as collector:
        provider = provider_to(collector.address)
        provider.get_tracer("test").start_span("route").end()
        await collector.named("route", timeout_seconds=30)
        await shut_down_aside(provider)


# Ends a span every hundredth of a second, and says when.
ENDS_SPANS = """
import sys, time
from libs.telemetry.otlp import OtlpTarget
from libs.telemetry.tracing import tracer_provider

provider = tracer_provider("router", endpoints=[OtlpTarget(sys.argv[1])], sampling_ratio=1, instance_id="1")
tracer = provider.get_tracer("test")
for number in range(1000):
    tracer.start_span(str(number)).end()
    print(time.monotonic(), flush=True)
    time.sleep(0.01)
"""


async def test_a_killed_process_loses_the_spans_of_its_last_second_at_most() -> None:
    async with span_collector() as collector:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ENDS_SPANS, collector.address), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        ended_at: list[float] = []
        while not ended_at or ended_at[-1] - ended_at[0] < 2:
            ended_at.append(float(await process.stdout.readline()))
        process.kill()
        killed_at = time.monotonic()
        await process.wait()
    arrived = {int(span.name) for span in collector.spans}
    older = {number for number, at in enumerate(ended_at) if at < killed_at - 1}
    assert len(older) > 10
    assert older <= arrived


async def test_parents_events_links_and_errors_survive_the_journey() -> None:
    async with span_collector() as collector:
        provider = provider_to(collector.address)
        tracer = provider.get_tracer("test")
        with pytest.raises(ValueError, match="broken"), tracer.start_as_current_span("outer") as outer:  # noqa: PT012
            outer.add_link(SpanContext(1, 2, is_remote=True))
            with tracer.start_as_current_span("inner") as inner:
                inner.add_event(names.EVENT_FIRST_TOKEN, {"index": 0})
                raise ValueError("broken")
        await shut_down_aside(provider)
        spans = await collector.named("outer", "inner")
        assert spans["inner"].parent_span_id == spans["outer"].span_id
        assert spans["inner"].trace_id == spans["outer"].trace_id
        assert spans["outer"].status is SpanStatus.ERROR
        assert spans["outer"].links[0].span_id == f"{2:016x}"
        assert [event.name for event in spans["inner"].events] == [names.EVENT_FIRST_TOKEN, "exception"]


def test_spans_that_nobody_collects_still_have_ids() -> None:
    provider = provider_to()
    span = provider.get_tracer("test").start_span("route")
    assert span.get_span_context().is_valid
    assert shut_down(provider)


def test_a_remote_collector_without_tls_is_refused() -> None:
    with pytest.raises(ValueError, match=r"otel\.example:4317 is not on this machine and no CA file"):
        OtlpTarget("otel.example:4317")


@pytest.mark.parametrize("address", ["localhost:4317", "127.0.0.1:4317", "[::1]:4317", "unix:/run/otlp.sock"])
def test_a_collector_on_this_machine_needs_no_tls(address: str) -> None:
    assert OtlpTarget(address).address == address


def test_a_ca_file_that_is_not_there_is_named() -> None:
    with pytest.raises(OSError, match=r"nowhere\.pem"):
        OtlpTarget("otel.example:4317", ca_file="nowhere.pem").exporter()


def test_a_collector_that_is_away_slows_no_request() -> None:
    provider = provider_to(NOBODY_LISTENS)
    tracer = provider.get_tracer("test")
    began = time.perf_counter()
    for _ in range(3_000):  # more than the queue holds
        tracer.start_span("route").end()
    seconds = time.perf_counter() - began
    shut_down(provider, timeout_seconds=SHORT_SECONDS)
    assert seconds < 4.5  # 3,000 spans take 0.1 s; one blocked export would take 5


def test_shutting_down_waits_no_longer_than_it_may() -> None:
    provider = provider_to(NOBODY_LISTENS)
    provider.get_tracer("test").start_span("route").end()
    began = time.perf_counter()
    flushed = shut_down(provider, timeout_seconds=SHORT_SECONDS)
    assert not flushed
    assert time.perf_counter() - began < 4.5  # a blocked export takes 5


def test_a_sampled_out_root_has_sampled_out_children() -> None:
    tracer = provider_to(ratio=0).get_tracer("test")
    with tracer.start_as_current_span("root") as root, tracer.start_as_current_span("child") as child:
        assert not root.get_span_context().trace_flags.sampled
        assert not child.get_span_context().trace_flags.sampled


@pytest.mark.parametrize("sampled", [True, False])
def test_a_child_follows_its_caller_whatever_the_ratio(sampled: bool) -> None:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    parent = set_span_in_context(NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=flags)))
    tracer = provider_to(ratio=0 if sampled else 1).get_tracer("test")
    assert tracer.start_span("child", context=parent).get_span_context().trace_flags.sampled is sampled


def test_a_request_that_was_sampled_out_may_still_leave_one_late_span() -> None:
    tracer = provider_to(ratio=0).get_tracer("test")
    span = tracer.start_span("late", context=Context(), attributes={names.LATE: True})
    assert span.get_span_context().trace_flags.sampled


def test_importing_telemetry_sets_nothing_up() -> None:
    program = (
        "import logging, threading\n"
        "import libs.telemetry.logs, libs.telemetry.metrics, libs.telemetry.otlp_receiver, libs.telemetry.tracing\n"
        "from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider\n"
        "assert isinstance(get_tracer_provider(), ProxyTracerProvider)\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
        "assert logging.getLogger().handlers == []\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
