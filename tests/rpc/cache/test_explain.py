"""Explain and GetStats, over a real socket."""

from __future__ import annotations

import pytest

from tests.rpc.cache.served import EXPLAIN, GET_STATS, STOP, Served, delta, header, question
from tokenway.cache.v1 import cache_pb2 as pb


async def explain(cache: Served, asks: pb.Question) -> pb.ExplainResponse:
    response = await cache.unary(EXPLAIN, pb.ExplainRequest(question=asks))
    assert isinstance(response, pb.ExplainResponse)
    return response


async def test_a_question_is_explained_before_and_after_its_answer_is_stored(cache: Served) -> None:
    before = await explain(cache, question())
    await cache.fill(header(), delta("Hi"), STOP)
    after = await explain(cache, question())
    assert (before.stored, after.stored) == (False, True)
    assert (len(before.key), len(before.partition), before.bypass_reason) == (64, 64, "")
    assert (before.key, before.partition) == (after.key, after.partition)


async def test_questions_that_differ_in_their_last_words_share_a_partition_and_no_key(cache: Served) -> None:
    one, other = [await explain(cache, question(text)) for text in ("Hello", "Good day")]
    assert one.key != other.key
    assert one.partition == other.partition


async def test_a_question_that_may_not_be_cached_says_why(cache: Served) -> None:
    assert (await explain(cache, question(temperature=1))).bypass_reason == "temperature"


async def test_the_counters_count_lookups_and_no_explanations(cache: Served) -> None:
    await cache.lookup()
    await cache.fill(header(), delta("Hi"), STOP)
    await cache.fill(header(), delta("Hi"))
    await cache.lookup()
    await cache.lookup(question(temperature=1))
    await cache.lookup(question(organisation="globex"))
    await explain(cache, question())
    learnt = pb.GetStatsResponse(wrong_share_upper_bound=1)  # nothing
    of_all = pb.GetStatsResponse(lookups=3, hits=1, fills=1, bypassed=1)
    of_acme = pb.GetStatsResponse(lookups=2, hits=1, fills=1, bypassed=1, entries=1)
    for each in (of_all, of_acme):
        each.MergeFrom(learnt)
    assert await cache.unary(GET_STATS, pb.GetStatsRequest()) == of_all
    assert await cache.unary(GET_STATS, pb.GetStatsRequest(organisation="acme")) == of_acme
    assert await cache.unary(GET_STATS, pb.GetStatsRequest(organisation="nobody")) == learnt
    assert cache.recorded.sample("llm_cache_hit_rate") == pytest.approx(1 / 3)
