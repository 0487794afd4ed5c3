"""Every implementation of the Engine port, each with four turns and 512 tokens of context, answering without end."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from libs.clock import Clock
from libs.generation.question import Question, Sampling
from libs.settings.schema import OpenAiEngine as OpenAiSettings
from libs.settings.schema import VllmEngine as VllmSettings
from libs.testing.llama import make_tiny_model
from services.inference.adapters.openai_engine import OpenAiEngine
from services.inference.adapters.scripted_engine import ScriptedEngine
from services.inference.adapters.scripted_plan import Script
from services.inference.adapters.vllm_engine import VllmEngine
from services.inference.domain.answer import Delta, Event, Finished, Started
from services.inference.domain.model import EngineRequest
from services.inference.domain.ports import Engine

MODEL = "tiny"
TURNS = 4
MAX_MODEL_TOKENS = 512


@asynccontextmanager
async def scripted_engine(script: Script | None = None) -> AsyncIterator[ScriptedEngine]:
    """About as fast as the other one."""
    usual = Script(
        tokens_per_second=1_000,
        first_token_seconds=0,
        answer_tokens=100_000,
        max_model_tokens=MAX_MODEL_TOKENS,
        max_sequences=TURNS,
        allow_directives=True,
    )
    engine = ScriptedEngine(script or usual, model=MODEL)
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def vllm_engine(folder: Path, **settings: object) -> AsyncIterator[VllmEngine]:
    """Real vLLM on the CPU, on a model of random weights that is made in `folder`."""
    usual = {
        "kind": "vllm",
        "model_path": str(make_tiny_model(folder)),
        "max_num_seqs": TURNS,
        "max_model_len": MAX_MODEL_TOKENS,
        "kv_cache_memory_bytes": 64 << 20,
        "max_num_queued_requests": 8,
    }
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())  # as the process does; else vLLM's becomes the global one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what vLLM and torch import deprecates much
        engine = await VllmEngine.start(VllmSettings.model_validate(usual | settings), model=MODEL)
    try:
        yield engine
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # vLLM leaves its ZeroMQ context to the garbage collector
            await engine.close()


@asynccontextmanager
async def openai_engine(
    url: str, *, environment: Mapping[str, str] | None = None, clock: Clock | None = None, **settings: object
) -> AsyncIterator[OpenAiEngine]:
    """Asks whoever answers there over real HTTP on loopback."""
    usual = {
        "kind": "openai",
        "base_url": url,
        "model": "provider/tiny",
        "max_num_seqs": TURNS,
        "max_model_len": MAX_MODEL_TOKENS,
    }
    chosen = OpenAiSettings.model_validate(usual | settings)
    engine = OpenAiEngine(chosen, model=MODEL, environment=environment or {}, clock=clock)
    try:
        yield engine
    finally:
        await engine.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, taken apart."""

    started: Started
    deltas: tuple[Delta, ...]
    finished: Finished

    @property
    def text(self) -> str:
        return "".join(piece for delta in self.deltas for piece in delta.text)

    @property
    def tokens(self) -> int:
        return sum(count for delta in self.deltas for count in delta.token_counts)


def request(
    prompt: str = "Tell me about rivers", *, priority: int = 0, request_id: str = "r", **sampling: object
) -> EngineRequest:
    """A greedy one, of a few tokens."""
    chosen = Sampling(**({"temperature": 0.0, "max_tokens": 8} | sampling))  # type: ignore[arg-type]
    return EngineRequest(request_id, MODEL, Question(prompt, chosen), priority=priority)


async def events_of(engine: Engine, asked: EngineRequest) -> list[Event]:
    return [event async for event in engine.generate(asked, trace_headers={})]


async def answer_of(engine: Engine, asked: EngineRequest) -> Answer:
    """The answer; an AssertionError if its events do not make one."""
    started, *deltas, finished = await events_of(engine, asked)
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert all(isinstance(each, Delta) for each in deltas)
    return Answer(started, tuple(each for each in deltas if isinstance(each, Delta)), finished)


class Occupied:
    """Requests that keep all turns taken until they are told to leave; they would take their whole context."""

    def __init__(self, engine: Engine, *, count: int = TURNS) -> None:
        self._engine = engine
        self._count = count
        self._events = [0] * count
        self._more = asyncio.Condition()
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Occupied:
        self.tasks = [asyncio.create_task(self._run(index)) for index in range(self._count)]
        async with self._more:
            await self._more.wait_for(lambda: all(self._events))
        return self

    async def go_on(self, events: int) -> None:
        """Returns when so many more have come from all of them together: the engine has gone on meanwhile."""
        enough = sum(self._events) + events
        async with self._more:
            await self._more.wait_for(lambda: sum(self._events) >= enough)

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _run(self, index: int) -> None:
        asked = request("Keep on", max_tokens=MAX_MODEL_TOKENS)
        async for _ in self._engine.generate(asked, trace_headers={}):
            async with self._more:
                self._events[index] += 1
                self._more.notify_all()
