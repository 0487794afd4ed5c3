"""The inference services behind the Engines port."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from libs.errors import Reason, TokenwayError
from libs.rpc.client import Stream
from libs.rpc.delta import ProtoDelta
from libs.rpc.generation import question_to_proto
from libs.rpc.method import method
from libs.rpc.money import usage_from_proto
from libs.telemetry import names
from services.router.adapters.replicas import Replicas
from services.router.domain.answer import FinishReason
from services.router.domain.ports import Attempt, EngineEvent, EngineFinished, EngineStarted
from tokenway.common.v1 import generation_pb2
from tokenway.inference.v1 import inference_pb2 as pb

_GENERATE = method(pb.DESCRIPTOR, "InferenceService", "Generate", pb.GenerateRequest, pb.GenerateResponse)
_REASONS = {generation_pb2.FinishReason.Value(f"FINISH_REASON_{each}"): each for each in FinishReason}


class InferenceClient:
    """Generates on the replicas of every model. Each attempt is a span `chat MODEL`, the GenAI conventions' name."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    def ready(self, model: str) -> bool:
        return self._replicas.ready(model)

    def replicas(self, model: str) -> int:
        return self._replicas.count(model)

    @asynccontextmanager
    async def generate(self, attempt: Attempt) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        model = attempt.model.name
        request = pb.GenerateRequest(
            request_id=attempt.request_id,
            model=model,
            input=question_to_proto(attempt.ask.question),
            priority=attempt.ask.priority,
            attempt=attempt.number,
        )
        attributes: dict[str, AttributeValue] = {
            names.GEN_AI_OPERATION_NAME: names.OPERATION_CHAT,
            names.GEN_AI_PROVIDER_NAME: names.PROVIDER_TOKENWAY,
            names.GEN_AI_REQUEST_MODEL: model,
            names.GEN_AI_REQUEST_MAX_TOKENS: attempt.ask.max_output_tokens,
            names.ATTEMPT: attempt.number,
        }
        with self._replicas.chosen(model, attempt.tried) as client:
            async with (
                client.stream(_GENERATE, request, span_name=names.chat_span(model), attributes=attributes) as stream,
                aclosing(_events(stream, model)) as events,
            ):
                yield events


async def _events(stream: Stream[pb.GenerateResponse], model: str) -> AsyncGenerator[EngineEvent]:
    """The engine's events. A stream that ends without its last event is not an answer."""
    finished: pb.Finished | None = None
    first = True
    async for message in stream:
        match message.WhichOneof("event"):
            case "delta":
                if first:
                    stream.span.add_event(names.EVENT_FIRST_TOKEN)
                    first = False
                yield ProtoDelta.of(message.delta)
            case "started":
                yield _started(message.started)
            case "finished":
                finished = message.finished
    if finished is None:
        raise TokenwayError(Reason.STREAM_BROKEN, f"{model} ended its stream without a last message")
    reason = _REASONS.get(finished.finish_reason)
    if reason is None:
        unknown = f"{model} ended its answer for reason {finished.finish_reason}, which this version does not know"
        raise TokenwayError(Reason.STREAM_BROKEN, unknown)
    _describe(stream.span, finished, reason)
    yield EngineFinished(reason, usage_from_proto(finished.usage))


def _started(started: pb.Started) -> EngineStarted:
    return EngineStarted(started.input_tokens, min(started.cached_input_tokens, started.input_tokens))


def _describe(span: Span, finished: pb.Finished, reason: FinishReason) -> None:
    span.add_event(names.EVENT_LAST_TOKEN)
    span.set_attribute(names.GEN_AI_USAGE_INPUT_TOKENS, finished.usage.input_tokens)
    span.set_attribute(names.GEN_AI_USAGE_OUTPUT_TOKENS, finished.usage.output_tokens)
    span.set_attribute(names.GEN_AI_RESPONSE_FINISH_REASONS, [reason.lower()])
