"""What the domain needs of the world outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from libs.errors import TokenwayError
from libs.generation.question import Question
from services.inference.domain.answer import Event
from services.inference.domain.load import Load
from services.inference.domain.model import EngineRequest


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What runs: "vllm", "scripted" or "openai", its version, and how large prompt and answer together may be."""

    engine: str
    version: str
    max_model_tokens: int
    max_sequences: int


class Engine(Protocol):
    """Runs one model. tests/contract/test_engine.py holds every engine to this text."""

    @property
    def info(self) -> EngineInfo:
        """Fixed for the life of the engine."""
        ...

    @property
    def death(self) -> asyncio.Future[TokenwayError]:
        """Done, with ENGINE_DEAD, from the moment the engine can never answer again. `close` leaves it alone."""
        ...

    def generate(self, request: EngineRequest, *, trace_headers: Mapping[str, str]) -> AsyncGenerator[Event]:
        """Streams one answer: Started, at least one Delta, Finished; nothing is yielded before the first token.

        The request has passed `validate`. A prompt that leaves no room for one token is CONTEXT_TOO_LONG;
        `max_tokens` beyond the room there is means all of it, and the answer then ends with LENGTH. A stop sequence
        ends the answer before itself and may be spread over tokens. At temperature 0 the same question gets the same
        answer. Text is never held back longer than a stop sequence or a character needs.

        Closing the generator, or cancelling the task that iterates it, ends the engine's work on it before anything
        else is begun in its place. An engine that dies fails every generator with ENGINE_DEAD at once; one that has
        too much waiting refuses with QUEUE_FULL; what it cannot do for this question is INVALID_REQUEST.

        An engine that asks a remote provider cannot count before the provider does: it estimates the prompt, takes the
        end that the provider gives for one, and passes `max_tokens` on as it is.

        `trace_headers` are W3C Trace Context's, the parent of the engine's own spans.
        """
        ...

    async def count_tokens(self, question: Question) -> int:
        """Tokens of the prompt, template included: what `Started.input_tokens` would be."""
        ...

    def load(self) -> Load:
        """As of now, without waiting. Any thread may ask."""
        ...

    async def load_change(self) -> None:
        """Returns once a request has come, begun or gone after this call."""
        ...

    async def close(self) -> None:
        """Ends the engine and whatever runs for it. Idempotent. Drain first: what still runs fails."""
        ...


class EngineSpan(Protocol):
    """The span of one request's time in the engine."""

    @property
    def trace_headers(self) -> Mapping[str, str]:
        """W3C Trace Context of this span, for the engine's own."""
        ...

    def saw(self, event: Event) -> None:
        """Notes an event; cheap, for it is called for each."""
        ...


class Probe(Protocol):
    """Watches requests; never changes what happens to them."""

    def watching(self, request: EngineRequest) -> AbstractContextManager[EngineSpan]:
        """A span from entry to exit, however that comes; an exception marks it and passes on."""
        ...


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU at one moment; its id is its number on this machine."""

    gpu_id: str
    utilization_percent: float
    memory_used_bytes: int


class Gpus(Protocol):
    """The GPUs of this machine."""

    def read(self) -> tuple[GpuReading, ...]:
        """Every GPU that answers; none where there is none, which is no error. May block for as long as a driver does,
        so the event loop's thread never calls it; no two threads do at once.
        """
        ...
