"""Extend, over a real socket."""

from __future__ import annotations

from libs.errors import Reason
from libs.telemetry import names
from tests.rpc.budget.served import EXTEND, RELEASE, RESERVE, Served, extend, release, reserve
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2


async def test_an_extend_covers_more_and_renews_the_time(budget: Served) -> None:
    await budget.call(RESERVE, reserve())
    budget.clock.advance(40)

    lease = (await budget.call(EXTEND, extend(output_tokens=90))).lease

    assert (lease.output_tokens, lease.reserved_micro_usd, lease.whole) == (190, 100, False)
    assert lease.lifetime.ToMilliseconds() == 60_000


async def test_a_repeated_seq_gets_the_same_answer(budget: Served) -> None:
    await budget.call(RESERVE, reserve())

    first = await budget.call(EXTEND, extend())

    assert await budget.call(EXTEND, extend()) == first


async def test_a_refused_extend_names_the_limit(budget: Served) -> None:
    await budget.limit(10_000)
    await budget.call(RESERVE, reserve())
    await budget.limit(100)

    error = await budget.refused(EXTEND, extend(output_tokens=90), Reason.BUDGET_EXCEEDED)

    assert error.metadata["limit"] == "100"
    assert budget.recorded.sample(names.METRIC_BUDGET_DECISIONS, verb="extend", decision="budget_exceeded") == 1


async def test_what_never_was_and_what_has_ended_are_told_apart(budget: Served) -> None:
    await budget.call(RESERVE, reserve())
    await budget.call(RELEASE, release())

    closed = await budget.refused(EXTEND, extend(), Reason.RESERVATION_CLOSED)
    await budget.refused(EXTEND, extend(reservation_id="r2"), Reason.RESERVATION_NOT_FOUND)
    await budget.refused(EXTEND, extend(organisation="umbrella"), Reason.RESERVATION_NOT_FOUND)

    assert closed.metadata == {"reservation_id": "r1", "state": "released"}


async def test_every_broken_rule_is_named(budget: Served) -> None:
    cached_beyond_input = money_pb2.Usage(input_tokens=1, cached_input_tokens=2, output_tokens=2**40)
    request = pb.ExtendRequest(reservation_id="r1", used=cached_beyond_input)

    error = await budget.refused(EXTEND, request, Reason.INVALID_REQUEST)

    assert [each.field for each in error.fields] == [
        "organisation",
        "used.output_tokens",
        "used.cached_input_tokens",
        "seq",
    ]
