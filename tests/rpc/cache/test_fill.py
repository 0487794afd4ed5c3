"""Fill, over a real socket: no unfinished answer is ever served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.errors import Reason, TokenwayError
from libs.testing.left_open import left_open
from tests.rpc.cache.served import FILL, MAX_ANSWER_BYTES, STOP, Served, delta, header, question
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import generation_pb2

TOOL_CALL = pb.FillRequest(delta=generation_pb2.Delta(tool_calls=[generation_pb2.ToolCallDelta(index=0, name="f")]))
CUT = pb.FillRequest(stored=pb.Stored(finish_reason=generation_pb2.FINISH_REASON_LENGTH))
FILTERED = pb.FillRequest(stored=pb.Stored(finish_reason=generation_pb2.FINISH_REASON_CONTENT_FILTER))
OF_LATER = pb.FillRequest.FromString(b"\x1a\x02\x08\x63")  # a finish reason 99
NO_END = pb.FillRequest(stored=pb.Stored())


async def test_a_whole_answer_is_stored(cache: Served) -> None:
    assert await cache.fill(header(), delta("Hi"), STOP) == pb.FillResponse(stored=True)
    assert await cache.verdict() == pb.VERDICT_HIT


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ((delta("Hi"),), "unfinished"),
        ((delta("Hi"), CUT), "finish_reason"),
        ((delta("Hi"), FILTERED), "finish_reason"),
        ((delta("Hi"), OF_LATER), "finish_reason"),
        ((delta("Hi"), NO_END), "finish_reason"),
        ((TOOL_CALL, STOP), "tool_calls"),
        ((delta("x" * (MAX_ANSWER_BYTES + 1)), STOP), "too_large"),
        ((pb.FillRequest(), STOP), "unknown_fields"),
        ((pb.FillRequest.FromString(b"\x12\x03\xb8\x3e\x01"), STOP), "unknown_fields"),
    ],
)
async def test_what_is_no_whole_answer_is_not_stored(
    cache: Served, events: tuple[pb.FillRequest, ...], reason: str
) -> None:
    assert await cache.fill(header(), *events) == pb.FillResponse(stored=False, reason=reason)
    assert await cache.verdict() == pb.VERDICT_MISS


async def test_an_answer_to_a_question_that_may_not_be_cached_is_not_stored(cache: Served) -> None:
    response = await cache.fill(header(question(temperature=1)), delta("Hi"), STOP)
    assert response == pb.FillResponse(stored=False, reason="temperature")


@pytest.mark.parametrize("lead_token", ["", "a-lead"])
async def test_what_is_refused_before_its_end_leaves_nothing_open(cache: Served, lead_token: str) -> None:
    first = header()
    first.header.lead_token = lead_token
    with left_open() as left:
        await cache.fill(first, TOOL_CALL, STOP)
    assert not {"_all", "_events", "_Relayed.events", "fill_events", "_parse_each"} & set(left)


async def test_a_fill_that_breaks_off_midway_leaves_nothing(cache: Served) -> None:
    sent = asyncio.Event()

    async def endless() -> AsyncIterator[pb.FillRequest]:
        yield header()
        yield delta("Hi")
        sent.set()
        await asyncio.Event().wait()

    filling = asyncio.create_task(cache.client.unary(FILL, endless()))
    await sent.wait()
    filling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await filling
    assert await cache.verdict() == pb.VERDICT_MISS


async def test_a_fill_that_breaks_off_leaves_the_answer_before_it(cache: Served) -> None:
    await cache.fill(header(), delta("first"), STOP)
    await cache.fill(header(), delta("second"))
    [only] = await cache.lookup()
    assert list(only.found.answer.text) == ["first"]


async def test_of_two_fills_at_once_the_last_whole_one_stands(cache: Served) -> None:
    may_end = asyncio.Event()

    async def slow() -> AsyncIterator[pb.FillRequest]:
        yield header()
        yield delta("slow")
        await may_end.wait()
        yield delta("ly")
        yield STOP

    filling = asyncio.create_task(cache.client.unary(FILL, slow()))
    await cache.fill(header(), delta("fast"), STOP)
    assert [list(event.found.answer.text) for event in await cache.lookup()] == [["fast"]]
    may_end.set()
    await filling
    assert [list(event.found.answer.text) for event in await cache.lookup()] == [["slow", "ly"]]


@pytest.mark.parametrize(
    ("events", "field"),
    [
        ((delta("Hi"), STOP), "event"),
        ((header(), header()), "event"),
        ((header(), STOP, delta("Hi")), "event"),
        ((header(ttl_seconds=0), STOP), "header.ttl"),
        ((header(ttl_seconds=31 * 86_400), STOP), "header.ttl"),
        ((header(tags=["doc"]), STOP), "header.tags[0]"),
        ((header(tags=["a=1", "=1"]), STOP), "header.tags[1]"),
        ((header(tags=["k=" + "x" * 255]), STOP), "header.tags[0]"),
        ((header(tags=[f"k={number}" for number in range(17)]), STOP), "header.tags"),
        ((header(question(organisation="")), STOP), "question.principal.organisation"),
        ((header(), pb.FillRequest(delta=generation_pb2.Delta(text=["a"])), STOP), "delta.token_counts"),
    ],
)
async def test_a_fill_that_makes_no_sense_is_refused_at_its_field(
    cache: Served, events: tuple[pb.FillRequest, ...], field: str
) -> None:
    with pytest.raises(TokenwayError) as caught:
        await cache.fill(*events)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert [each.field for each in caught.value.fields] == [field]
    assert await cache.verdict() == pb.VERDICT_MISS


async def test_an_answer_that_is_refused_early_ends_the_call_before_its_end_has_come(cache: Served) -> None:
    async def endless() -> AsyncIterator[pb.FillRequest]:
        yield header()
        yield TOOL_CALL
        await asyncio.Event().wait()

    assert (await cache.client.unary(FILL, endless())).reason == "tool_calls"
