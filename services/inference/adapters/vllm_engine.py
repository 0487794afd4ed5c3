"""vLLM in this process: AsyncLLM, its engine core in a process of its own beneath it."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from libs.errors import Reason, TokenwayError
from libs.generation.question import Question, Sampling
from libs.settings.schema import VllmEngine as VllmSettings
from services.inference.adapters.vllm_arguments import (
    SHUTDOWN_SECONDS,
    engine_arguments,
    prepare_environment,
    runs_on_cpu,
)
from services.inference.adapters.vllm_errors import VllmErrors
from services.inference.adapters.vllm_output import VllmAnswer
from services.inference.adapters.vllm_prompt import VllmPrompts
from services.inference.adapters.vllm_sampling import sampling_params
from services.inference.domain.answer import Event
from services.inference.domain.load import Load, Occupancy
from services.inference.domain.model import EngineRequest
from services.inference.domain.ports import EngineInfo
from services.inference.domain.validate import fit

# How long a death can go unnoticed while nothing is being generated; a request in flight hears of it at once.
HEALTH_CHECK_SECONDS = 0.25
_UNSAMPLED = f"00-{1:032x}-{1:016x}-00"


class VllmEngine:
    """One AsyncLLM. `start` makes it; what is given here is closed here."""

    def __init__(self, llm: Any, *, settings: VllmSettings, model: str, version: str) -> None:
        self._llm = llm
        self._model = model
        self._max_waiting = settings.max_num_queued_requests
        self._prompts = VllmPrompts(llm.renderer)
        self._errors = VllmErrors(model=model)
        limits = llm.vllm_config
        self.info = EngineInfo("vllm", version, limits.model_config.max_model_len, limits.scheduler_config.max_num_seqs)
        self._occupancy = Occupancy(
            max_sequences=self.info.max_sequences,
            kv_cache_tokens=limits.cache_config.num_gpu_blocks * limits.cache_config.block_size,
        )
        self.death: asyncio.Future[TokenwayError] = asyncio.get_running_loop().create_future()
        self._watch: asyncio.Task[None] | None = asyncio.create_task(self._watch_health())

    @classmethod
    async def start(cls, settings: VllmSettings, *, model: str) -> Self:
        """Loads the model: seconds on a CPU, minutes for a large one. Blocks the event loop, so start it first.

        The process's tracer provider has to be the global one by now, or vLLM's own would be.
        """
        if not (Path(settings.model_path) / "config.json").is_file():
            raise _cannot_start(settings, "that is no Hugging Face folder, for it has no config.json")
        cpu = runs_on_cpu()
        prepare_environment(cpu=cpu)
        version = import_vllm()
        try:
            engine = cls(async_llm(settings, model=model, cpu=cpu), settings=settings, model=model, version=version)
        except (ValueError, RuntimeError, OSError) as error:
            raise _cannot_start(settings, " ".join(str(error).split())[:500]) from error
        await engine._warm_up()
        return engine

    async def count_tokens(self, question: Question) -> int:
        with self._errors.translated():
            return len(await self._prompts.token_ids(question))

    def load(self) -> Load:
        return self._occupancy.load()

    async def load_change(self) -> None:
        await self._occupancy.change()

    async def generate(self, request: EngineRequest, *, trace_headers: Mapping[str, str]) -> AsyncGenerator[Event]:
        # vLLM before 0.32 queues without limit; after it, it counts by another rule.
        if self.load().waiting >= self._max_waiting:
            raise self._errors.queue_full()
        with self._occupancy.holding() as place, self._errors.translated():
            answer = VllmAnswer(model=self._model, top_logprobs=request.question.sampling.top_logprobs)
            # A generator of vLLM that is left without being closed goes on generating.
            async with aclosing(await self._outputs(request, trace_headers)) as outputs:
                async for output in outputs:
                    for event in answer.events(output):
                        yield event
                    place.kv_cache_tokens = answer.kv_cache_tokens

    async def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is None:
            return
        watch.cancel()
        # To await the task itself would take a cancel that is meant for us for the one that it has had.
        await asyncio.wait({watch})
        logging.getLogger("vllm.v1.engine.async_llm").setLevel(logging.CRITICAL)  # takes every end for a failure
        # In a thread: on the event loop it would hang requests that are still in flight.
        await asyncio.to_thread(self._llm.shutdown, SHUTDOWN_SECONDS + 5)
        self._llm = None
        gc.collect()  # now: its __del__ fails once the interpreter is being torn down

    async def _warm_up(self) -> None:
        """One token for nobody: the first request of an engine takes half a second longer than those after it."""
        question = Question("a", Sampling(max_tokens=1))
        request = EngineRequest(request_id="warm-up", model=self._model, question=question)
        # Of a trace of which nothing is kept.
        async with aclosing(self.generate(request, trace_headers={"traceparent": _UNSAMPLED})) as events:
            async for _ in events:
                pass

    async def _outputs(self, request: EngineRequest, trace_headers: Mapping[str, str]) -> AsyncGenerator[Any]:
        ids = await self._prompts.token_ids(request.question)
        room = fit(
            input_tokens=len(ids),
            max_tokens=request.question.sampling.max_tokens,
            max_model_tokens=self.info.max_model_tokens,
        )
        outputs: AsyncGenerator[Any] = self._llm.generate(
            {"type": "token", "prompt_token_ids": ids},
            sampling_params(request.question, max_tokens=room),
            request.request_id,
            trace_headers=trace_headers,
            priority=request.priority,
        )
        return outputs

    async def _watch_health(self) -> None:
        while not self._llm.errored:  # noqa: ASYNC110 - vLLM tells nobody of its death
            await asyncio.sleep(HEALTH_CHECK_SECONDS)
        self.death.set_result(self._errors.engine_dead())


def import_vllm() -> str:
    """Its version. Apart from whoever holds the engine: something in it keeps the frames that first imported it."""
    logging.getLogger("vllm").setLevel(logging.ERROR)  # it warns of much that is as it should be
    import vllm
    import vllm.v1.engine.async_llm

    version: str = vllm.__version__
    return version


def async_llm(settings: VllmSettings, *, model: str, cpu: bool) -> Any:
    """An AsyncLLM with these settings, once the environment is prepared; raises what vLLM raises."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    known = {each.name for each in fields(AsyncEngineArgs)}
    # vLLM offers a tracer provider of its own, which is warned of and refused; as it should be.
    logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)
    with trace.use_span(_unsampled_span()):
        arguments = AsyncEngineArgs(**engine_arguments(settings, model=model, cpu=cpu, known=known))
        return AsyncLLM.from_engine_args(arguments)


def _unsampled_span() -> NonRecordingSpan:
    """A parent of which nothing is kept: vLLM makes spans of its loading, here and in its own processes."""
    return NonRecordingSpan(SpanContext(trace_id=1, span_id=1, is_remote=False, trace_flags=TraceFlags(0)))


def _cannot_start(settings: VllmSettings, why: str) -> TokenwayError:
    return TokenwayError(Reason.INVALID_REQUEST, f"vLLM cannot run {settings.model_path}: {why}")
