"""GetUsage, over a real socket."""

from __future__ import annotations

from libs.errors import Reason
from services.budget.domain.windows import Window
from tests.rpc.budget.served import ADA, GET_USAGE, RESERVE, SETTLE, Served, reserve, settle
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2, principal_pb2


async def test_usage_says_where_each_limit_stands(budget: Served) -> None:
    await budget.limit(5_000, window=Window.HOUR)
    await budget.limit(9_000, window=Window.TOTAL)
    await budget.call(RESERVE, reserve("r1"))
    await budget.call(SETTLE, settle(50))
    await budget.call(RESERVE, reserve("r2", max_output_tokens=90))

    state, total = (await budget.call(GET_USAGE, pb.GetUsageRequest(principal=ADA))).states

    assert state.budget == money_pb2.Budget(
        scope=money_pb2.BUDGET_SCOPE_KEY,
        subject="ada",
        window=money_pb2.BUDGET_WINDOW_HOUR,
        kind=money_pb2.BUDGET_KIND_MONEY,
        limit=5_000,
    )
    assert (state.used, state.reserved) == (60, 100)
    assert (total.budget.window, total.used, total.reserved) == (money_pb2.BUDGET_WINDOW_TOTAL, 60, 100)
    assert not total.HasField("resets_at")
    assert state.resets_at.ToSeconds() == (int(budget.clock.now()) // 3_600 + 1) * 3_600


async def test_a_principal_without_limits_has_no_states(budget: Served) -> None:
    assert not (await budget.call(GET_USAGE, pb.GetUsageRequest(principal=ADA))).states


async def test_every_broken_rule_is_named(budget: Served) -> None:
    nobody = pb.GetUsageRequest(principal=principal_pb2.Principal(user="a b"))

    error = await budget.refused(GET_USAGE, nobody, Reason.INVALID_REQUEST)

    assert [each.field for each in error.fields] == ["principal.organisation", "principal.key_id", "principal.user"]
