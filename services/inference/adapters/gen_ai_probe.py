"""OpenTelemetry's GenAI metrics of a model server, beside another probe's spans."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Histogram

from libs.clock import Clock
from libs.errors import Reason, TokenwayError
from libs.telemetry import names
from libs.telemetry.exemplar import current_trace
from services.inference.domain.answer import Delta, Event, Finished, Started
from services.inference.domain.model import EngineRequest
from services.inference.domain.ports import EngineSpan, Probe

# The conventions' own.
_DURATION_BUCKETS_SECONDS = tuple(0.01 * 2**power for power in range(14))
_FIRST_TOKEN_BUCKETS_SECONDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25),
    *(0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
_TOKEN_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_LABELS = tuple(
    names.prometheus_label(each)
    for each in (names.GEN_AI_OPERATION_NAME, names.GEN_AI_PROVIDER_NAME, names.GEN_AI_REQUEST_MODEL)
)


class GenAiProbe:
    """A Probe like the one inside it.

    An answer that came to its end has no error type, and Prometheus takes an empty label for none. Any other has its
    Reason: CANCELLED where the caller left or ran out of time, INTERNAL for a bug. One replica runs one model, so the
    response's model, which the conventions recommend as well, would only say the same again.
    """

    def __init__(self, inner: Probe, *, registry: CollectorRegistry, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._duration = Histogram(
            names.METRIC_SERVER_REQUEST_DURATION,
            "From a request's coming to its last token.",
            (*_LABELS, names.prometheus_label(names.ERROR_TYPE)),
            buckets=_DURATION_BUCKETS_SECONDS,
            registry=registry,
        )
        self._first_token = Histogram(
            names.METRIC_SERVER_TIME_TO_FIRST_TOKEN,
            "From a request's coming to its first token, of answers that came to their end.",
            _LABELS,
            buckets=_FIRST_TOKEN_BUCKETS_SECONDS,
            registry=registry,
        )
        self._per_token = Histogram(
            names.METRIC_SERVER_TIME_PER_OUTPUT_TOKEN,
            "Time per token after the first, of answers that came to their end.",
            _LABELS,
            buckets=_TOKEN_BUCKETS_SECONDS,
            registry=registry,
        )

    @contextmanager
    def watching(self, request: EngineRequest) -> Iterator[EngineSpan]:
        # Taken now: whoever closes a generator that was left may do so within another trace.
        exemplar, labels = current_trace(), (names.OPERATION_CHAT, names.PROVIDER_TOKENWAY, request.model)
        timing = _Timing(self._clock)
        error_type = ""
        try:
            with self._inner.watching(request) as span:
                timing.span = span
                yield timing
        except (Exception, asyncio.CancelledError, GeneratorExit) as error:
            error_type = _type_of(error)
            raise
        finally:
            self._duration.labels(*labels, error_type).observe(timing.seconds(), exemplar)
            if not error_type and timing.first_token_seconds is not None:
                self._first_token.labels(*labels).observe(timing.first_token_seconds, exemplar)
                if (per_token := timing.seconds_per_token()) is not None:
                    self._per_token.labels(*labels).observe(per_token, exemplar)


class _Timing:
    """An EngineSpan that looks at the clock, round another."""

    span: EngineSpan

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_at = clock.monotonic()
        self._first_tokens = 0
        self._tokens = 0
        self.first_token_seconds: float | None = None

    @property
    def trace_headers(self) -> Mapping[str, str]:
        return self.span.trace_headers

    def saw(self, event: Event) -> None:
        if isinstance(event, Started):
            self.first_token_seconds = self.seconds()
        elif isinstance(event, Delta) and not self._first_tokens:
            self._first_tokens = sum(event.token_counts)
        elif isinstance(event, Finished):
            self._tokens = event.usage.output_tokens
        self.span.saw(event)

    def seconds(self) -> float:
        return self._clock.monotonic() - self._began_at

    def seconds_per_token(self) -> float | None:
        """Of those after the first delta, which may hold several; None where it held all."""
        later = self._tokens - self._first_tokens
        if later <= 0 or self.first_token_seconds is None:
            return None
        return (self.seconds() - self.first_token_seconds) / later


def _type_of(error: BaseException) -> Reason:
    if isinstance(error, TokenwayError):
        return error.reason
    return Reason.INTERNAL if isinstance(error, Exception) else Reason.CANCELLED
