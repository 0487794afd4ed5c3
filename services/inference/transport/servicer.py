"""tokenway.inference.v1.InferenceService."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from libs.rpc.call import Call
from libs.rpc.generation import question_from_proto
from libs.rpc.routes import Route, routes
from libs.settings.schema import Model
from services.inference.domain.generate import Generator
from services.inference.domain.ports import Engine
from services.inference.domain.validate import PLACE
from services.inference.domain.watch import LoadWatch
from services.inference.transport.convert import (
    event_to_proto,
    model_to_proto,
    report_to_proto,
    request_from_proto,
)
from tokenway.inference.v1 import inference_pb2 as pb


class InferenceServicer:
    """One method an RPC."""

    def __init__(self, *, model: Model, engine: Engine, generator: Generator, watch: LoadWatch) -> None:
        self._model = model
        self._engine = engine
        self._generator = generator
        self._watch = watch

    async def Generate(self, request: pb.GenerateRequest, call: Call) -> AsyncGenerator[pb.GenerateResponse]:
        async with aclosing(self._generator.generate(request_from_proto(request))) as events:
            async for event in events:
                yield event_to_proto(event)

    async def CountTokens(self, request: pb.CountTokensRequest, call: Call) -> pb.CountTokensResponse:
        question = question_from_proto(request.input, place=PLACE)
        return pb.CountTokensResponse(tokens=await self._generator.count_tokens(question))

    async def WatchLoad(self, request: pb.WatchLoadRequest, call: Call) -> AsyncGenerator[pb.WatchLoadResponse]:
        async with aclosing(self._watch.reports()) as reports:
            async for report in reports:
                yield report_to_proto(report)

    async def GetModel(self, request: pb.GetModelRequest, call: Call) -> pb.GetModelResponse:
        return model_to_proto(self._model, self._engine.info, available=not self._engine.death.done())


def inference_routes(servicer: InferenceServicer) -> tuple[Route, ...]:
    """Embed waits for a model that embeds; whoever watches the load does so as long as there is one."""
    return routes(
        pb.DESCRIPTOR,
        "InferenceService",
        servicer,
        not_served=frozenset({"Embed"}),
        endless=frozenset({"WatchLoad"}),
    )
