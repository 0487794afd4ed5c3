"""An engine that says when it began: python -m tests.chaos.dated_engine --config FILE --model NAME --replica N.

Each WHEN in a prompt becomes the nanosecond in which its generation began, by the clock that all processes of a machine
share: so an answer that is told to echo it says how old it is, wherever it comes from.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from libs.rpc.process import run
from libs.rpc.runtime import Runtime
from libs.rpc.server import RpcServer
from services.inference.adapters.scripted_engine import ScriptedEngine
from services.inference.adapters.scripted_text import prompt_of
from services.inference.config import InferenceConfig
from services.inference.domain.answer import Event
from services.inference.domain.model import EngineRequest
from services.inference.server import make_engine, serve

WHEN = "WHEN"


def _dated(request: EngineRequest) -> EngineRequest:
    prompt = prompt_of(request.question).replace(WHEN, f"t{time.monotonic_ns()}")
    return replace(request, question=replace(request.question, prompt=prompt))


class DatedEngine(ScriptedEngine):
    async def generate(self, request: EngineRequest, *, trace_headers: Mapping[str, str]) -> AsyncGenerator[Event]:
        async with aclosing(super().generate(_dated(request), trace_headers=trace_headers)) as events:
            async for event in events:
                yield event


@asynccontextmanager
async def _serve(config: InferenceConfig, *, runtime: Runtime) -> AsyncIterator[RpcServer]:
    engine = await make_engine(config)
    assert isinstance(engine, ScriptedEngine)
    engine.__class__ = DatedEngine
    async with serve(config, runtime=runtime, engine=engine) as server:
        yield server


if __name__ == "__main__":
    run("inference", InferenceConfig.from_settings, _serve, options=("model", "replica"))
