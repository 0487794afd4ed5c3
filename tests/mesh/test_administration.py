"""Keys, limits and the ledger through the public port of a whole mesh."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog

from libs.errors import Reason, TokenwayError
from libs.keys import sha256_of
from libs.rpc.call import current_request_id
from libs.rpc.method import Method, method
from libs.telemetry import logs
from libs.testing.runtime import recorded_runtime
from services.mesh.client.admin import AdminClient, administering
from services.mesh.client.router import RouterAddress, calling, connected
from services.router import server as router
from services.router.config import RouterConfig
from services.router.domain.principal import Principal as Caller
from tests.mesh.in_process import (
    ADMIN_KEY,
    KEY,
    Mesh,
    events,
    limit,
    organisations,
    question,
    running,
    settings,
    with_admin,
)
from tokenway.common.v1 import money_pb2 as money
from tokenway.common.v1.principal_pb2 import ApiKey, Principal
from tokenway.router.v1 import admin_pb2 as pb
from tokenway.router.v1.router_pb2 import CacheControl

OTHER_ADMIN_KEY = "tw_key-of-another-administrator"
SERVED = ("PutBudget", "DeleteBudget", "ListBudgets", "ListReceipts", "CreateKey", "ListKeys", "RevokeKey")
CACHE_SERVED = ("GetCacheStats", "InvalidateCache", "ExplainCache")


@dataclass(frozen=True, slots=True)
class Administered:
    """A mesh of two organisations, each with its administrator."""

    mesh: Mesh
    admin: AdminClient
    other: AdminClient

    async def outcome(self, key: str, **fields: Any) -> Reason | None:
        """Why a question with that key is refused; None when it is answered."""
        async with connected(RouterAddress(self.mesh.address, key)) as client:
            try:
                await client.generate(question("hello", temperature=1, **fields), timeout_seconds=10)
            except TokenwayError as error:
                return error.reason
        return None

    async def until_refused(self, key: str, reason: Reason) -> None:
        """Returns once a question with that key is refused so; how soon that is, the routers' keys are tested for."""
        async with asyncio.timeout(30):
            while (found := await self.outcome(key)) is None:
                pass
        assert found is reason


@asynccontextmanager
async def administered(redis_url: str) -> AsyncIterator[Administered]:
    acme, other = organisations(limit("100"), limit("100", "day"), limit("100", "month"))
    given = (with_admin(acme, ADMIN_KEY), with_admin(other, OTHER_ADMIN_KEY))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tw-")))
        mesh = await stack.enter_async_context(running(settings(folder, redis_url, organisations=given)))
        admin, foreign = [
            await stack.enter_async_context(administering(RouterAddress(mesh.address, key)))
            for key in (ADMIN_KEY, OTHER_ADMIN_KEY)
        ]
        yield Administered(mesh, admin, foreign)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Every line that this process logs, at the lowest level."""
    root = logging.getLogger()
    handlers, level, stream = root.handlers, root.level, io.StringIO()
    logs.set_up("debug", request_id=current_request_id.get, stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)


def key(key_id: str, **fields: Any) -> ApiKey:
    return ApiKey(principal=Principal(key_id=key_id), **fields)


def budget(scope: money.BudgetScope.ValueType, subject: str, limit_micro_usd: int) -> money.Budget:
    window, kind = money.BUDGET_WINDOW_DAY, money.BUDGET_KIND_MONEY
    return money.Budget(scope=scope, subject=subject, window=window, kind=kind, limit=limit_micro_usd)


async def refused(doing: Any, reason: Reason) -> TokenwayError:
    with pytest.raises(TokenwayError) as caught:
        await doing
    assert caught.value.reason is reason, caught.value
    return caught.value


async def test_a_key_opens_at_once_and_a_revoked_one_is_refused_within_a_second(redis_url: str) -> None:
    async with administered(redis_url) as world:
        made = await world.admin.create_key(key("ci"))
        assert await world.outcome(made.secret) is None

        revoked = await world.admin.revoke_key("ci")

        await world.until_refused(made.secret, Reason.KEY_REVOKED)
        assert revoked.HasField("revoked_at")
        assert await world.admin.revoke_key("ci") == revoked
        assert await world.outcome(KEY) is None


async def test_a_key_of_the_configuration_file_is_listed_and_can_be_revoked(redis_url: str) -> None:
    async with administered(redis_url) as world:
        assert [each.principal.key_id for each in await world.admin.list_keys()] == ["admin", "tests"]
        assert await world.outcome(KEY) is None

        await world.admin.revoke_key("tests")

        await world.until_refused(KEY, Reason.KEY_REVOKED)


async def test_a_key_may_use_the_models_it_was_made_for_until_it_expires(redis_url: str) -> None:
    async with administered(redis_url) as world:
        unknown = await refused(world.admin.create_key(key("ci", allowed_models=["gpt-9"])), Reason.INVALID_REQUEST)
        limited = key("ci", allowed_models=["small"])
        made = await world.admin.create_key(limited)
        ending = key("soon", allowed_models=["small"])
        ending.expires_at.FromSeconds(int(time.time()) + 2)
        soon = await world.admin.create_key(ending)

        assert "there are small" in unknown.message
        assert await world.outcome(made.secret, model="small") is None
        await world.until_refused(soon.secret, Reason.KEY_EXPIRED)


@pytest.mark.parametrize("name", [*SERVED, *CACHE_SERVED])
async def test_a_caller_administers_nothing(redis_url: str, name: str) -> None:
    async with administered(redis_url) as world:
        asked: Method[Any, Any] = method(
            pb.DESCRIPTOR, "AdminService", name, getattr(pb, f"{name}Request"), getattr(pb, f"{name}Response")
        )
        async with calling(RouterAddress(world.mesh.address, KEY)) as client:
            error = await refused(client.unary(asked, asked.request(), timeout_seconds=5), Reason.ROLE_REQUIRED)

        assert error.metadata == {"key_id": "tests"}
        assert len(await world.admin.list_keys()) == 2


async def test_the_cache_is_explained_counted_and_emptied_for_its_own_organisation_alone(redis_url: str) -> None:
    async with administered(redis_url) as world:
        asked = question("hello", labels={"doc": "1"})
        before = await world.admin.explain_cache(asked)
        await events(world.mesh, asked)
        await events(world.mesh, asked)
        after, elsewhere = await world.admin.explain_cache(asked), await world.other.explain_cache(asked)
        counted, foreign = await world.admin.get_cache_stats(), await world.other.get_cache_stats()
        untouched = await world.other.invalidate_cache(pb.InvalidateCacheRequest(all=True))
        another = pb.InvalidateCacheRequest(model="small", model_revision="another")
        kept = await world.admin.invalidate_cache(another)
        dropped = await world.admin.invalidate_cache(pb.InvalidateCacheRequest(tag="doc=1"))

        assert (before.model, before.bypass_reason, before.stored) == ("small", "", False)
        assert (after.stored, after.key) == (True, before.key)
        assert (elsewhere.stored, elsewhere.key == before.key) == (False, False)
        assert (counted.lookups, counted.hits, counted.entries) == (2, 1, 1)
        assert (foreign.lookups, foreign.hits) == (0, 0)
        assert (untouched, kept, dropped) == (0, 0, 1)
        assert not (await world.admin.explain_cache(asked)).stored


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"temperature": 1}, "temperature"),
        ({"cache": CacheControl(mode=CacheControl.MODE_OFF)}, "mode_off"),
        ({"cache": CacheControl(mode=CacheControl.MODE_REFRESH)}, "mode_refresh"),
    ],
)
async def test_a_question_that_the_cache_is_not_asked_says_why(
    redis_url: str, fields: dict[str, Any], reason: str
) -> None:
    async with administered(redis_url) as world:
        assert (await world.admin.explain_cache(question("hello", **fields))).bypass_reason == reason


async def test_whoever_got_a_wrong_answer_from_the_cache_has_it_evicted(redis_url: str) -> None:
    async with administered(redis_url) as world:
        asked = question("hello")
        first, second = [(await events(world.mesh, asked))[0].started.request_id for _ in range(2)]
        async with (
            connected(RouterAddress(world.mesh.address, KEY)) as caller,
            connected(RouterAddress(world.mesh.address, OTHER_ADMIN_KEY)) as foreign,
        ):
            elsewhere = await foreign.report_bad_hit(second, timeout_seconds=5)
            no_hit = await caller.report_bad_hit(first, timeout_seconds=5)
            evicted = [await caller.report_bad_hit(second, timeout_seconds=5) for _ in range(2)]
            error = await refused(caller.report_bad_hit("", timeout_seconds=5), Reason.INVALID_REQUEST)

        assert (elsewhere, no_hit, evicted) == (False, False, [True, False])
        assert [each.field for each in error.fields] == ["request_id"]
        assert not (await world.admin.explain_cache(asked)).stored
        assert (await world.admin.get_cache_stats()).reported == 1


class AnAdministratorsKeys:
    async def principal(self, key: str) -> Caller:
        return Caller("admin", "acme", role="admin")


async def test_whoever_administers_without_the_budget_or_the_cache_is_told_when_to_ask_again(tmp_path: Path) -> None:
    config = RouterConfig.from_settings(settings(tmp_path, "redis://127.0.0.1:1"))
    async with (
        router.serve(config, runtime=recorded_runtime().runtime, keys=AnAdministratorsKeys()) as alone,
        administering(RouterAddress(alone.address, KEY)) as admin,
    ):
        for ask in (admin.list_budgets, lambda: anext(admin.verify_ledger()), admin.get_cache_stats):
            with pytest.raises(TokenwayError) as caught:
                await ask()
            assert caught.value.reason is Reason.SERVICE_UNAVAILABLE
            assert caught.value.retry_after_seconds == 1
            assert caught.value.message.endswith("cannot be reached; try again shortly")


async def test_what_is_dropped_from_the_cache_has_to_be_named(redis_url: str) -> None:
    async with administered(redis_url) as world:
        error = await refused(world.admin.invalidate_cache(pb.InvalidateCacheRequest()), Reason.INVALID_REQUEST)
        assert [each.field for each in error.fields] == ["what"]


async def test_an_administrator_sees_and_touches_nothing_of_another_organisation(redis_url: str) -> None:
    async with administered(redis_url) as world:
        (first, *_) = await events(world.mesh, question("hello"))
        mine = await world.admin.list_budgets()

        assert [each.principal.key_id for each in await world.other.list_keys()] == ["admin", "other"]
        assert await world.other.list_budgets() == []
        for request_id in ("", first.started.request_id):
            assert not (await world.other.list_receipts(pb.ListReceiptsRequest(request_id=request_id))).receipts
        await refused(world.other.revoke_key("tests"), Reason.NOT_FOUND)
        stolen = ApiKey(principal=Principal(key_id="thief", organisation="acme"))
        error = await refused(world.other.create_key(stolen), Reason.INVALID_REQUEST)
        assert [each.field for each in error.fields] == ["key.principal.organisation"]
        await world.other.put_budget(budget(money.BUDGET_SCOPE_KEY, "tests", 0))
        await world.other.put_budget(budget(money.BUDGET_SCOPE_ORGANISATION, "", 0))
        assert not await world.other.delete_budget(budget(money.BUDGET_SCOPE_KEY, "admin", 0))
        assert await world.other.delete_budget(budget(money.BUDGET_SCOPE_ORGANISATION, "", 0))
        # The same id in both organisations is two keys.
        made = await world.other.create_key(key("tests"))
        await world.other.revoke_key("tests")

        assert made.key.principal.organisation == "other"
        await world.until_refused(made.secret, Reason.KEY_REVOKED)
        assert await world.outcome(KEY) is None
        assert [each.budget for each in await world.admin.list_budgets()] == [each.budget for each in mine]
        assert [each.principal.key_id for each in await world.admin.list_keys()] == ["admin", "tests"]


async def test_a_limit_holds_from_the_next_request_on_until_it_is_deleted(redis_url: str) -> None:
    async with administered(redis_url) as world:
        made = await world.admin.create_key(key("ci"))
        state = await world.admin.put_budget(budget(money.BUDGET_SCOPE_KEY, "ci", 1))

        assert (state.budget.limit, state.used, state.reserved) == (1, 0, 0)
        assert await world.outcome(made.secret) is Reason.BUDGET_EXCEEDED
        assert await world.outcome(KEY) is None
        assert await world.admin.delete_budget(budget(money.BUDGET_SCOPE_KEY, "ci", 0))
        assert await world.outcome(made.secret) is None
        odd = money.Budget(
            scope=money.BUDGET_SCOPE_TEAM,
            subject="compilers",
            window=money.BUDGET_WINDOW_MINUTE,
            kind=money.BUDGET_KIND_CONCURRENCY,
        )
        error = await refused(world.admin.put_budget(odd), Reason.INVALID_REQUEST)
        assert [each.field for each in error.fields] == ["budget.window"]


async def test_the_receipt_of_a_request_is_found_by_its_id(redis_url: str) -> None:
    async with administered(redis_url) as world:
        stream = await events(world.mesh, question("hello"))
        await events(world.mesh, question("something else"))
        await world.mesh.settled()
        wanted = stream[-1].finished.receipt

        found = await world.admin.list_receipts(pb.ListReceiptsRequest(request_id=wanted.request_id))
        everything = await world.admin.list_receipts(pb.ListReceiptsRequest())

        assert [(each.request_id, each.cost_micro_usd) for each in found.receipts] == [
            (wanted.request_id, wanted.cost_micro_usd)
        ]
        assert len(everything.receipts) == 2
        assert everything.receipts[1] == found.receipts[0]


async def test_what_a_request_cost_is_spending_at_once_and_for_administrators_alone(redis_url: str) -> None:
    async with administered(redis_url) as world:
        stream = await events(world.mesh, question("hello"))
        await world.mesh.settled()
        receipt = stream[-1].finished.receipt
        today = datetime.now(UTC).date()
        days = {"first_day": (today - timedelta(days=1)).isoformat(), "last_day": today.isoformat()}
        request = pb.GetSpendRequest(**days, by=[money.SPEND_DIMENSION_KEY, money.SPEND_DIMENSION_MODEL])

        (row,) = await world.admin.get_spend(request)

        assert (row.key_id, row.model, row.requests) == ("tests", "small", 1)
        assert (row.output_tokens, row.cost_micro_usd) == (receipt.usage.output_tokens, receipt.cost_micro_usd)
        assert await world.other.get_spend(request) == []
        async with administering(RouterAddress(world.mesh.address, KEY)) as caller:
            await refused(caller.get_spend(request), Reason.ROLE_REQUIRED)


async def test_the_ledger_is_verified_by_administrators_alone(redis_url: str) -> None:
    async with administered(redis_url) as world:
        await events(world.mesh, question("hello"))
        await world.mesh.settled()
        sound = [each async for each in world.admin.verify_ledger()]
        with redis.Redis.from_url(redis_url) as client:
            (page,) = client.keys("tw:{acme}:spent:month:*")
            spent, reserved = map(int, client.hget(page, "key:tests").split())
            client.hset(page, "key:tests", f"{spent - 1} {reserved}")

        *differences, verified = [each async for each in world.admin.verify_ledger()]

        assert [each.WhichOneof("finding") for each in sound] == ["verified"]
        assert sound[0].verified.receipts == 1
        assert sound[0].verified.counters >= 6
        assert [each.difference.kept - each.difference.computed for each in differences] == [-1]
        assert differences[0].difference.name.startswith("key:tests month ")
        assert verified.verified.differences == 1
        assert [each.verified.receipts async for each in world.other.verify_ledger()] == [0]
        async with administering(RouterAddress(world.mesh.address, KEY)) as caller:
            await refused(anext(caller.verify_ledger()), Reason.ROLE_REQUIRED)


async def test_a_change_is_one_line_and_a_mark_on_the_span_and_a_secret_is_nowhere(
    redis_url: str, written: io.StringIO
) -> None:
    async with administered(redis_url) as world:
        made = await world.admin.create_key(key("ci"))
        await world.admin.put_budget(budget(money.BUDGET_SCOPE_KEY, "ci", 9))
        rate = budget(money.BUDGET_SCOPE_TEAM, "ops", 60)
        rate.kind, rate.soft = money.BUDGET_KIND_REQUESTS, True
        await world.admin.put_budget(rate)
        await world.admin.delete_budget(budget(money.BUDGET_SCOPE_KEY, "ci", 0))
        await world.admin.delete_budget(budget(money.BUDGET_SCOPE_KEY, "ci", 0))  # changes nothing
        await world.admin.list_keys()
        await world.outcome(made.secret)
        await world.admin.revoke_key("ci")
        await world.admin.invalidate_cache(pb.InvalidateCacheRequest(model="small"))
        await world.until_refused(made.secret, Reason.KEY_REVOKED)
        await refused(world.admin.create_key(key("ci")), Reason.INVALID_REQUEST)

        lines = [json.loads(line) for line in written.getvalue().splitlines()]
        audit = [line for line in lines if line["event"] == "administration"]
        assert [(line["change"], line["subject"]) for line in audit] == [
            ("CreateKey", "key ci, role caller"),
            ("PutBudget", "key:ci day = 9 micro-dollars"),
            ("PutBudget", "team:ops day requests, soft = 60"),
            ("DeleteBudget", "key:ci day"),
            ("RevokeKey", "key ci"),
            ("InvalidateCache", "answers of model small: 0 dropped"),
        ]
        assert {(line["level"], line["organisation"], line["key_id"]) for line in audit} == {("info", "acme", "admin")}
        marked = [each for each in world.mesh.recorded.spans() if "tokenway.admin.change" in (each.attributes or {})]
        assert [(each.name, (each.attributes or {})["tokenway.key_id"]) for each in marked] == [
            (f"tokenway.router.v1.AdminService/{line['change']}", "admin") for line in audit
        ]
        spans = " ".join(each.to_json() for each in world.mesh.recorded.spans())
        for place in (written.getvalue(), spans, everything_in(redis_url)):
            for secret in (made.secret, made.secret.removeprefix("tw_"), ADMIN_KEY):
                assert secret not in place
        assert sha256_of(made.secret) not in written.getvalue() + spans


def everything_in(redis_url: str) -> str:
    """Every key of Redis, with what it holds, as Redis itself serialises it."""
    with redis.Redis.from_url(redis_url) as client:
        names: Any = list(client.scan_iter())
        return repr([(name, client.dump(name)) for name in names])
