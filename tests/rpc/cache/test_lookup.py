"""Lookup, over a real socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from libs.errors import Reason, TokenwayError
from libs.telemetry import names
from tests.rpc.cache.served import LOOKUP, STOP, USAGE, Served, delta, header, question
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import generation_pb2, money_pb2, principal_pb2

LOOKUP_SPAN = "tokenway.cache.v1.CacheService/Lookup"
FILL_SPAN = "tokenway.cache.v1.CacheService/Fill"


def server_span(cache: Served, name: str) -> tuple[ReadableSpan, Mapping[str, Any]]:
    """The span that the service made, and its attributes."""
    [found] = [each for each in cache.recorded.spans() if each.name == name and each.kind is SpanKind.SERVER]
    return found, found.attributes or {}


async def test_what_was_never_stored_is_a_miss(cache: Served) -> None:
    [only] = await cache.lookup()
    assert only.found.verdict == pb.VERDICT_MISS


async def test_a_hit_brings_what_was_stored_piece_by_piece(cache: Served) -> None:
    chosen = generation_pb2.TokenLogprob(token="is", logprob=-0.5)
    thought = generation_pb2.Delta(text=[""], token_counts=[2], reasoning=["hm"])
    said = generation_pb2.Delta(
        text=[" is", " so."],
        token_counts=[1, 1],
        logprobs=[generation_pb2.TopLogprobs(chosen=chosen, top=[chosen])] * 2,
    )
    await cache.fill(header(), pb.FillRequest(delta=thought), delta("It"), pb.FillRequest(delta=said), STOP)
    [only] = await cache.lookup()
    stored = generation_pb2.Delta()
    for piece in (thought, delta("It").delta, said):
        stored.MergeFrom(piece)
    assert only.found.verdict == pb.VERDICT_HIT
    assert only.found.answer == stored
    assert only.found.stored == STOP.stored


async def test_a_hit_says_where_it_comes_from(cache: Served) -> None:
    await cache.fill(header(), delta("Hi"), STOP)
    cache.clock.advance(1.5)
    [first, *_] = await cache.lookup()
    cached = first.found.origin
    assert cached.kind == money_pb2.CACHE_KIND_EXACT
    assert cached.source_request_id == "req-1"
    assert cached.age.ToMilliseconds() == 1_500
    assert cached.similarity == 1
    assert cached.original_usage == USAGE


async def test_a_question_that_may_not_be_cached_says_why(cache: Served) -> None:
    [only] = await cache.lookup(question(temperature=0.7))
    assert only.found.verdict == pb.VERDICT_BYPASS
    assert only.found.bypass_reason == "temperature"


@pytest.mark.parametrize(
    "other",
    [
        question("Hello "),
        question(organisation="globex"),
        question(model="large"),
        question(model_revision="2"),
        question(policy_version="2"),
        question(scope=pb.CACHE_SCOPE_KEY),
        question(temperature=0.5, reuse_sampled=True),
    ],
)
async def test_another_question_never_hits(cache: Served, other: pb.Question) -> None:
    await cache.fill(header(), delta("Hi"), STOP)
    assert await cache.verdict(other) == pb.VERDICT_MISS


def with_unknown_field(message: bytes) -> bytes:
    """Field 999, a varint."""
    return message + b"\xb8\x3e\x01"


@pytest.mark.parametrize("place", ["request", "question", "input"])
async def test_a_message_with_fields_of_a_later_version_is_never_cached(cache: Served, place: str) -> None:
    await cache.fill(header(), delta("Hi"), STOP)
    asks = question()
    if place == "input":
        asks.input.MergeFromString(with_unknown_field(b""))
    if place == "question":
        asks.MergeFromString(with_unknown_field(b""))
    request = pb.LookupRequest(question=asks)
    if place == "request":
        request.MergeFromString(with_unknown_field(b""))
    async with cache.client.stream(LOOKUP, request) as stream:
        [only] = [event async for event in stream]
    assert (only.found.verdict, only.found.bypass_reason) == (pb.VERDICT_BYPASS, "unknown_fields")


@pytest.mark.parametrize(("tags", "field"), [(["handbook"], "tags[0]"), ([f"t={n}" for n in range(17)], "tags")])
async def test_what_no_answer_could_be_stored_with_is_refused(cache: Served, tags: list[str], field: str) -> None:
    with pytest.raises(TokenwayError) as caught:
        async with cache.client.stream(LOOKUP, pb.LookupRequest(question=question(), tags=tags)) as stream:
            _ = [each async for each in stream]
    assert [each.field for each in caught.value.fields] == [field]


@pytest.mark.parametrize(
    ("asks", "field"),
    [
        (question(organisation=""), "question.principal.organisation"),
        (pb.Question(principal=principal_pb2.Principal(organisation="acme")), "question.input"),
        (question(scope=99), "question.scope"),
    ],
)
async def test_a_question_without_meaning_is_refused_at_its_field(cache: Served, asks: pb.Question, field: str) -> None:
    with pytest.raises(TokenwayError) as caught:
        await cache.lookup(asks)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert [each.field for each in caught.value.fields] == [field]


async def test_an_answer_that_has_expired_is_a_miss(cache: Served) -> None:
    await cache.fill(header(ttl_seconds=60), delta("Hi"), STOP)
    cache.clock.advance(67)
    assert await cache.verdict() == pb.VERDICT_MISS


async def test_the_span_of_a_hit_tells_of_it_and_links_to_the_one_that_stored_it(cache: Served) -> None:
    await cache.fill(header(), delta("Hi"), STOP)
    await cache.lookup()
    found, of_lookup = server_span(cache, LOOKUP_SPAN)
    filled, of_fill = server_span(cache, FILL_SPAN)
    assert (of_lookup[names.CACHE_VERDICT], of_lookup[names.CACHE_KIND]) == ("hit", "exact")
    assert of_fill[names.CACHE_FILL_RESULT] == "stored"
    assert [link.context.span_id for link in found.links] == [filled.context.span_id]


async def test_the_span_of_a_bypass_says_why(cache: Served) -> None:
    await cache.lookup(question(temperature=1))
    _, attributes = server_span(cache, LOOKUP_SPAN)
    assert (attributes[names.CACHE_VERDICT], attributes[names.CACHE_BYPASS_REASON]) == ("bypass", "temperature")
