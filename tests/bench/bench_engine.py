"""The inference service on vLLM beside the same AsyncLLM without it, in one process and in turns.

Where vLLM is the build for GPUs the model has the shape of Llama 3 8B and weights that mean nothing; on a CPU it is the
tests' tiny one. The service's callers are processes of their own; those of AsyncLLM are tasks beside it.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from libs.generation.question import Conversation, Message, Question, Role, Sampling, Text
from libs.settings import schema
from libs.testing.llama import LLAMA_8B, make_tiny_model, make_weightless_model
from libs.testing.runtime import recorded_runtime
from services.inference import server
from services.inference.adapters.vllm_arguments import prepare_environment, runs_on_cpu
from services.inference.adapters.vllm_engine import VllmEngine, async_llm, import_vllm
from services.inference.adapters.vllm_prompt import VllmPrompts
from services.inference.adapters.vllm_sampling import sampling_params
from services.inference.config import InferenceConfig
from services.inference.domain.answer import Delta
from services.inference.domain.model import EngineRequest
from tests.bench.callers import noise
from tests.bench.load import Load, Order, Seen, load
from tests.bench.measure import Table, in_turns, percentile, ratio
from tests.mesh.in_process import model, settings

MODEL = "small"
ASYNC_LLM, ENGINE, SERVICE = "AsyncLLM, in its process", "our engine, in its process", "the service, over gRPC"
# One process reads some 25,000 messages a second.
CALLING_PROCESSES = 4


@dataclass(frozen=True, slots=True)
class Size:
    """How much is asked, by how many at once."""

    order: Order
    streams: tuple[int, ...]
    rounds: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One wave of requests, each of which was asked once."""

    seen: Seen
    # Of the process that holds AsyncLLM; vLLM's engine core is another.
    cpu_seconds: float

    @property
    def tokens_per_second(self) -> float:
        return self.seen.tokens / self.seen.seconds


async def bench(*, quick: bool) -> Sequence[Table]:
    size = _size(cpu=runs_on_cpu(), quick=quick)
    async with served_engine(max_streams=max(size.streams)) as served:
        ways = {ASYNC_LLM: served.ask_async_llm, ENGINE: served.ask_engine, SERVICE: served.ask_service}
        cases: dict[tuple[str, int], Callable[[], Coroutine[Any, Any, Figures]]] = {
            (way, streams): partial(ask, replace(size.order, clients=streams))
            for streams in size.streams
            for way, ask in ways.items()
        }
        figures = await in_turns(cases, rounds=size.rounds)
    return (_table(figures, size),)


def _size(*, cpu: bool, quick: bool) -> Size:
    order = Order("inference", clients=0, seconds=0, tokens=64 if cpu else 256, prompt_bytes=64 if cpu else 256)
    streams = (8, 32) if cpu else (64, 256, 512)
    return Size(order, streams, rounds=1 if quick else 5 if cpu else 3)


@dataclass(frozen=True, slots=True)
class Served:
    """One AsyncLLM, and three ways to ask it."""

    llm: Any
    engine: VllmEngine
    callers: tuple[Load, ...]

    async def ask_async_llm(self, order: Order) -> Figures:
        prompts = VllmPrompts(self.llm.renderer)
        questions = [_question(order) for _ in range(order.clients)]
        # Before the clock starts: what vLLM makes of a prompt is the service's work too, but not AsyncLLM's.
        asked = [(each, await prompts.token_ids(each)) for each in questions]
        return await _timed(_wave([partial(self._of_async_llm, *each) for each in asked]))

    async def ask_engine(self, order: Order) -> Figures:
        return await _timed(_wave([partial(self._of_engine, _question(order)) for _ in range(order.clients)]))

    async def ask_service(self, order: Order) -> Figures:
        share = replace(order, clients=order.clients // len(self.callers))
        return await _timed(_together([caller.carry_out(share) for caller in self.callers]))

    async def _of_async_llm(self, question: Question, ids: list[int]) -> AsyncIterator[int]:
        params = sampling_params(question, max_tokens=question.sampling.max_tokens)
        async with aclosing(
            self.llm.generate({"type": "token", "prompt_token_ids": ids}, params, noise(16))
        ) as outputs:
            async for output in outputs:
                yield len(output.outputs[0].token_ids)

    async def _of_engine(self, question: Question) -> AsyncIterator[int]:
        async with aclosing(
            self.engine.generate(EngineRequest(noise(16), MODEL, question), trace_headers={})
        ) as events:
            async for event in events:
                if isinstance(event, Delta):
                    yield sum(event.token_counts)


def _question(order: Order) -> Question:
    """What a caller of the service asks."""
    said = Message(Role.USER, (Text(noise(order.prompt_bytes)),))
    return Question(Conversation((said,)), Sampling(temperature=0, max_tokens=order.tokens))


async def _wave(answers: Sequence[Callable[[], AsyncIterator[int]]]) -> Seen:
    """All of them at once, each to its end."""
    seen, began_at = Seen(), time.perf_counter()
    async with asyncio.TaskGroup() as asking:
        for answer in answers:
            asking.create_task(_read(answer(), seen))
    seen.seconds = time.perf_counter() - began_at
    return seen


async def _read(deltas: AsyncIterator[int], seen: Seen) -> None:
    began_at, first_token_at = time.perf_counter(), 0.0
    async for tokens in deltas:
        first_token_at = first_token_at or time.perf_counter()
        seen.tokens += tokens
        seen.deltas += 1
    seen.first_token_seconds.append(first_token_at - began_at)
    seen.answer_seconds.append(time.perf_counter() - began_at)


async def _together(waves: Sequence[Awaitable[Seen]]) -> Seen:
    """What several processes have seen, which began at the same time."""
    parts = await asyncio.gather(*waves)
    return Seen(
        first_token_seconds=[each for part in parts for each in part.first_token_seconds],
        answer_seconds=[each for part in parts for each in part.answer_seconds],
        tokens=sum(part.tokens for part in parts),
        deltas=sum(part.deltas for part in parts),
        seconds=max(part.seconds for part in parts),
    )


async def _timed(wave: Awaitable[Seen]) -> Figures:
    before = time.process_time()
    seen = await wave
    return Figures(seen, time.process_time() - before)


@asynccontextmanager
async def served_engine(*, max_streams: int) -> AsyncIterator[Served]:
    """AsyncLLM, our engine round it, and the inference service on a unix socket with its callers."""
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        chosen = _engine_settings(folder, cpu=runs_on_cpu(), max_streams=max_streams)
        engine, llm = _engine(chosen)
        mesh = settings(folder, "redis://127.0.0.1:1", models=(model(MODEL, folder, engine=chosen),))
        config = InferenceConfig.from_settings(mesh, model=MODEL)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(server.serve(config, runtime=recorded_runtime().runtime, engine=engine))
            callers = [
                await stack.enter_async_context(load({"inference": config.listen})) for _ in range(CALLING_PROCESSES)
            ]
            yield Served(llm, engine, tuple(callers))


def _engine(chosen: schema.VllmEngine) -> tuple[VllmEngine, Any]:
    """Our engine and the AsyncLLM in it."""
    prepare_environment(cpu=runs_on_cpu())
    trace.set_tracer_provider(TracerProvider())  # as the service's process does; else vLLM's becomes the global one
    version = import_vllm()
    llm = async_llm(chosen, model=MODEL, cpu=runs_on_cpu())
    return VllmEngine(llm, settings=chosen, model=MODEL, version=version), llm


def _engine_settings(folder: Path, *, cpu: bool, max_streams: int) -> schema.VllmEngine:
    usual = {"kind": "vllm", "model_path": str(folder / "model"), "max_model_len": 2_048, "max_num_seqs": max_streams}
    if cpu:
        make_tiny_model(folder / "model")
        return schema.VllmEngine.model_validate(usual)
    make_weightless_model(folder / "model", shape=LLAMA_8B, max_tokens=2_048)
    return schema.VllmEngine.model_validate(usual | {"load_format": "dummy", "dtype": "bfloat16"})


def _table(figures: dict[tuple[str, int], list[Figures]], size: Size) -> Table:
    def row(way: str, streams: int) -> tuple[str, ...]:
        here, alone = figures[way, streams], figures[ASYNC_LLM, streams]
        first = [seconds for each in here for seconds in each.seen.first_token_seconds]
        speeds, beside = ([each.tokens_per_second for each in some] for some in (here, alone))
        tokens, deltas = (sum(getattr(each.seen, what) for each in here) for what in ("tokens", "deltas"))
        return (
            way,
            str(streams),
            f"{statistics.median(speeds):,.0f}",
            f"{ratio(speeds, beside):.3f}",
            f"{min(speeds) / max(speeds):.2f}",
            *(f"{percentile(first, percent) * 1e3:,.0f}" for percent in (50, 99)),
            f"{tokens / deltas:.2f}",
            f"{sum(each.cpu_seconds for each in here) / tokens * 1e6:.1f}",
        )

    columns = ("way", "streams", "tokens/s", "× AsyncLLM", "min/max", "first token p50 ms", "p99", "tokens/delta", "µs")
    shape = "the tests' tiny model, on the CPU" if runs_on_cpu() else "Llama 3 8B's shape, no real weights"
    notes = (
        f"{shape}; {size.order.prompt_bytes} bytes and a template in, {size.order.tokens} tokens out, all at once.",
        f"Medians of {size.rounds} rounds in turns; ratios within a round.",
        "µs: CPU a token of the process that holds AsyncLLM, whoever asks; the engine core is another.",
    )
    return Table("Streams of one engine", columns, tuple(row(*case) for case in figures), notes)
