"""Messages to the domain and back; total in both directions."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from libs.money import Price
from libs.rpc.generation import question_from_proto, question_to_proto
from libs.rpc.money import price_to_proto, usage_to_proto
from libs.settings.schema import Model, micro_usd
from services.inference.domain.answer import Delta, Event, Finished, FinishReason, Started, TokenLogprob, TopLogprobs
from services.inference.domain.model import EngineRequest
from services.inference.domain.ports import EngineInfo
from services.inference.domain.validate import PLACE
from services.inference.domain.watch import Report
from tokenway.common.v1 import generation_pb2, model_pb2, money_pb2
from tokenway.inference.v1 import inference_pb2 as pb

_REASONS = {
    FinishReason.STOP: generation_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: generation_pb2.FINISH_REASON_LENGTH,
    FinishReason.TOOL_CALLS: generation_pb2.FINISH_REASON_TOOL_CALLS,
    FinishReason.CONTENT_FILTER: generation_pb2.FINISH_REASON_CONTENT_FILTER,
}
_NOW = Duration()


def request_from_proto(message: pb.GenerateRequest) -> EngineRequest:
    """INVALID_REQUEST for a question that has no meaning. A caller that counts no attempts makes its first."""
    return EngineRequest(
        request_id=message.request_id,
        model=message.model,
        question=question_from_proto(message.input, place=PLACE),
        priority=message.priority,
        attempt=message.attempt or 1,
        adapter=message.adapter,
    )


def request_to_proto(request: EngineRequest) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        request_id=request.request_id,
        model=request.model,
        input=question_to_proto(request.question),
        priority=request.priority,
        attempt=request.attempt,
        adapter=request.adapter,
    )


def event_to_proto(event: Event) -> pb.GenerateResponse:
    match event:
        case Started():
            started = pb.Started(input_tokens=event.input_tokens, cached_input_tokens=event.cached_input_tokens)
            return pb.GenerateResponse(started=started)
        case Delta():
            return pb.GenerateResponse(delta=_delta_to_proto(event))
        case Finished():
            return pb.GenerateResponse(finished=_finished_to_proto(event))


def report_to_proto(report: Report) -> pb.WatchLoadResponse:
    """The figures are counted where requests come and go, so they have no age."""
    return pb.WatchLoadResponse(
        running=report.load.running,
        waiting=report.load.waiting,
        kv_cache_usage=report.load.kv_cache_usage,
        age=_NOW,
        draining=report.draining,
    )


def model_to_proto(model: Model, info: EngineInfo, *, available: bool) -> pb.GetModelResponse:
    return pb.GetModelResponse(
        model=model_pb2.Model(
            name=model.name,
            tier=model.tier,
            price=_price_to_proto(model),
            context_window_tokens=model.context_window_tokens,
            capabilities=model.capabilities,
            p99_latency=_seconds_to_proto(model.p99_latency_seconds),
            revision=model.revision,
            available=available,
        ),
        engine=info.engine,
        engine_version=info.version,
        max_model_tokens=info.max_model_tokens,
        max_sequences=info.max_sequences,
    )


def _delta_to_proto(delta: Delta) -> generation_pb2.Delta:
    message = generation_pb2.Delta(text=delta.text, token_counts=delta.token_counts, reasoning=delta.reasoning)
    if delta.logprobs:
        message.logprobs.extend(_top_logprobs_to_proto(each) for each in delta.logprobs)
    for call in delta.tool_calls:
        message.tool_calls.add(index=call.index, id=call.id, name=call.name, arguments_json=call.arguments_json)
    return message


def _top_logprobs_to_proto(logprobs: TopLogprobs) -> generation_pb2.TopLogprobs:
    top = [_token_logprob_to_proto(each) for each in logprobs.top]
    return generation_pb2.TopLogprobs(chosen=_token_logprob_to_proto(logprobs.chosen), top=top)


def _token_logprob_to_proto(logprob: TokenLogprob) -> generation_pb2.TokenLogprob:
    return generation_pb2.TokenLogprob(token=logprob.token, logprob=logprob.logprob)


def _finished_to_proto(finished: Finished) -> pb.Finished:
    return pb.Finished(finish_reason=_REASONS[finished.reason], usage=usage_to_proto(finished.usage))


def _price_to_proto(model: Model) -> money_pb2.Price:
    price = model.price
    cached = price.cached_input_usd_per_million_tokens
    return price_to_proto(
        Price(
            micro_usd(price.input_usd_per_million_tokens),
            micro_usd(price.input_usd_per_million_tokens if cached is None else cached),
            micro_usd(price.output_usd_per_million_tokens),
            price.version,
        )
    )


def _seconds_to_proto(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
