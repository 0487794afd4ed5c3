"""The `engine` span, by OpenTelemetry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from libs.clock import Clock
from libs.errors import TokenwayError
from libs.telemetry import names
from services.inference.domain.answer import Delta, Event, Started
from services.inference.domain.model import EngineRequest

_PROPAGATOR = TraceContextTextMapPropagator()


class OtelProbe:
    """One span a request, a child of the current one; ended in every case.

    The engine makes its own spans of finished requests alone; so this one tells how the others ended. It is never made
    current: a generator may be closed by another task than the one that began it.
    """

    def __init__(self, *, tracer: Tracer, clock: Clock) -> None:
        self._tracer = tracer
        self._clock = clock

    @contextmanager
    def watching(self, request: EngineRequest) -> Iterator[OtelSpan]:
        span = self._tracer.start_span(names.SPAN_ENGINE)
        # A span that is not recorded still carries the caller's decision not to, which the engine has to follow.
        watched = OtelSpan(span, self._clock)
        if span.is_recording():
            span.set_attributes(_asked(request))
        try:
            yield watched
        except (Exception, asyncio.CancelledError, GeneratorExit) as error:
            watched.broke_off(error)
            raise
        finally:
            watched.end()


class OtelSpan:
    """Events for the first and the last token, durations of the phases; nothing a token."""

    def __init__(self, span: Span, clock: Clock) -> None:
        self._span = span
        self._clock = clock
        self._first_token_at: float | None = None
        self._last_token_at = 0.0
        self._last_token_unix_ns = 0
        self._output_tokens = 0
        headers: dict[str, str] = {}
        _PROPAGATOR.inject(headers, trace.set_span_in_context(span))
        self.trace_headers: Mapping[str, str] = headers

    def saw(self, event: Event) -> None:
        if not self._span.is_recording():
            return
        if isinstance(event, Delta):
            self._output_tokens += sum(event.token_counts)
            self._last_token_at = self._clock.monotonic()
            self._last_token_unix_ns = int(self._clock.now() * 1e9)
        elif isinstance(event, Started):
            self._started(event)
        else:
            self._span.set_attribute(names.GEN_AI_RESPONSE_FINISH_REASONS, (str(event.reason),))

    def broke_off(self, error: BaseException) -> None:
        """The engine's fault is an error; a caller that leaves, or whose time is up, is none."""
        if isinstance(error, TokenwayError):
            self._span.set_attribute(names.ERROR_TYPE, error.reason)
            self._span.set_status(StatusCode.ERROR, error.reason)
        elif isinstance(error, Exception):
            self._span.record_exception(error)
            self._span.set_status(StatusCode.ERROR, type(error).__name__)
        else:
            self._span.add_event(names.EVENT_ABORTED)

    def end(self) -> None:
        if self._first_token_at is not None:
            self._span.add_event(names.EVENT_LAST_TOKEN, timestamp=self._last_token_unix_ns)
            self._span.set_attribute(names.ENGINE_DECODE_SECONDS, self._last_token_at - self._first_token_at)
            self._span.set_attribute(names.GEN_AI_USAGE_OUTPUT_TOKENS, self._output_tokens)
        self._span.end()

    def _started(self, event: Started) -> None:
        self._first_token_at = self._last_token_at = self._clock.monotonic()
        self._last_token_unix_ns = int(self._clock.now() * 1e9)
        self._span.add_event(names.EVENT_FIRST_TOKEN, timestamp=self._last_token_unix_ns)
        self._span.set_attribute(names.GEN_AI_USAGE_INPUT_TOKENS, event.input_tokens)
        self._span.set_attribute(names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, event.cached_input_tokens)
        if event.queue_seconds is not None:
            self._span.set_attribute(names.ENGINE_QUEUE_SECONDS, event.queue_seconds)
        if event.prefill_seconds is not None:
            self._span.set_attribute(names.ENGINE_PREFILL_SECONDS, event.prefill_seconds)


def _asked(request: EngineRequest) -> dict[str, str | int | float]:
    sampling = request.question.sampling
    return {
        names.REQUEST_ID: request.request_id,
        names.GEN_AI_REQUEST_MODEL: request.model,
        names.ATTEMPT: request.attempt,
        names.GEN_AI_REQUEST_MAX_TOKENS: sampling.max_tokens,
        names.GEN_AI_REQUEST_TEMPERATURE: sampling.temperature,
        names.GEN_AI_REQUEST_TOP_P: sampling.top_p,
    }
