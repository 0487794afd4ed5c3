"""Settle, over a real socket."""

from __future__ import annotations

from typing import Any

import pytest

from libs.errors import Reason
from libs.telemetry import names
from tests.rpc.budget.served import PRICE, RESERVE, SETTLE, Served, reserve, settle, used
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2


async def test_the_receipt_says_what_was_booked(budget: Served) -> None:
    await budget.call(RESERVE, reserve())

    receipt = (await budget.call(SETTLE, settle(50))).receipt

    booked_at_ms = receipt.booked_at.ToMilliseconds()
    receipt.ClearField("booked_at")
    assert booked_at_ms == int(budget.clock.now() * 1000)
    assert receipt == money_pb2.Receipt(
        request_id="q1",
        reservation_id="r1",
        model="llama-3-7b",
        why="the only one",
        usage=used(50),
        price=PRICE,
        cost_micro_usd=60,
        outcome=money_pb2.OUTCOME_FINISHED,
        settled=True,
        key_id="ada",
    )


async def test_a_repeated_settlement_gets_the_same_receipt(budget: Served) -> None:
    await budget.call(RESERVE, reserve())
    first = await budget.call(SETTLE, settle(50))
    budget.clock.advance(100)

    assert await budget.call(SETTLE, settle(99)) == first


async def test_a_late_settlement_corrects_what_was_presumed(budget: Served) -> None:
    await budget.call(RESERVE, reserve())
    budget.clock.advance(61)

    receipt = (await budget.call(SETTLE, settle(50))).receipt

    assert (receipt.outcome, receipt.cost_micro_usd) == (money_pb2.OUTCOME_CORRECTED, 60)


async def test_use_beyond_the_lease_is_counted(budget: Served) -> None:
    await budget.call(RESERVE, reserve())

    receipt = (await budget.call(SETTLE, settle(150))).receipt

    assert (receipt.cost_micro_usd, receipt.uncovered_micro_usd) == (110, 50)
    assert budget.recorded.sample(names.METRIC_BUDGET_UNCOVERED_COST) == pytest.approx(50e-6)
    assert budget.recorded.sample(names.METRIC_BUDGET_SETTLEMENTS, outcome="finished") == 1


async def test_the_span_has_the_outcome_in_the_routers_spelling(budget: Served) -> None:
    await budget.call(RESERVE, reserve())

    await budget.call(SETTLE, settle(50))

    span: Any = next(each for each in budget.recorded.spans() if names.OUTCOME in (each.attributes or {}))
    assert span.attributes[names.OUTCOME] == "finished"


async def test_what_never_was_cannot_be_settled(budget: Served) -> None:
    await budget.refused(SETTLE, settle(), Reason.RESERVATION_NOT_FOUND)


@pytest.mark.parametrize(
    "outcome",
    [
        money_pb2.OUTCOME_UNSPECIFIED,
        money_pb2.OUTCOME_PRESUMED,
        money_pb2.OUTCOME_CORRECTED,
        money_pb2.OUTCOME_RELEASED,
        99,
    ],
)
async def test_a_request_cannot_end_in_the_ledgers_own_words(budget: Served, outcome: int) -> None:
    await budget.call(RESERVE, reserve())

    error = await budget.refused(SETTLE, settle(outcome=outcome), Reason.INVALID_REQUEST)

    assert [each.field for each in error.fields] == ["outcome"]
    assert "OUTCOME_FINISHED" in error.message


async def test_a_long_reason_is_cut_and_costs_no_money(budget: Served) -> None:
    await budget.call(RESERVE, reserve())

    receipt = (await budget.call(SETTLE, settle(why="w" * 5_000))).receipt

    assert receipt.why == "w" * 256


async def test_every_broken_rule_is_named(budget: Served) -> None:
    request = pb.SettleRequest(usage=money_pb2.Usage(input_tokens=10**9 + 1))

    error = await budget.refused(SETTLE, request, Reason.INVALID_REQUEST)

    assert [each.field for each in error.fields] == [
        "reservation_id",
        "organisation",
        "usage.input_tokens",
        "outcome",
    ]
