"""The calibrated tier over a real socket: what misses, audits and reports teach, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import product
from pathlib import Path

import pytest

from libs.telemetry import names
from services.cache.domain.calibration import AUDIT_SHARE, Label, Measure, Sampling
from services.cache.domain.key import exact_key
from services.cache.domain.model import Tier
from services.cache.transport import convert
from tests.rpc.cache.served import EXPLAIN, GET_STATS, REPORT_BAD_HIT, STOP, Served, delta, header, question, serving
from tests.rpc.cache.test_semantic import attributes_of_lookup
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import principal_pb2

# Two of thirteen words differ: cosine 11 / 13, or a little more.
WORDS = "how {} i {} my old red car out of the deep mud"
STORED = question(WORDS.format("can", "get"))
MODALS = ("could", "may", "might", "should", "would", "will", "do", "must")
VERBS = ("pull", "bring", "take", "haul", "move", "drag", "tow", "lift", "free", "extract", "heave", "winch")
SEEDED = 300
PATIENCE_SECONDS = 10


@pytest.fixture
async def cache(folder: Path) -> AsyncIterator[Served]:
    async with serving(folder, semantic=True, tier=Tier.CALIBRATED) as served:
        yield served


def others(*, audited: bool) -> Iterator[pb.Question]:
    """Questions near the stored one, of those that are audited or of those that are not."""
    for modal, verb in product(MODALS, VERBS):
        asks = question(WORDS.format(modal, verb))
        digest = exact_key(convert.question_of(pb.LookupRequest(question=asks))).digest
        if (int.from_bytes(digest[:4]) < AUDIT_SHARE * 2**32) is audited:
            yield asks


async def filled(cache: Served, asks: pb.Question, answer: str = "Push it.") -> None:
    cache.clock.advance(1)  # labels are not made of each answer where there are many
    assert (await cache.fill(header(asks, tier=Tier.CALIBRATED), delta(answer), STOP)).stored


async def verdict(cache: Served, asks: pb.Question, *, request_id: str = "") -> int:
    events = await cache.lookup(asks, tier=Tier.CALIBRATED, request_id=request_id)
    return [each.found.verdict for each in events if each.HasField("found")][-1]


async def stats(cache: Served) -> pb.GetStatsResponse:
    response = await cache.unary(GET_STATS, pb.GetStatsRequest(organisation="acme"))
    assert isinstance(response, pb.GetStatsResponse)
    return response


async def learnt(cache: Served, *, right: int, wrong: int) -> None:
    """Returns once there are so many labels: they come beside the path of whoever stores."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await counted(cache) != (right, wrong):  # noqa: ASYNC110 # a server's state
            await asyncio.sleep(0.01)


async def counted(cache: Served) -> tuple[int, int]:
    """Labels that say right and wrong; here every question near another is labelled as probably as any."""
    tally = (await cache.labels.learnt("acme", Measure.VOTES, wrong_share=0.05)).tally
    assert {each.sampling for each in tally} <= {Sampling.EVEN}
    wrong = sum(count for each, count in tally.items() if each.wrong)
    return sum(tally.values()) - wrong, wrong


async def calibrated(cache: Served) -> None:
    """As if it had been in use for long: hits from 60 % of the votes on."""
    for _ in range(SEEDED):
        await cache.labels.add("acme", Measure.VOTES, Label(Sampling.EVEN, 84, wrong=False))
    assert (await stats(cache)).calibrated_threshold == 0.6


async def test_misses_teach_whether_the_nearest_answer_would_have_been_right(cache: Served) -> None:
    asks = next(others(audited=False))
    await filled(cache, STORED)
    assert await verdict(cache, asks) == pb.VERDICT_MISS
    await filled(cache, asks)
    await learnt(cache, right=1, wrong=0)
    for each, answer in ((STORED, "Push it."), (asks, "Leave it there.")):
        elsewhere = pb.Question()
        elsewhere.CopyFrom(each)
        elsewhere.model = "large"
        await filled(cache, elsewhere, answer)
    await learnt(cache, right=1, wrong=1)

    known = await stats(cache)

    assert (known.labels, known.calibrated_threshold) == (2, 2)
    assert known.estimated_wrong_share == pytest.approx(0.5 / 0.95)
    assert known.wrong_share_upper_bound == 1
    assert cache.recorded.sample("tokenway_cache_wrong_share") == known.estimated_wrong_share
    assert cache.recorded.sample("tokenway_cache_wrong_share_upper_bound") == 1


async def test_with_labels_enough_near_questions_are_hits_and_teach_nothing(cache: Served) -> None:
    await calibrated(cache)
    await filled(cache, STORED)
    assert await verdict(cache, next(others(audited=False))) == pb.VERDICT_HIT
    assert (await stats(cache)).semantic_hits == 1
    assert await counted(cache) == (SEEDED, 0)


async def test_an_audited_hit_is_answered_anew_and_teaches(cache: Served) -> None:
    await calibrated(cache)
    await filled(cache, STORED)
    asks = next(others(audited=True))
    assert await verdict(cache, asks) == pb.VERDICT_MISS
    await filled(cache, asks, "Leave it there.")
    await learnt(cache, right=SEEDED, wrong=1)
    assert (await stats(cache)).audited == 1


async def test_a_hit_that_is_reported_teaches_once(cache: Served) -> None:
    await calibrated(cache)
    await filled(cache, STORED)
    assert await verdict(cache, next(others(audited=False)), request_id="req-2") == pb.VERDICT_HIT
    by = principal_pb2.Principal(organisation="acme", key_id="ci")
    reports = [
        await cache.unary(REPORT_BAD_HIT, pb.ReportBadHitRequest(principal=by, request_id="req-2")) for _ in "ab"
    ]
    assert [each.evicted for each in reports] == [True, False]
    await learnt(cache, right=SEEDED, wrong=1)
    assert not (await cache.unary(EXPLAIN, pb.ExplainRequest(question=STORED))).stored


async def test_answers_that_were_found_the_same_vote_together(cache: Served) -> None:
    one, another, asks, *_ = others(audited=False)
    for each in (one, another):
        await filled(cache, each)
    await learnt(cache, right=1, wrong=0)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await explained(cache, asks)).neighbours[0].votes < 0.8:  # noqa: ASYNC110 # a server's state
            await asyncio.sleep(0.01)
    response = await explained(cache, asks)
    assert (response.threshold, response.votes_threshold) == (0, 2)
    assert len({each.votes for each in response.neighbours}) == 1
    assert response.neighbours[0].similarity > response.neighbours[1].similarity


async def test_the_span_of_a_calibrated_hit_says_its_votes_and_how_many_are_demanded(cache: Served) -> None:
    await calibrated(cache)
    await filled(cache, STORED)
    assert await verdict(cache, next(others(audited=False))) == pb.VERDICT_HIT
    span = attributes_of_lookup(cache)
    assert (span[names.CACHE_KIND], span[names.CACHE_THRESHOLD]) == ("semantic", 0.6)
    assert 0.6 < span[names.CACHE_VOTES] < 1


async def explained(cache: Served, asks: pb.Question) -> pb.ExplainResponse:
    response = await cache.unary(EXPLAIN, pb.ExplainRequest(question=asks, tier=Tier.CALIBRATED))
    assert isinstance(response, pb.ExplainResponse)
    return response
