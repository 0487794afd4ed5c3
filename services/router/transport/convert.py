"""The domain's answers as messages. Total: every value has a form on the wire."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from libs.rpc.delta import ProtoDelta
from libs.rpc.money import price_to_proto, usage_to_proto
from services.router.domain.answer import (
    CachedFrom,
    CacheKind,
    CacheVerdict,
    Event,
    Finished,
    FinishReason,
    Outcome,
    Receipt,
    Started,
)
from services.router.domain.cache_explanation import CacheExplanation
from services.router.domain.catalogue import Model
from services.router.domain.route import Plan, Verdict
from tokenway.common.v1 import generation_pb2, model_pb2, money_pb2
from tokenway.router.v1 import admin_pb2
from tokenway.router.v1 import router_pb2 as pb

_FINISH_REASONS = {each: generation_pb2.FinishReason.Value(f"FINISH_REASON_{each}") for each in FinishReason}
_OUTCOMES = {each: money_pb2.Outcome.Value(f"OUTCOME_{each}") for each in Outcome}
_CACHE_KINDS = {each: money_pb2.CacheKind.Value(f"CACHE_KIND_{each}") for each in CacheKind}
_VERDICTS = {each: pb.CacheVerdict.Value(f"CACHE_VERDICT_{each}") for each in CacheVerdict}


def event_to_proto(event: Event) -> pb.StreamGenerateResponse:
    match event:
        case Started():
            return pb.StreamGenerateResponse(started=_started(event))
        case Finished():
            return pb.StreamGenerateResponse(finished=_finished(event))
        case ProtoDelta(message):
            return pb.StreamGenerateResponse(delta=message)
    raise TypeError(f"{type(event).__name__} did not come from this mesh")


def receipt_to_proto(receipt: object) -> Message:
    """Also the way in which a receipt becomes a detail of a failed call."""
    if not isinstance(receipt, Receipt):
        raise TypeError(f"{type(receipt).__name__} is no receipt")
    message = money_pb2.Receipt(
        request_id=receipt.request_id,
        reservation_id=receipt.reservation_id,
        model=receipt.model,
        why=receipt.why,
        usage=usage_to_proto(receipt.usage),
        price=price_to_proto(receipt.price),
        cost_micro_usd=receipt.cost_micro_usd,
        outcome=_OUTCOMES[receipt.outcome],
        duration=_duration(receipt.duration_seconds),
        attempts=receipt.attempts,
        settled=receipt.settled,
        uncovered_micro_usd=receipt.uncovered_micro_usd,
        key_id=receipt.key_id,
    )
    if receipt.time_to_first_token_seconds is not None:
        message.time_to_first_token.CopyFrom(_duration(receipt.time_to_first_token_seconds))
    if receipt.cached is not None:
        message.cached.CopyFrom(_cached(receipt.cached))
    return message


def plan_to_proto(plan: Plan) -> pb.ExplainRouteResponse:
    candidates = plan.candidates
    return pb.ExplainRouteResponse(
        model=candidates[0].name if candidates else "",
        why=plan.why,
        candidates=[_candidate(each, place) for place, each in enumerate(plan.verdicts, start=1)],
    )


def model_to_proto(model: Model, *, ready: bool) -> model_pb2.Model:
    return model_pb2.Model(
        name=model.name,
        tier=model.tier,
        price=price_to_proto(model.price),
        context_window_tokens=model.context_window_tokens,
        capabilities=sorted(model.capabilities),
        p99_latency=_duration(model.p99_latency_seconds),
        revision=model.revision,
        available=ready,
    )


def _started(event: Started) -> pb.Started:
    return pb.Started(
        request_id=event.request_id, model=event.model, why=event.why, cache_verdict=_VERDICTS[event.cache_verdict]
    )


def _finished(event: Finished) -> pb.Finished:
    return pb.Finished(
        finish_reason=_FINISH_REASONS[event.finish_reason],
        usage=usage_to_proto(event.receipt.usage),
        receipt=receipt_to_proto(event.receipt),  # type: ignore[arg-type]  # a Receipt gives a Receipt
    )


def _cached(origin: CachedFrom) -> money_pb2.CachedFrom:
    return money_pb2.CachedFrom(
        kind=_CACHE_KINDS[origin.kind],
        source_request_id=origin.source_request_id,
        age=_duration(origin.age_seconds),
        similarity=origin.similarity,
        original_usage=usage_to_proto(origin.original_usage),
    )


def _candidate(verdict: Verdict, place: int) -> pb.Candidate:
    return pb.Candidate(
        model=verdict.model.name,
        qualifies=verdict.qualifies,
        reasons=verdict.reasons,
        expected_cost_micro_usd=verdict.expected_cost_micro_usd,
        p99_latency=_duration(verdict.model.p99_latency_seconds),
        rank=place if verdict.qualifies else 0,
    )


def _duration(seconds: float) -> Duration:
    message = Duration()
    message.FromTimedelta(timedelta(seconds=seconds))
    return message


def explanation_to_proto(explanation: CacheExplanation) -> admin_pb2.ExplainCacheResponse:
    return admin_pb2.ExplainCacheResponse(
        model=explanation.model,
        bypass_reason=explanation.bypass_reason,
        semantic_bypass_reason=explanation.semantic_bypass_reason,
        key=explanation.key,
        partition=explanation.partition,
        stored=explanation.stored,
        threshold=explanation.threshold,
        votes_threshold=explanation.votes_threshold,
        neighbours=[
            admin_pb2.CacheNeighbour(
                source_request_id=each.source_request_id,
                similarity=each.similarity,
                guard=each.guard,
                votes=each.votes,
            )
            for each in explanation.neighbours
        ],
    )
