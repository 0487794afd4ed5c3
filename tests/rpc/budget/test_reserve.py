"""Reserve, over a real socket."""

from __future__ import annotations

from pathlib import Path

from opentelemetry.trace import SpanKind

from libs.errors import QuotaViolation, Reason
from libs.telemetry import names
from services.budget.domain.limits import Account, Kind, Limit, Scope
from services.budget.domain.windows import Window
from tests.rpc.budget.served import ADA, PRICE, RESERVE, SETTLE, Served, reserve, serving, settle
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2, principal_pb2


async def test_a_lease_covers_what_was_wanted_for_a_minute(budget: Served) -> None:
    lease = (await budget.call(RESERVE, reserve())).lease

    assert (lease.output_tokens, lease.reserved_micro_usd, lease.whole) == (100, 110, False)
    assert lease.lifetime.ToMilliseconds() == 60_000


async def test_a_caller_that_wants_no_number_gets_the_configured_one(folder: Path) -> None:
    async with serving(folder, first_lease_tokens=32) as budget:
        lease = (await budget.call(RESERVE, reserve(want_output_tokens=0))).lease

    assert lease.output_tokens == 32


async def test_a_spent_budget_is_a_refusal_that_names_the_limit_and_when_to_come_again(budget: Served) -> None:
    await budget.limit(1_500)
    await budget.call(RESERVE, reserve())

    error = await budget.refused(RESERVE, reserve("r2"), Reason.BUDGET_EXCEEDED)

    assert error.retry_after_seconds == 1
    assert error.metadata == {
        "scope": "key",
        "subject": "ada",
        "window": "hour",
        "kind": "money",
        "limit": "1500",
        "used": "0",
        "reserved": "1010",
        "needed": "1010",
    }
    stands = "$0.00101 of $0.0015 spent in this hour ($0.00101 of it reserved by open requests)"
    assert error.quotas == (QuotaViolation("key:ada", stands),)
    assert error.message.startswith(f"key ada: {stands}, and this request needs $0.00101; open requests may give ")


async def test_a_soft_limit_that_is_passed_is_a_warning_and_is_counted(budget: Served) -> None:
    soft = Limit(Account(Scope.TEAM, "compilers"), Window.MINUTE, 1, Kind.REQUESTS, soft=True)
    await budget.ledger.put_limit("acme", soft)

    first, second = [await budget.call(RESERVE, reserve(each)) for each in ("r1", "r2")]

    assert not first.warnings
    (warning,) = second.warnings
    assert (warning.budget.scope, warning.budget.subject) == (money_pb2.BUDGET_SCOPE_TEAM, "compilers")
    assert (warning.budget.kind, warning.budget.limit, warning.budget.soft) == (money_pb2.BUDGET_KIND_REQUESTS, 1, True)
    assert (warning.used, warning.reserved, warning.HasField("resets_at")) == (2, 0, False)
    labels = {"scope": "team", "window": "minute", "kind": "requests"}
    assert budget.recorded.sample(names.METRIC_BUDGET_SOFT_LIMITS_PASSED, **labels) == 1


async def test_what_can_never_fit_comes_without_a_time_to_retry(budget: Served) -> None:
    await budget.limit(1_009, window=Window.DAY)

    error = await budget.refused(RESERVE, reserve(), Reason.BUDGET_EXCEEDED)

    assert error.retry_after_seconds is None


async def test_a_replacement_takes_the_place_of_what_it_replaces(budget: Served) -> None:
    await budget.limit(1_500)
    await budget.call(RESERVE, reserve())

    await budget.call(RESERVE, reserve("r2", replaces_reservation_id="r1"))

    assert (await budget.call(SETTLE, settle())).receipt.outcome == money_pb2.OUTCOME_RELEASED


async def test_a_reservation_that_has_ended_cannot_be_made_again(budget: Served) -> None:
    await budget.call(RESERVE, reserve())
    await budget.call(SETTLE, settle())

    error = await budget.refused(RESERVE, reserve(), Reason.RESERVATION_CLOSED)

    assert error.metadata == {"reservation_id": "r1", "state": "settled"}


async def test_every_broken_rule_is_named(budget: Served) -> None:
    request = pb.ReserveRequest(
        reservation_id="no spaces",
        principal=principal_pb2.Principal(organisation="{acme}"),
        model="m" * 300,
        price=money_pb2.Price(output_micro_usd_per_million_tokens=10**12 + 1),
        max_input_tokens=10**9 + 1,
    )

    error = await budget.refused(RESERVE, request, Reason.INVALID_REQUEST)

    assert [each.field for each in error.fields] == [
        "reservation_id",
        "principal.organisation",
        "principal.key_id",
        "model",
        "price.output_micro_usd_per_million_tokens",
        "max_input_tokens",
    ]


async def test_the_decision_stands_on_the_span_and_in_the_metrics(budget: Served) -> None:
    await budget.limit(200)
    await budget.call(RESERVE, reserve(max_output_tokens=100))
    await budget.refused(RESERVE, reserve("r2"), Reason.BUDGET_EXCEEDED)

    spans = [each for each in budget.recorded.spans() if each.kind is SpanKind.SERVER]
    granted, refused = (dict(each.attributes or {}) for each in spans)
    assert granted[names.BUDGET_DECISION] == "whole"
    assert granted[names.BUDGET_RESERVED_MICRO_USD] == 110
    assert granted[names.BUDGET_RESERVATION_ID] == "r1"
    assert granted[names.BUDGET_SCOPES] == ("key", "user", "team", "organisation")
    assert refused[names.BUDGET_DECISION] == "budget_exceeded"
    for decision in ("whole", "budget_exceeded"):
        assert budget.recorded.sample(names.METRIC_BUDGET_DECISIONS, verb="reserve", decision=decision) == 1


async def test_an_equal_price_and_principal_survive_the_wire(budget: Served) -> None:
    await budget.call(RESERVE, reserve())

    receipt = (await budget.call(SETTLE, settle())).receipt

    assert receipt.price == PRICE
    assert receipt.key_id == ADA.key_id
