"""Answers in messages: what is stored of one comes back field by field."""

from __future__ import annotations

from libs.errors import FieldViolation, invalid_request
from libs.money import Usage
from libs.rpc.money import usage_from_proto, usage_to_proto
from services.cache.domain.model import (
    AnswerEnd,
    AnswerPart,
    FinishReason,
    TokenLogprob,
    TopLogprobs,
)
from tokenway.cache.v1 import cache_pb2
from tokenway.common.v1 import generation_pb2


def part_from_proto(delta: generation_pb2.Delta) -> AnswerPart:
    """INVALID_REQUEST where texts and counts do not tally: joined, they would all slip."""
    if len(delta.text) != len(delta.token_counts):
        wrong = f"has {len(delta.token_counts)} entries for {len(delta.text)} pieces of text: give one a piece"
        raise invalid_request(FieldViolation("delta.token_counts", wrong))
    return AnswerPart(
        text=tuple(delta.text),
        token_counts=tuple(delta.token_counts),
        logprobs=tuple(_top_logprobs_from_proto(each) for each in delta.logprobs),
        reasoning=tuple(delta.reasoning),
        calls_tools=bool(delta.tool_calls),
    )


def delta_to_proto(part: AnswerPart) -> generation_pb2.Delta:
    """Some of an answer, or all of it."""
    return generation_pb2.Delta(
        text=part.text,
        token_counts=part.token_counts,
        logprobs=[_top_logprobs_to_proto(each) for each in part.logprobs],
        reasoning=part.reasoning,
    )


def end_from_proto(stored: cache_pb2.Stored) -> AnswerEnd:
    """Any reason but STOP, an unknown one too, is OTHER; and whatever is meant for followers alone."""
    stopped = stored.finish_reason == generation_pb2.FINISH_REASON_STOP and not stored.for_followers_alone
    return AnswerEnd(
        finish_reason=FinishReason.STOP if stopped else FinishReason.OTHER,
        usage=usage_from_proto(stored.usage),
    )


def stored_to_proto(usage: Usage) -> cache_pb2.Stored:
    """The end of an answer: what is stored always ended by itself."""
    return cache_pb2.Stored(finish_reason=generation_pb2.FINISH_REASON_STOP, usage=usage_to_proto(usage))


def _top_logprobs_from_proto(message: generation_pb2.TopLogprobs) -> TopLogprobs:
    return TopLogprobs(
        chosen=_logprob_from_proto(message.chosen), top=tuple(_logprob_from_proto(each) for each in message.top)
    )


def _logprob_from_proto(message: generation_pb2.TokenLogprob) -> TokenLogprob:
    return TokenLogprob(token=message.token, logprob=message.logprob)


def _top_logprobs_to_proto(logprobs: TopLogprobs) -> generation_pb2.TopLogprobs:
    return generation_pb2.TopLogprobs(
        chosen=_logprob_to_proto(logprobs.chosen), top=[_logprob_to_proto(each) for each in logprobs.top]
    )


def _logprob_to_proto(logprob: TokenLogprob) -> generation_pb2.TokenLogprob:
    return generation_pb2.TokenLogprob(token=logprob.token, logprob=logprob.logprob)
