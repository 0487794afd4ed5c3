"""Invalidate, over a real socket."""

from __future__ import annotations

import pytest

from libs.errors import Reason, TokenwayError
from tests.rpc.cache.served import INVALIDATE, LOOKUP, STOP, Served, delta, header, question
from tokenway.cache.v1 import cache_pb2 as pb


@pytest.fixture
async def filled(cache: Served) -> Served:
    """Two answers of acme, one of globex."""
    await cache.fill(header(tags=["doc=1"]), delta("Hi"), STOP)
    await cache.fill(header(question(model="large")), delta("Hi"), STOP)
    await cache.fill(header(question(organisation="globex"), tags=["doc=1"]), delta("Hi"), STOP)
    return cache


@pytest.mark.parametrize(
    ("request_", "dropped", "stays"),
    [
        (pb.InvalidateRequest(organisation="acme", all=True), 2, []),
        (pb.InvalidateRequest(organisation="acme", model="small"), 1, ["large"]),
        (pb.InvalidateRequest(organisation="acme", model="small", model_revision="1"), 1, ["large"]),
        (pb.InvalidateRequest(organisation="acme", model="small", model_revision="2"), 0, ["small", "large"]),
        (pb.InvalidateRequest(organisation="acme", tag="doc=1"), 1, ["large"]),
        (pb.InvalidateRequest(organisation="acme", tag="doc=2"), 0, ["small", "large"]),
        (pb.InvalidateRequest(organisation="nobody", all=True), 0, ["small", "large"]),
    ],
)
async def test_what_is_named_is_dropped_and_nothing_else(
    filled: Served, request_: pb.InvalidateRequest, dropped: int, stays: list[str]
) -> None:
    assert await filled.unary(INVALIDATE, request_) == pb.InvalidateResponse(dropped=dropped)
    models = ("small", "large")
    hits = [name for name in models if await filled.verdict(question(model=name)) == pb.VERDICT_HIT]
    assert hits == stays
    assert await filled.verdict(question(organisation="globex")) == pb.VERDICT_HIT


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.InvalidateRequest(all=True), "organisation"),
        (pb.InvalidateRequest(organisation="acme"), "what"),
        (pb.InvalidateRequest(organisation="acme", all=False), "what"),
        (pb.InvalidateRequest(organisation="acme", model=""), "what"),
        (pb.InvalidateRequest(organisation="acme", tag=""), "what"),
        # None of these can be an answer's, and the audit's log would have them whole.
        (pb.InvalidateRequest(organisation="acme", tag="handbook"), "tag"),
        (pb.InvalidateRequest(organisation="acme", tag="doc=" + "x" * 256), "tag"),
        (pb.InvalidateRequest(organisation="acme", all=True, model_revision="1"), "model_revision"),
        (pb.InvalidateRequest(organisation="acme", model="x" * 257), "model"),
        (pb.InvalidateRequest(organisation="acme", model="small", model_revision="x" * 257), "model_revision"),
    ],
)
async def test_a_request_that_names_nothing_drops_nothing(
    filled: Served, request_: pb.InvalidateRequest, field: str
) -> None:
    with pytest.raises(TokenwayError) as caught:
        await filled.unary(INVALIDATE, request_)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert [each.field for each in caught.value.fields] == [field]
    assert await filled.verdict() == pb.VERDICT_HIT


@pytest.mark.parametrize(
    ("request_", "stored"),
    [
        (pb.InvalidateRequest(organisation="acme", all=True), False),
        (pb.InvalidateRequest(organisation="acme", model="small"), False),
        (pb.InvalidateRequest(organisation="acme", tag="doc=1"), False),
        (pb.InvalidateRequest(organisation="acme", model="large"), True),
        (pb.InvalidateRequest(organisation="globex", all=True), True),
    ],
)
async def test_an_answer_that_was_being_generated_is_not_stored_afterwards(
    cache: Served, request_: pb.InvalidateRequest, stored: bool
) -> None:
    given = header(tags=["doc=1"], as_of=await cache.as_of())
    await cache.unary(INVALIDATE, request_)
    response = await cache.fill(given, delta("Hi"), STOP)
    assert (response.stored, response.reason) == (stored, "" if stored else "invalidated")
    assert await cache.verdict() == (pb.VERDICT_HIT if stored else pb.VERDICT_MISS)
    assert (await cache.fill(header(as_of=await cache.as_of()), delta("Hi"), STOP)).stored


async def test_who_refreshes_is_told_of_which_drops_and_finds_nothing(filled: Served) -> None:
    await filled.unary(INVALIDATE, pb.InvalidateRequest(organisation="acme", model="large"))
    async with filled.client.stream(LOOKUP, pb.LookupRequest(question=question(), refresh=True)) as stream:
        [found] = [each.found async for each in stream]
    assert (found.verdict, found.bypass_reason) == (pb.VERDICT_BYPASS, "refresh")
    assert (await filled.fill(header(as_of=found.as_of), delta("Anew"), STOP)).stored
