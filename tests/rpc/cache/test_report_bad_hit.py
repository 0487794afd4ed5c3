"""ReportBadHit, over a real socket: it evicts what the reporter got, once, and nothing else."""

from __future__ import annotations

import pytest

from libs.errors import Reason, TokenwayError
from tests.rpc.cache.served import GET_STATS, REPORT_BAD_HIT, STOP, Served, delta, header, question
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.common.v1 import principal_pb2


@pytest.fixture
async def hit(cache: Served) -> Served:
    """The key ci has got an answer from the cache, as the request req-2."""
    await cache.fill(header(), delta("Hi"), STOP)
    await cache.lookup(request_id="req-2")
    return cache


async def report(cache: Served, request_id: str = "req-2", **principal: str | int) -> bool:
    by = principal_pb2.Principal(**{"organisation": "acme", "key_id": "ci", **principal})  # type: ignore[arg-type]
    response = await cache.unary(REPORT_BAD_HIT, pb.ReportBadHitRequest(principal=by, request_id=request_id))
    assert isinstance(response, pb.ReportBadHitResponse)
    return response.evicted


async def reported(cache: Served) -> int:
    response = await cache.unary(GET_STATS, pb.GetStatsRequest(organisation="acme"))
    assert isinstance(response, pb.GetStatsResponse)
    return response.reported


async def test_a_reported_answer_is_gone_and_counted_once(hit: Served) -> None:
    assert [await report(hit), await report(hit)] == [True, False]
    assert await hit.verdict() == pb.VERDICT_MISS
    assert await reported(hit) == 1
    assert hit.recorded.sample("tokenway_cache_bad_hits_total") == 1


async def test_a_second_report_does_not_evict_the_answer_that_came_after(hit: Served) -> None:
    await report(hit)
    await hit.fill(header(as_of=await hit.as_of()), delta("Better"), STOP)
    assert not await report(hit)
    assert await hit.verdict() == pb.VERDICT_HIT


async def test_the_same_answer_that_was_being_generated_is_not_stored_after_the_report(hit: Served) -> None:
    before = await hit.as_of(question("something else"))
    await report(hit)
    again = await hit.fill(header(as_of=before), delta("Hi"), STOP)
    assert (again.stored, again.reason) == (False, "invalidated")
    assert await hit.verdict() == pb.VERDICT_MISS


async def test_an_answer_that_was_replaced_meanwhile_stays(hit: Served) -> None:
    later = header()
    later.header.request_id = "req-3"
    await hit.fill(later, delta("Better"), STOP)
    assert not await report(hit)
    assert await hit.verdict() == pb.VERDICT_HIT
    assert await reported(hit) == 1


@pytest.mark.parametrize(
    ("request_id", "principal"),
    [
        ("req-1", {}),  # made the answer, and got none
        ("req-9", {}),
        ("req-2", {"organisation": "globex"}),
        ("req-2", {"key_id": "another"}),
        ("req-2", {"organisation": "globex", "role": principal_pb2.KEY_ROLE_ADMIN}),
    ],
)
async def test_what_was_not_the_reporter_s_to_report_stays(
    hit: Served, request_id: str, principal: dict[str, str | int]
) -> None:
    assert not await report(hit, request_id, **principal)
    assert await hit.verdict() == pb.VERDICT_HIT
    assert await reported(hit) == 0


async def test_an_administrator_reports_for_others(hit: Served) -> None:
    assert await report(hit, key_id="root", role=principal_pb2.KEY_ROLE_ADMIN)


async def test_a_report_names_its_organisation(hit: Served) -> None:
    with pytest.raises(TokenwayError) as caught:
        await report(hit, organisation="")
    assert (caught.value.reason, caught.value.fields[0].field) == (Reason.INVALID_REQUEST, "principal.organisation")
