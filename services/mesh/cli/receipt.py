"""A receipt in one line."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.duration_pb2 import Duration

from libs.money import usd
from tokenway.common.v1 import generation_pb2
from tokenway.common.v1.money_pb2 import CACHE_KIND_SEMANTIC, CachedFrom, Receipt
from tokenway.router.v1.router_pb2 import Finished

_CUT: dict[int, str] = {
    generation_pb2.FINISH_REASON_LENGTH: "cut at the most tokens",
    generation_pb2.FINISH_REASON_BUDGET: "cut by the budget",
    generation_pb2.FINISH_REASON_BUDGET_UNAVAILABLE: "cut: the budget could not be asked for more",
    generation_pb2.FINISH_REASON_CONTENT_FILTER: "stopped by a content filter",
}


def in_one_line(finished: Finished, *, note: str = "") -> str:
    """Model, tokens, money, time to the first token, why this model, the request's id; what is unusual stands first."""
    return " · ".join(each for each in (note, *_parts(finished.receipt, finished.finish_reason)) if each)


def _parts(receipt: Receipt, reason: int) -> Iterator[str]:
    if reason in _CUT:
        yield _CUT[reason]
    if receipt.HasField("cached"):
        yield _from_the_cache(receipt.cached)
    yield receipt.model
    if receipt.HasField("cached"):
        yield "no tokens made"
    else:
        yield f"{receipt.usage.input_tokens} + {receipt.usage.output_tokens} tokens"
    yield usd(receipt.cost_micro_usd)
    if receipt.HasField("time_to_first_token"):
        yield f"first token {_milliseconds(receipt.time_to_first_token)}"
    if receipt.HasField("duration"):
        yield f"all {_milliseconds(receipt.duration)}"
    if receipt.attempts > 1:
        yield f"{receipt.attempts} attempts"
    if receipt.why:
        yield receipt.why
    yield f"request {receipt.request_id}"


def _from_the_cache(origin: CachedFrom) -> str:
    like = f", asked in other words (cosine {origin.similarity:.3f})" if origin.kind == CACHE_KIND_SEMANTIC else ""
    return f"from the cache, {_seconds(origin.age):.0f} s old{like}"


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _milliseconds(duration: Duration) -> str:
    seconds = _seconds(duration)
    return f"{seconds * 1_000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"
