"""A question in other words through the whole mesh, with the real encoder: who gets whose answer, and what it costs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from libs.settings import schema
from tests.mesh.in_process import Mesh, default_mesh, events, limit, organisations, question
from tokenway.common.v1 import money_pb2
from tokenway.router.v1 import router_pb2

HIT, MISS = router_pb2.CACHE_VERDICT_HIT, router_pb2.CACHE_VERDICT_MISS
STORED, NEAR = "How do I reset my password?", "How can I reset my password?"


def with_tier(tier: str, *, single_flight: bool = True, **changes: Any) -> tuple[schema.Organisation, ...]:
    """The tests' organisation with a semantic tier, the other without."""
    first, second = organisations(limit("100"), limit("100", "day"))
    policy = schema.CachePolicy(tier=tier, single_flight=single_flight)  # type: ignore[arg-type] # one of its values
    return first.model_copy(update={"cache": policy, **changes}), second


async def asked(mesh: Mesh, text: str, **fields: Any) -> tuple[int, money_pb2.Receipt]:
    """What the cache said, and the receipt."""
    stream = await events(mesh, question(text, **fields))
    return stream[0].started.cache_verdict, stream[-1].finished.receipt


async def until_hit(mesh: Mesh, text: str) -> money_pb2.Receipt:
    """The index learns of an answer a moment after it is stored; and some hits are audited, so one asks again."""
    async with asyncio.timeout(60):
        while (found := await asked(mesh, text, cache=READ_ONLY))[0] != HIT:
            pass
    return found[1]


READ_ONLY = router_pb2.CacheControl(mode=router_pb2.CacheControl.MODE_READ_ONLY)


@pytest.mark.parametrize("tier", ["strict", "balanced"])
async def test_the_same_in_other_words_is_answered_from_the_cache_for_nothing(redis_url: str, tier: str) -> None:
    async with default_mesh(redis_url, organisations=with_tier(tier)) as mesh:
        first = await events(mesh, question(STORED))
        assert first[0].started.cache_verdict == MISS
        receipt = await until_hit(mesh, NEAR)
    assert receipt.cached.kind == money_pb2.CACHE_KIND_SEMANTIC
    assert receipt.cached.source_request_id == first[0].started.request_id
    assert 0.95 <= receipt.cached.similarity < 1
    assert receipt.cost_micro_usd == 0


async def test_a_request_may_be_stricter_than_its_organisation_and_none_looser(redis_url: str) -> None:
    exact = router_pb2.CacheControl(tier=router_pb2.CacheControl.TIER_EXACT)
    loosest = router_pb2.CacheControl(tier=router_pb2.CacheControl.TIER_CALIBRATED)
    # Alone: else it may come before the lead that the last hit gave back is free, and follow for a moment.
    alone = with_tier("balanced", single_flight=False)
    async with default_mesh(redis_url, organisations=alone) as mesh:
        await asked(mesh, STORED)
        await until_hit(mesh, NEAR)
        assert (await asked(mesh, NEAR, cache=exact))[0] == MISS
    async with default_mesh(redis_url, organisations=organisations(limit("100"))) as mesh:
        assert (await asked(mesh, "How might I reset my password?", cache=loosest))[0] == MISS


async def test_what_asks_something_else_in_much_the_same_words_is_answered_anew(redis_url: str) -> None:
    async with default_mesh(redis_url, organisations=with_tier("balanced")) as mesh:
        await asked(mesh, "How do I enable two-factor login for my account?")
        await until_hit(mesh, "How can I enable two-factor login for my account?")
        assert (await asked(mesh, "How do I disable two-factor login for my account?"))[0] == MISS


async def test_a_question_in_which_a_guard_found_something_gives_and_gets_no_answer_in_other_words(
    redis_url: str,
) -> None:
    guards = schema.Guards(input=schema.GuardKinds(email="redact"))
    async with default_mesh(redis_url, organisations=with_tier("balanced", guards=guards)) as mesh:
        await asked(mesh, "How do I reset the password of ann@example.com?")
        await asked(mesh, STORED)
        await until_hit(mesh, NEAR)
        assert (await asked(mesh, "How can I reset the password of bob@example.com?"))[0] == MISS
        assert (await asked(mesh, "How do I reset the password of bob@example.com?"))[0] == HIT, "the same to the cache"
