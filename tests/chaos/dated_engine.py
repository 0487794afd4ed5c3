"""An engine that says when it began: python -m tests.chaos.dated_engine --config FILE --model NAME --replica N.

Each WHEN in a prompt becomes the nanosecond in which its generation began, by the clock that all processes of a machine
share: so an answer that is told to echo it says how old it is, wherever it comes from.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

from libs.rpc.process import run
from services.inference import server
from services.inference.adapters.scripted_engine import ScriptedEngine
from services.inference.adapters.scripted_text import prompt_of
from services.inference.config import InferenceConfig
from services.inference.domain.answer import Event
from services.inference.domain.model import EngineRequest

WHEN = "WHEN"


def dated(count: int) -> str:
    """So many words, to be put into a prompt that tells the engine to echo them."""
    return " ".join([WHEN] * count)


def _dated(request: EngineRequest) -> EngineRequest:
    prompt = prompt_of(request.question).replace(WHEN, f"t{time.monotonic_ns()}")
    return replace(request, question=replace(request.question, prompt=prompt))


class DatedEngine(ScriptedEngine):
    """Passes on what is asked, dated."""

    async def generate(self, request: EngineRequest, *, trace_headers: Mapping[str, str]) -> AsyncGenerator[Event]:
        async with aclosing(super().generate(_dated(request), trace_headers=trace_headers)) as events:
            async for event in events:
                yield event


if __name__ == "__main__":
    setattr(server, "ScriptedEngine", DatedEngine)  # noqa: B010 # mypy takes classes for constants
    run("inference", InferenceConfig.from_settings, server.serve, options=("model", "replica"))
