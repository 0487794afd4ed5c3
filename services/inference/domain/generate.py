"""Generate: one question in, one whole answer out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from libs.errors import Reason, TokenwayError
from libs.generation.question import Question
from services.inference.domain.answer import Delta, Event, Finished, Started
from services.inference.domain.model import EngineRequest
from services.inference.domain.ports import Engine, Probe
from services.inference.domain.validate import validate, validate_question


class Generator:
    """Asks the engine, and lets nothing but a well-formed answer through."""

    def __init__(self, *, model: str, engine: Engine, probe: Probe) -> None:
        self._model = model
        self._engine = engine
        self._probe = probe

    async def generate(self, request: EngineRequest) -> AsyncGenerator[Event]:
        """One Started, deltas, exactly one Finished. Whoever leaves early closes it; that ends the engine's work."""
        refuse_if_dead(self._engine)
        validate(request, model=self._model)
        with self._probe.watching(request) as span:
            generating = self._engine.generate(request, trace_headers=span.trace_headers)
            async with aclosing(generating) as events, aclosing(whole(events, model=self._model)) as answer:
                async for event in answer:
                    span.saw(event)
                    yield event

    async def count_tokens(self, question: Question) -> int:
        """Tokens of the prompt, template included."""
        refuse_if_dead(self._engine)
        validate_question(question)
        return await self._engine.count_tokens(question)


def refuse_if_dead(engine: Engine) -> None:
    """ENGINE_DEAD, if it is: nothing that waits for a dead engine ever ends."""
    if engine.death.done():
        raise engine.death.result()


async def whole(events: AsyncIterator[Event], *, model: str) -> AsyncGenerator[Event]:
    """The same events, if they make an answer: an engine that breaks its word fails here, not at the client.

    STREAM_BROKEN when they end before Finished, which is never passed off as an end; INTERNAL when they come in an
    order that the port forbids.
    """
    before: Event | None = None
    async for event in events:
        _in_order(before, event)
        before = event
        yield event
        if isinstance(event, Finished):
            return
    raise TokenwayError(
        Reason.STREAM_BROKEN, f"{model} stopped in mid-answer without saying why: ask again", {"model": model}
    )


def _in_order(before: Event | None, event: Event) -> None:
    if isinstance(event, Started):
        expected = before is None
    elif isinstance(event, Delta):
        expected = before is not None
    else:
        expected = isinstance(before, Delta)
    if not expected:
        first, second = type(before).__name__, type(event).__name__
        raise TokenwayError(Reason.INTERNAL, f"the engine sent {second} after {first}")
