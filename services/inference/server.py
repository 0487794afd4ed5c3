"""The composition root: one engine, one port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from libs.background import running
from libs.rpc.routes import Route
from libs.rpc.runtime import Runtime
from libs.rpc.server import RpcServer
from libs.settings.schema import OpenAiEngine as OpenAiSettings
from libs.settings.schema import VllmEngine as VllmSettings
from services.inference.adapters.gen_ai_probe import GenAiProbe
from services.inference.adapters.gpu_gauges import GpuGauges
from services.inference.adapters.load_gauges import LoadGauges
from services.inference.adapters.nvml_gpus import NvmlGpus
from services.inference.adapters.openai_engine import OpenAiEngine
from services.inference.adapters.otel_probe import OtelProbe
from services.inference.adapters.scripted_engine import ScriptedEngine
from services.inference.adapters.scripted_plan import Script
from services.inference.adapters.vllm_engine import VllmEngine
from services.inference.config import InferenceConfig
from services.inference.domain.generate import Generator
from services.inference.domain.ports import Engine, Gpus
from services.inference.domain.watch import LoadWatch
from services.inference.transport.servicer import InferenceServicer, inference_routes


@asynccontextmanager
async def serve(
    config: InferenceConfig, *, runtime: Runtime, engine: Engine | None = None, gpus: Gpus | None = None
) -> AsyncIterator[RpcServer]:
    """Serves while the block runs. An engine that is given is used, and closed like one that is made here."""
    async with AsyncExitStack() as stack:
        engine = engine or await make_engine(config)
        stack.push_async_callback(engine.close)
        for gauges in (LoadGauges(engine.load), GpuGauges(gpus or NvmlGpus())):
            runtime.registry.register(gauges)
            stack.callback(runtime.registry.unregister, gauges)
        watch = LoadWatch(engine=engine)
        server = RpcServer(
            name="inference",
            listen=config.listen,
            routes=_routes(config, runtime, engine, watch),
            runtime=runtime,
            drain_seconds=config.drain_seconds,
        )
        await stack.enter_async_context(server)
        stack.callback(watch.drain)  # before the server drains, so that routers hear of it
        await stack.enter_async_context(running(_failing_with(engine, server), name="engine"))
        yield server


async def make_engine(config: InferenceConfig) -> Engine:
    """The engine that the configuration names."""
    engine = config.engine
    if isinstance(engine, VllmSettings):
        return await VllmEngine.start(engine, model=config.model.name)
    if isinstance(engine, OpenAiSettings):
        return OpenAiEngine(engine, model=config.model.name)
    script = Script(
        tokens_per_second=engine.tokens_per_second,
        first_token_seconds=engine.first_token_seconds,
        answer_tokens=engine.answer_tokens,
        max_model_tokens=engine.max_model_len,
        max_sequences=engine.max_num_seqs,
        made_tokens_file=engine.made_tokens_file,
        allow_directives=engine.allow_directives,
    )
    return ScriptedEngine(script, model=config.model.name)


def _routes(config: InferenceConfig, runtime: Runtime, engine: Engine, watch: LoadWatch) -> tuple[Route, ...]:
    spans = OtelProbe(tracer=runtime.tracer, clock=runtime.clock)
    probe = GenAiProbe(spans, registry=runtime.registry, clock=runtime.clock)
    servicer = InferenceServicer(
        model=config.model,
        engine=engine,
        generator=Generator(model=config.model.name, engine=engine, probe=probe),
        watch=watch,
    )
    return inference_routes(servicer)


async def _failing_with(engine: Engine, server: RpcServer) -> None:
    """A dead engine fails the server, which ends the process."""
    await server.fail(await asyncio.shield(engine.death))
