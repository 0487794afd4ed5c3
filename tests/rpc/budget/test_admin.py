"""BudgetAdminService, over a real socket."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from libs.errors import Reason, TokenwayError
from libs.keys import StoredKey
from libs.rpc.method import Method, method
from tests.rpc.budget.served import RESERVE, SETTLE, Served, reserve, settle
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2 as money
from tokenway.common.v1.principal_pb2 import KEY_ROLE_ADMIN, KEY_ROLE_CALLER, ApiKey, Principal


def _method(name: str) -> Method[Any, Any]:
    return method(
        pb.DESCRIPTOR, "BudgetAdminService", name, getattr(pb, f"{name}Request"), getattr(pb, f"{name}Response")
    )


PUT_BUDGET, DELETE_BUDGET, LIST_BUDGETS = _method("PutBudget"), _method("DeleteBudget"), _method("ListBudgets")
LIST_RECEIPTS = _method("ListReceipts")
CREATE_KEY, LIST_KEYS, REVOKE_KEY = _method("CreateKey"), _method("ListKeys"), _method("RevokeKey")
SHA256 = hashlib.sha256(b"tw_a-key").digest()


def limit(**changes: Any) -> money.Budget:
    """5,000 micro-dollars an hour for the key ada."""
    given: dict[str, Any] = {
        "scope": money.BUDGET_SCOPE_KEY,
        "subject": "ada",
        "window": money.BUDGET_WINDOW_HOUR,
        "kind": money.BUDGET_KIND_MONEY,
        "limit": 5_000,
    }
    return money.Budget(**given | changes)


def created(**changes: Any) -> pb.CreateKeyRequest:
    key = ApiKey(principal=Principal(organisation="acme", key_id="ci", user="ada.l", team="compilers"), **changes)
    return pb.CreateKeyRequest(key_sha256=SHA256, key=key)


def at(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(seconds))


async def test_a_limit_is_set_listed_and_deleted(budget: Served) -> None:
    await budget.call(RESERVE, reserve())

    put = await budget.call(PUT_BUDGET, pb.PutBudgetRequest(organisation="acme", budget=limit()))
    unspecified = limit(scope=money.BUDGET_SCOPE_ORGANISATION, subject="", kind=money.BUDGET_KIND_UNSPECIFIED)
    await budget.call(PUT_BUDGET, pb.PutBudgetRequest(organisation="acme", budget=unspecified))
    listed = (await budget.call(LIST_BUDGETS, pb.ListBudgetsRequest(organisation="acme"))).states
    foreign = (await budget.call(LIST_BUDGETS, pb.ListBudgetsRequest(organisation="other"))).states

    assert (put.state.budget, put.state.used, put.state.reserved) == (limit(), 0, 110)
    assert [each.budget.scope for each in listed] == [money.BUDGET_SCOPE_KEY, money.BUDGET_SCOPE_ORGANISATION]
    assert not foreign
    delete = pb.DeleteBudgetRequest(organisation="acme", budget=limit(limit=0))
    assert [(await budget.call(DELETE_BUDGET, delete)).deleted for _ in range(2)] == [True, False]


async def test_limits_are_listed_by_whose_they_are_what_they_count_and_how_long(budget: Served) -> None:
    kinds = [money.BUDGET_KIND_MONEY, money.BUDGET_KIND_OUTPUT_TOKENS, money.BUDGET_KIND_CONCURRENCY]
    subjects = dict.fromkeys(money.BudgetScope.values(), "x") | {money.BUDGET_SCOPE_ORGANISATION: ""}
    given = [
        limit(scope=scope, subject=subject, kind=kind, window=money.BUDGET_WINDOW_TOTAL, soft=soft)
        for scope, subject in subjects.items()
        for kind in kinds
        for soft in (False, True)
        if scope
    ]
    for each in reversed(given):
        state = (await budget.call(PUT_BUDGET, pb.PutBudgetRequest(organisation="acme", budget=each))).state
        assert state == money.BudgetState(budget=each)

    listed = (await budget.call(LIST_BUDGETS, pb.ListBudgetsRequest(organisation="acme"))).states

    assert [each.budget for each in listed] == given
    for each in given:
        assert (await budget.call(DELETE_BUDGET, pb.DeleteBudgetRequest(organisation="acme", budget=each))).deleted
    assert await budget.ledger.limits("acme") == ()


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"scope": money.BUDGET_SCOPE_UNSPECIFIED}, "scope", "is BUDGET_SCOPE_UNSPECIFIED"),
        ({"scope": 99}, "scope", "is 99: that is not served, give BUDGET_SCOPE_KEY, BUDGET_SCOPE_USER"),
        ({"window": money.BUDGET_WINDOW_UNSPECIFIED}, "window", "give BUDGET_WINDOW_MINUTE, BUDGET_WINDOW_HOUR"),
        ({"kind": 99}, "kind", "is 99: that is not served, give BUDGET_KIND_MONEY, BUDGET_KIND_REQUESTS"),
        (
            {"kind": money.BUDGET_KIND_CONCURRENCY},
            "window",
            "is hour: open requests are counted at any instant, not over a time: give the window total",
        ),
        ({"scope": money.BUDGET_SCOPE_TEAM, "subject": ""}, "subject", "is ''"),
        ({"subject": ""}, "subject", "is ''"),
        ({"subject": "a:b"}, "subject", "is 'a:b'"),
        ({"scope": money.BUDGET_SCOPE_ORGANISATION}, "subject", "a budget of the organisation has none"),
        ({"limit": 10**15 + 1}, "limit", "give at most 1000000000000000"),
    ],
)
async def test_what_no_limit_can_be_is_refused_and_says_so(
    budget: Served, changes: dict[str, Any], field: str, says: str
) -> None:
    request = pb.PutBudgetRequest(organisation="acme", budget=limit(**changes))

    error = await budget.refused(PUT_BUDGET, request, Reason.INVALID_REQUEST)

    assert [each.field for each in error.fields] == [f"budget.{field}"]
    assert says in error.fields[0].description
    assert await budget.ledger.limits("acme") == ()


async def test_every_mistake_of_a_limit_is_named(budget: Served) -> None:
    nothing = pb.PutBudgetRequest(budget=money.Budget(kind=9, limit=2**63))  # type: ignore[arg-type]

    error = await budget.refused(PUT_BUDGET, nothing, Reason.INVALID_REQUEST)

    fields = ["organisation", *(f"budget.{each}" for each in ("scope", "window", "kind", "limit"))]
    assert [each.field for each in error.fields] == fields


async def test_the_ledger_is_listed_by_page_and_by_request(budget: Served) -> None:
    for number in range(3):
        name = f"r{number}"
        await budget.call(RESERVE, reserve(name, request_id=f"q{number}"))
        await budget.call(SETTLE, settle(reservation_id=name))
        budget.clock.advance(10)

    async def ids(**fields: Any) -> list[str]:
        response = await budget.call(LIST_RECEIPTS, pb.ListReceiptsRequest(**{"organisation": "acme", **fields}))
        return [each.request_id for each in response.receipts] + [response.next_page_token][
            : fields.get("page_size", 0)
        ]

    first = await ids(page_size=2)
    assert (first[:2], await ids(page_token=first[2])) == (["q2", "q1"], ["q0"])
    assert await ids(request_id="q1") == ["q1"]
    assert await ids(since=at(budget.clock.now() - 20)) == ["q2", "q1"]
    assert await ids(organisation="other") == []


@pytest.mark.parametrize("page_token", ["7", "0-0", "1-2-3", "18446744073709551616-0"])
async def test_every_mistake_of_a_question_for_receipts_is_named(budget: Served, page_token: str) -> None:
    request = pb.ListReceiptsRequest(organisation="{}", request_id="q" * 257, page_size=1_001, page_token=page_token)

    error = await budget.refused(LIST_RECEIPTS, request, Reason.INVALID_REQUEST)

    assert [each.field for each in error.fields] == ["organisation", "request_id", "page_size", "page_token"]


async def test_a_key_is_stored_listed_and_revoked(budget: Served) -> None:
    expires = Timestamp(seconds=int(budget.clock.now()) + 60, nanos=-7)  # which is no valid moment
    models = ["small", "large", "small"]

    made = await budget.call(CREATE_KEY, created(allowed_models=models, expires_at=expires))

    now = datetime.fromtimestamp(budget.clock.now(), UTC)
    assert budget.keys.stored[SHA256.hex()] == StoredKey(
        key_id="ci",
        organisation="acme",
        user="ada.l",
        team="compilers",
        allowed_models=("small", "large"),
        expires_at=datetime.fromtimestamp(expires.seconds, UTC),
        created_at=now,
    )
    assert made.key.principal.role == KEY_ROLE_CALLER
    assert list((await budget.call(LIST_KEYS, pb.ListKeysRequest(organisation="acme"))).keys) == [made.key]
    assert not (await budget.call(LIST_KEYS, pb.ListKeysRequest(organisation="other"))).keys
    budget.clock.advance(5)
    revoke = pb.RevokeKeyRequest(organisation="acme", key_id="ci")
    answers = [(await budget.call(REVOKE_KEY, revoke)).key.revoked_at for _ in range(2)]
    assert answers == [at(budget.clock.now())] * 2


async def test_an_id_that_exists_is_refused(budget: Served) -> None:
    await budget.call(CREATE_KEY, created())
    again = created()
    again.key_sha256 = hashlib.sha256(b"tw_another").digest()
    again.key.principal.role = KEY_ROLE_ADMIN

    error = await budget.refused(CREATE_KEY, again, Reason.INVALID_REQUEST)

    assert [each.field for each in error.fields] == ["key.principal.key_id"]
    assert [each.role for each in budget.keys.stored.values()] == ["caller"]


async def test_another_organisations_key_is_not_found(budget: Served) -> None:
    await budget.call(CREATE_KEY, created())

    await budget.refused(REVOKE_KEY, pb.RevokeKeyRequest(organisation="other", key_id="ci"), Reason.NOT_FOUND)

    assert [each.revoked_at for each in budget.keys.stored.values()] == [None]


async def test_every_mistake_of_a_key_is_named(budget: Served) -> None:
    principal = Principal(organisation="a:b", key_id="", user="x y", team="\n", role=9)  # type: ignore[arg-type]
    key = ApiKey(principal=principal, allowed_models=["small", "a b"], expires_at=at(budget.clock.now()))

    error = await budget.refused(CREATE_KEY, pb.CreateKeyRequest(key_sha256=b"short", key=key), Reason.INVALID_REQUEST)

    assert [each.field for each in error.fields] == [
        "key_sha256",
        *(f"key.principal.{each}" for each in ("organisation", "key_id", "user", "team", "role")),
        "key.allowed_models[1]",
        "key.expires_at",
    ]
    assert not budget.keys.stored


@pytest.mark.parametrize("name", ["ListBudgets", "ListKeys", "RevokeKey", "DeleteBudget"])
async def test_nothing_is_administered_without_an_organisation(budget: Served, name: str) -> None:
    error = await budget.refused(_method(name), getattr(pb, f"{name}Request")(), Reason.INVALID_REQUEST)

    assert error.fields[0].field == "organisation"


async def spent(budget: Served, **fields: Any) -> list[money.Spend]:
    request = pb.GetSpendRequest(
        **{"organisation": "acme", "first_day": "2023-11-14", "last_day": "2023-11-14"} | fields
    )
    async with budget.client.stream(_method("GetSpend"), request, timeout_seconds=5) as responses:
        return [row async for response in responses for row in response.rows]


async def test_spending_is_told_apart_by_what_is_asked_for(budget: Served) -> None:
    for number, model in enumerate(("small", "large", "small")):
        name = f"r{number}"
        await budget.call(RESERVE, reserve(name, model=model))
        await budget.call(SETTLE, settle(reservation_id=name))
    by = [money.SPEND_DIMENSION_TEAM, money.SPEND_DIMENSION_MODEL, money.SPEND_DIMENSION_DAY]

    assert await spent(budget, by=by) == [
        money.Spend(
            day="2023-11-14",
            team="compilers",
            model=model,
            requests=requests,
            input_tokens=10 * requests,
            output_tokens=50 * requests,
            cost_micro_usd=60 * requests,
        )
        for model, requests in (("large", 1), ("small", 2))
    ]
    ((key, user),) = {
        (each.key_id, each.user)
        for each in await spent(budget, by=[money.SPEND_DIMENSION_USER, money.SPEND_DIMENSION_KEY])
    }
    assert (key, user) == ("ada", "ada.l")
    assert [each.requests for each in await spent(budget)] == [3]
    assert [each.requests for each in await spent(budget, organisation="other")] == [0]
    assert await spent(budget, organisation="other", by=by) == []
    assert await spent(budget, first_day="2023-11-15", last_day="2023-12-24", by=by) == []


async def test_more_rows_than_a_message_holds_come_in_several(budget: Served) -> None:
    for number in range(501):
        name = f"r{number}"
        await budget.call(RESERVE, reserve(name, model=f"model-{number:03d}"))
        await budget.call(SETTLE, settle(reservation_id=name))

    rows = await spent(budget, by=[money.SPEND_DIMENSION_MODEL])

    assert [each.model for each in rows] == [f"model-{number:03d}" for number in range(501)]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"organisation": "", "first_day": "", "last_day": "20231114"}, ["organisation", "first_day", "last_day"]),
        ({"first_day": "2023-11-15"}, ["last_day"]),
        ({"first_day": "2022-10-10"}, ["last_day"]),
        ({"by": [0, 1, 1, 9]}, ["by[0]", "by[2]", "by[3]"]),
    ],
)
async def test_every_mistake_of_a_question_for_spending_is_named(
    budget: Served, fields: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(TokenwayError) as caught:
        await spent(budget, **fields)

    assert caught.value.reason is Reason.INVALID_REQUEST
    assert [each.field for each in caught.value.fields] == named
