"""The engine's span, for every way in which a request can end."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode, TraceFlags

from libs.errors import Reason, TokenwayError
from libs.generation.question import Question, Sampling
from libs.money import Usage
from libs.telemetry import names
from libs.testing.clock import ManualClock
from libs.testing.runtime import recorded_runtime
from services.inference.adapters.otel_probe import OtelProbe
from services.inference.domain.answer import Delta, Finished, FinishReason, Started
from services.inference.domain.model import EngineRequest

REQUEST = EngineRequest("r-1", "tiny", Question("Hello", Sampling(temperature=0.5, max_tokens=9)), attempt=2)
STARTED = Started(input_tokens=7, cached_input_tokens=4, queue_seconds=0.25, prefill_seconds=0.5)
DELTA = Delta(("a", "b"), (1, 2))
FINISHED = Finished(FinishReason.LENGTH, Usage(7, 4, 6))


def test_a_finished_request_has_its_phases_its_tokens_and_its_first_and_last_token() -> None:
    recorded, clock = recorded_runtime(), ManualClock()
    with OtelProbe(tracer=recorded.runtime.tracer, clock=clock).watching(REQUEST) as watched:
        watched.saw(STARTED)
        watched.saw(DELTA)
        clock.advance(2)
        watched.saw(DELTA)
        watched.saw(FINISHED)
        clock.advance(5)  # whatever comes after the last token is not decoding
    span = recorded.span(names.SPAN_ENGINE)
    assert span.attributes == {
        names.REQUEST_ID: "r-1",
        names.GEN_AI_REQUEST_MODEL: "tiny",
        names.ATTEMPT: 2,
        names.GEN_AI_REQUEST_MAX_TOKENS: 9,
        names.GEN_AI_REQUEST_TEMPERATURE: 0.5,
        names.GEN_AI_REQUEST_TOP_P: 0.9,
        names.GEN_AI_USAGE_INPUT_TOKENS: 7,
        names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: 4,
        names.GEN_AI_USAGE_OUTPUT_TOKENS: 6,
        names.GEN_AI_RESPONSE_FINISH_REASONS: ("length",),
        names.ENGINE_QUEUE_SECONDS: 0.25,
        names.ENGINE_PREFILL_SECONDS: 0.5,
        names.ENGINE_DECODE_SECONDS: 2.0,
    }
    first, last = span.events
    assert (first.name, last.name) == (names.EVENT_FIRST_TOKEN, names.EVENT_LAST_TOKEN)
    assert last.timestamp - first.timestamp == 2_000_000_000
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("ending", [asyncio.CancelledError, GeneratorExit])
def test_a_request_that_is_left_before_its_first_token_is_aborted_and_has_no_phases(
    ending: type[BaseException],
) -> None:
    recorded = recorded_runtime()
    with suppress(ending), OtelProbe(tracer=recorded.runtime.tracer, clock=ManualClock()).watching(REQUEST):
        raise ending
    span = recorded.span(names.SPAN_ENGINE)
    assert [event.name for event in span.events] == [names.EVENT_ABORTED]
    assert names.ENGINE_PREFILL_SECONDS not in (span.attributes or {})
    assert span.status.status_code is StatusCode.UNSET


def test_a_request_that_is_left_midway_still_says_what_came() -> None:
    recorded = recorded_runtime()
    watching = OtelProbe(tracer=recorded.runtime.tracer, clock=ManualClock()).watching(REQUEST)
    with suppress(asyncio.CancelledError), watching as watched:
        watched.saw(STARTED)
        watched.saw(DELTA)
        raise asyncio.CancelledError
    span = recorded.span(names.SPAN_ENGINE)
    assert [event.name for event in span.events] == [
        names.EVENT_FIRST_TOKEN,
        names.EVENT_ABORTED,
        names.EVENT_LAST_TOKEN,
    ]
    assert (span.attributes or {})[names.GEN_AI_USAGE_OUTPUT_TOKENS] == 3


def test_a_failure_is_an_error_with_its_reason() -> None:
    recorded = recorded_runtime()
    watching = OtelProbe(tracer=recorded.runtime.tracer, clock=ManualClock()).watching(REQUEST)
    with suppress(TokenwayError), watching:
        raise TokenwayError(Reason.ENGINE_DEAD, "gone")
    span = recorded.span(names.SPAN_ENGINE)
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})[names.ERROR_TYPE] == "ENGINE_DEAD"


def test_a_bug_is_an_error_with_its_exception() -> None:
    recorded = recorded_runtime()
    watching = OtelProbe(tracer=recorded.runtime.tracer, clock=ManualClock()).watching(REQUEST)
    with suppress(ZeroDivisionError), watching:
        raise ZeroDivisionError
    span = recorded.span(names.SPAN_ENGINE)
    assert span.status.description == "ZeroDivisionError"
    assert [event.name for event in span.events] == ["exception"]


def test_the_span_is_a_child_of_the_current_one_and_the_engines_parent() -> None:
    recorded = recorded_runtime()
    tracer = recorded.runtime.tracer
    with (
        tracer.start_as_current_span("rpc") as rpc,
        OtelProbe(tracer=tracer, clock=ManualClock()).watching(REQUEST) as it,
    ):
        _, trace_id, span_id, flags = it.trace_headers["traceparent"].split("-")
        assert trace.get_current_span() is rpc
    span = recorded.span(names.SPAN_ENGINE)
    assert span.parent is not None
    assert span.parent.span_id == rpc.get_span_context().span_id
    assert (trace_id, span_id) == (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")
    assert int(flags, 16) & TraceFlags.SAMPLED


def test_a_request_that_is_not_sampled_tells_the_engine_so() -> None:
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("test")
    with OtelProbe(tracer=tracer, clock=ManualClock()).watching(REQUEST) as watched:
        watched.saw(STARTED)
        watched.saw(DELTA)
        watched.saw(FINISHED)
    flags = watched.trace_headers["traceparent"].split("-")[3]
    assert not int(flags, 16) & TraceFlags.SAMPLED
