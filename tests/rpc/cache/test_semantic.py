"""The semantic tier over real sockets: in one replica, and between two over one Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from libs.telemetry import names
from libs.testing.vector_index import InMemoryIndex
from services.cache.domain.model import Tier
from tests.rpc.cache.served import (
    EXPLAIN,
    GET_STATS,
    INVALIDATE,
    STOP,
    USAGE,
    Served,
    delta,
    header,
    question,
    serving,
)
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import money_pb2

LOOKUP_SPAN = "tokenway.cache.v1.CacheService/Lookup"
# Twelve words of thirteen are the same.
STORED = question("how can i get my old red car out of the deep mud")
NEAR = question("how can i pull my old red car out of the deep mud")
# So they are here, and the lexical guard sees what differs.
NUMBERED = question("how can i get my 7 red cars out of the deep mud")
RENUMBERED = question("how can i get my 8 red cars out of the deep mud")
COSINE = 12 / 13


@pytest.fixture
async def cache(folder: Path) -> AsyncIterator[Served]:
    async with serving(folder, semantic=True) as served:
        yield served


async def filled(cache: Served, asks: pb.Question = STORED, *, tier: Tier = Tier.BALANCED) -> None:
    assert (await cache.fill(header(asks, tier=tier), delta("Push", " it."), STOP)).stored


async def last_found(cache: Served, asks: pb.Question = NEAR, *, tier: Tier = Tier.BALANCED) -> pb.Found:
    return [each.found for each in await cache.lookup(asks, tier=tier) if each.HasField("found")][-1]


async def test_a_near_question_is_a_miss_at_first_and_a_hit_then(cache: Served) -> None:
    await filled(cache)
    cache.clock.advance(2)
    [first, second] = await cache.lookup(NEAR, tier=Tier.BALANCED)
    assert (first.found.verdict, first.found.semantic_pending) == (pb.VERDICT_MISS, True)
    assert (second.found.verdict, second.found.semantic_pending) == (pb.VERDICT_HIT, False)
    origin = second.found.origin
    assert (origin.kind, origin.source_request_id, origin.age.ToSeconds()) == (
        money_pb2.CACHE_KIND_SEMANTIC,
        "req-1",
        2,
    )
    assert origin.similarity == pytest.approx(COSINE, abs=0.01)
    assert (second.found.threshold, origin.original_usage) == (0.9, USAGE)
    assert ("".join(second.found.answer.text), second.found.stored) == ("Push it.", STOP.stored)


async def test_the_same_question_is_an_exact_hit_and_the_tier_is_not_asked(cache: Served) -> None:
    await filled(cache)
    [found, *_] = await cache.lookup(STORED, tier=Tier.BALANCED)
    assert (found.found.verdict, found.found.origin.kind) == (pb.VERDICT_HIT, money_pb2.CACHE_KIND_EXACT)


@pytest.mark.parametrize(
    ("asked_as", "filled_as"), [(Tier.EXACT, Tier.BALANCED), (Tier.BALANCED, Tier.EXACT), (Tier.STRICT, Tier.BALANCED)]
)
async def test_a_stricter_tier_of_either_is_a_miss(cache: Served, asked_as: Tier, filled_as: Tier) -> None:
    await filled(cache, tier=filled_as)
    found = await last_found(cache, tier=asked_as)
    assert (found.verdict, found.semantic_pending) == (pb.VERDICT_MISS, False)


async def test_a_difference_in_a_number_is_a_miss_that_the_span_and_the_counters_tell(cache: Served) -> None:
    await filled(cache, NUMBERED)
    assert (await last_found(cache, RENUMBERED)).verdict == pb.VERDICT_MISS
    span = attributes_of_lookup(cache)
    assert (span[names.CACHE_VERDICT], span[names.CACHE_SEMANTIC_MISS]) == ("miss", "guard")
    assert (span[names.CACHE_TIER], span[names.CACHE_GUARD]) == ("balanced", "numbers")
    assert span[names.CACHE_THRESHOLD] == 0.9
    assert cache.recorded.sample("tokenway_cache_guard_vetoes_total", kind="numbers") == 1


async def test_the_span_of_a_semantic_hit_says_how_near_it_was(cache: Served) -> None:
    await filled(cache)
    await last_found(cache)
    span = attributes_of_lookup(cache)
    assert (span[names.CACHE_KIND], span[names.CACHE_THRESHOLD]) == ("semantic", 0.9)
    assert span[names.CACHE_SIMILARITY] == pytest.approx(COSINE, abs=0.01)


async def test_semantic_hits_are_counted_beside_all_hits(cache: Served) -> None:
    await filled(cache)
    await last_found(cache)
    await last_found(cache, STORED)
    stats = await cache.unary(GET_STATS, pb.GetStatsRequest(organisation="acme"))
    assert (stats.lookups, stats.hits, stats.semantic_hits, stats.semantic_shed) == (2, 2, 1, 0)


async def test_an_explanation_tells_what_is_near_and_what_the_guard_says(cache: Served) -> None:
    await filled(cache, NUMBERED)
    response = await cache.unary(EXPLAIN, pb.ExplainRequest(question=RENUMBERED, tier=Tier.STRICT))
    [near] = response.neighbours
    assert (near.source_request_id, near.guard, response.threshold) == ("req-1", "numbers", 0.95)
    assert near.similarity == pytest.approx(COSINE, abs=0.01)
    assert response.semantic_bypass_reason == ""
    exact = await cache.unary(EXPLAIN, pb.ExplainRequest(question=RENUMBERED))
    assert (exact.semantic_bypass_reason, exact.threshold, list(exact.neighbours)) == ("tier", 0, [])


async def test_what_one_replica_stores_another_finds_and_what_one_drops_no_other_gives(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one, other = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("b")
    async with (
        serving(one, redis_url=redis_url, semantic=True) as first,
        serving(other, redis_url=redis_url, semantic=True) as second,
    ):
        await filled(first)
        await until_known(second)
        found = await last_found(second)
        assert (found.verdict, found.origin.kind) == (pb.VERDICT_HIT, money_pb2.CACHE_KIND_SEMANTIC)
        await second.unary(INVALIDATE, pb.InvalidateRequest(organisation="acme", all=True))
        assert (await last_found(first)).verdict == pb.VERDICT_MISS


async def test_a_replica_that_is_behind_serves_exact_hits_and_misses(redis_url: str, folder: Path) -> None:
    (behind_at := folder / "b").mkdir()
    async with (
        serving(folder, redis_url=redis_url, semantic=True) as first,
        serving(behind_at, redis_url=redis_url, semantic=True, index=left_alone(first)) as behind,
    ):
        await filled(first)
        assert (await last_found(behind, STORED)).verdict == pb.VERDICT_HIT
        assert (await last_found(behind)).verdict == pb.VERDICT_MISS


def attributes_of_lookup(cache: Served) -> Mapping[str, Any]:
    """Of the server's span."""
    [span] = [each for each in cache.recorded.spans() if each.name == LOOKUP_SPAN and each.kind is SpanKind.SERVER]
    return span.attributes or {}


def left_alone(cache: Served) -> InMemoryIndex:
    """An index that follows nothing: as it was when its replica fell behind."""
    return InMemoryIndex(max_entries=9, clock=cache.clock)


async def until_known(cache: Served, entries: int = 1) -> None:
    async with asyncio.timeout(20):
        while cache.recorded.sample("tokenway_cache_index_entries") != entries:  # noqa: ASYNC110 # a gauge sets no event
            await asyncio.sleep(0.005)
