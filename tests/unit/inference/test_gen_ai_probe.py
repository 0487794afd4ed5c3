"""The GenAI conventions' metrics of a model server, for every way in which a request can end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from prometheus_client.openmetrics.exposition import generate_latest

from libs.errors import Reason, TokenwayError
from libs.generation.question import Question
from libs.money import Usage
from libs.testing.clock import ManualClock
from libs.testing.runtime import Recorded, recorded_runtime
from services.inference.adapters.gen_ai_probe import GenAiProbe
from services.inference.adapters.otel_probe import OtelProbe
from services.inference.domain.answer import Delta, Finished, FinishReason, Started
from services.inference.domain.model import EngineRequest
from services.inference.domain.ports import EngineSpan

REQUEST = EngineRequest("r-1", "tiny", Question("Hello"))
LABELS = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "tokenway",
    "gen_ai_request_model": "tiny",
}
DURATION = "gen_ai_server_request_duration_seconds"
FIRST_TOKEN = "gen_ai_server_time_to_first_token_seconds"
PER_TOKEN = "gen_ai_server_time_per_output_token_seconds"


def exposed(recorded: Recorded) -> str:
    """In OpenMetrics, which alone has exemplars."""
    exposition: bytes = generate_latest(recorded.runtime.registry)  # type: ignore[no-untyped-call] # untyped
    return exposition.decode()


@dataclass
class Watched:
    recorded: Recorded = field(default_factory=recorded_runtime)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        spans = OtelProbe(tracer=self.recorded.runtime.tracer, clock=self.clock)
        self.probe = GenAiProbe(spans, registry=self.recorded.runtime.registry, clock=self.clock)

    @contextmanager
    def request(self, *first_tokens: int) -> Iterator[EngineSpan]:
        """One whose first token comes after two seconds, with these tokens in its first delta."""
        with self.probe.watching(REQUEST) as span:
            self.clock.advance(2)
            span.saw(Started(7))
            span.saw(Delta(("",) * len(first_tokens), first_tokens))
            yield span

    def finish(self, span: EngineSpan, *, output_tokens: int, after_seconds: float) -> None:
        self.clock.advance(after_seconds)
        span.saw(Finished(FinishReason.STOP, Usage(7, 0, output_tokens)))

    def sample(self, name: str, **labels: str) -> float:
        return self.recorded.sample(name, **LABELS, **labels)


def test_an_answer_is_timed_whole_to_its_first_token_and_per_token() -> None:
    watched = Watched()
    with watched.request(1) as span:
        watched.finish(span, output_tokens=5, after_seconds=2)
    assert watched.sample(f"{DURATION}_sum", error_type="") == 4
    assert watched.sample(f"{FIRST_TOKEN}_sum") == 2
    assert watched.sample(f"{PER_TOKEN}_sum") == 0.5


def test_tokens_that_came_with_the_first_are_not_divided_by() -> None:
    watched = Watched()
    with watched.request(2, 1) as span:
        watched.finish(span, output_tokens=5, after_seconds=1)
    assert watched.sample(f"{PER_TOKEN}_sum") == 0.5


def test_an_answer_in_one_delta_has_no_time_per_token() -> None:
    watched = Watched()
    with watched.request(3) as span:
        watched.finish(span, output_tokens=3, after_seconds=1)
    assert watched.sample(f"{FIRST_TOKEN}_count") == 1
    assert watched.sample(f"{PER_TOKEN}_count") == 0


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        (TokenwayError(Reason.ENGINE_DEAD, "dead"), "ENGINE_DEAD"),
        (ZeroDivisionError(), "INTERNAL"),
        (asyncio.CancelledError(), "CANCELLED"),
        (GeneratorExit(), "CANCELLED"),
    ],
)
def test_an_answer_without_its_end_is_counted_by_its_reason_alone(error: BaseException, error_type: str) -> None:
    watched = Watched()
    with suppress(type(error)), watched.request(1):
        raise error
    assert watched.sample(f"{DURATION}_count", error_type=error_type) == 1
    assert watched.sample(f"{DURATION}_count", error_type="") == 0
    assert watched.sample(f"{FIRST_TOKEN}_count") == 0


def test_a_bucket_leads_to_the_trace_of_a_request_in_it() -> None:
    watched = Watched()
    with watched.recorded.runtime.tracer.start_as_current_span("rpc") as rpc, watched.request(1) as span:
        watched.finish(span, output_tokens=5, after_seconds=2)
    assert f'# {{trace_id="{rpc.get_span_context().trace_id:032x}"}} 4.0' in exposed(watched.recorded)


def test_a_trace_that_is_not_kept_is_led_to_by_none() -> None:
    watched = Watched(recorded_runtime(sampling_ratio=0))
    with watched.recorded.runtime.tracer.start_as_current_span("rpc"), watched.request(1) as span:
        watched.finish(span, output_tokens=5, after_seconds=2)
    assert "trace_id" not in exposed(watched.recorded)
