"""An engine that makes words at a given pace: for tests, load and dry runs. It answers nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from itertools import islice

from libs.errors import Reason, TokenwayError
from libs.generation.question import Question
from libs.money import Usage, UsageSource
from services.inference.adapters.made_tokens import MadeTokens
from services.inference.adapters.scripted_plan import Plan, Script, plan
from services.inference.adapters.scripted_text import StopText, prompt_of, tokens_of
from services.inference.adapters.turns import Life, Turns
from services.inference.domain.answer import (
    Delta,
    Event,
    Finished,
    FinishReason,
    Started,
    TokenLogprob,
    TopLogprobs,
)
from services.inference.domain.load import InFlight, Load, Occupancy
from services.inference.domain.model import EngineRequest
from services.inference.domain.ports import EngineInfo

# How often a gate is looked at.
_LOOK_SECONDS = 0.01


class ScriptedEngine:
    """Passes the engines' contract, apart from structured output and tools, which it takes no notice of.

    The event loop's clock is its clock. A consumer that comes late gets what was due meanwhile in one delta.
    """

    def __init__(self, script: Script, *, model: str) -> None:
        self._script = script
        self._model = model
        self._life = Life()
        self._turns = Turns(limit=script.max_sequences, life=self._life)
        self._occupancy = Occupancy(
            max_sequences=script.max_sequences, kv_cache_tokens=script.max_sequences * script.max_model_tokens
        )
        self._made_tokens = MadeTokens(script.made_tokens_file) if script.made_tokens_file else None
        self.info = EngineInfo("scripted", "1", script.max_model_tokens, script.max_sequences)

    @property
    def death(self) -> asyncio.Future[TokenwayError]:
        return self._life.death

    async def count_tokens(self, question: Question) -> int:
        return len(tokens_of(prompt_of(question)))

    def load(self) -> Load:
        return self._occupancy.load()

    async def load_change(self) -> None:
        await self._occupancy.change()

    async def close(self) -> None:
        if self._made_tokens is not None:
            self._made_tokens.close()
            self._made_tokens = None

    async def generate(self, request: EngineRequest, *, trace_headers: Mapping[str, str]) -> AsyncGenerator[Event]:
        planned = plan(request, self._script, model=self._model)
        arrived = _now()
        with self._occupancy.holding() as place:
            async with self._turns.turn(request.priority):
                waited = _now() - arrived
                async with aclosing(self._answer(request, planned, place, waited)) as events:
                    async for event in events:
                        yield event

    async def _answer(
        self, request: EngineRequest, planned: Plan, place: InFlight, waited_seconds: float
    ) -> AsyncGenerator[Event]:
        first_at = _now() + planned.first_token_seconds
        stop = StopText(request.question.sampling.stop)
        made = 0
        while made < planned.length and not stop.found:
            await self._life.sleep_until(first_at + made / planned.tokens_per_second)
            await self._opened(planned, made)
            due = planned.due(_now() - first_at, made=made)
            words = tuple(_until(stop, planned, made, islice(planned.words, due - made)))
            self._record(request.request_id, made, len(words))
            if not made:
                yield Started(planned.input_tokens, 0, waited_seconds, planned.first_token_seconds)
            made += len(words)
            place.kv_cache_tokens = planned.input_tokens + made
            yield _delta(words, request.question.sampling.top_logprobs)
        await self._opened(planned, made)
        if planned.fault and not stop.found:
            await self._suffer(planned.fault)
            return
        reason = FinishReason.STOP if stop.found else planned.reason
        yield Finished(reason, Usage(planned.input_tokens, 0, made, UsageSource.ENGINE))

    async def _opened(self, planned: Plan, made: int) -> None:
        """Returns once the gate is open, if the answer stands before one."""
        if planned.gate is not None and made == planned.gate_after:
            while not planned.gate.exists():  # of a test: a thread would cost more than the look
                await self._life.sleep_until(_now() + _LOOK_SECONDS)

    async def _suffer(self, fault: str) -> None:
        """Raises, hangs, or returns: then the stream ends as it should not."""
        if fault == "fault:stall_after":
            await self._life.sleep_for_ever()
        about = {"model": self._model}
        if fault == "fault:cut_after":
            raise TokenwayError(Reason.STREAM_BROKEN, f"{self._model} broke off in mid-answer", about)
        if fault == "fault:die_after":
            self._life.end(TokenwayError(Reason.ENGINE_DEAD, f"the engine of {self._model} died: ask another", about))
            raise self.death.result()

    def _record(self, request_id: str, first: int, count: int) -> None:
        if self._made_tokens is not None:
            self._made_tokens.write(request_id, first=first, count=count)


def _until(stop: StopText, planned: Plan, made: int, words: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Each word with what may go out after it, until a stop sequence has come."""
    for index, word in enumerate(words, start=made + 1):
        yield word, stop.take(word, last=index == planned.length and not planned.fault)
        if stop.found:
            return


def _delta(words: tuple[tuple[str, str], ...], top_logprobs: int) -> Delta:
    certain = (TokenLogprob(word, 0.0) for word, _ in words)
    logprobs = tuple(TopLogprobs(each, (each,)) for each in certain) if top_logprobs else ()
    return Delta(tuple(text for _, text in words), (1,) * len(words), logprobs)


def _now() -> float:
    return asyncio.get_running_loop().time()
