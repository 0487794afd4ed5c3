"""Limits of requests, tokens and open requests, soft limits, and prices, through a whole mesh."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from libs.errors import Reason, TokenwayError
from libs.keys import sha256_of
from libs.settings import schema
from libs.telemetry import names
from libs.testing.runtime import recorded_runtime
from services.mesh.client.router import RouterAddress, connected
from services.router import server as router
from services.router.config import RouterConfig
from tests.mesh.in_process import KEY, Mesh, default_mesh, events, model, question, running, settings
from tokenway.client.router import RouterClient
from tokenway.common.v1 import generation_pb2
from tokenway.router.v1 import router_pb2

QUESTION = question("What is the capital of France?")


def acme(*limits: dict[str, Any]) -> tuple[schema.Organisation, ...]:
    """An organisation with one key, of the user ada in the team ops."""
    key = schema.Key(id="tests", sha256=sha256_of(KEY), user="ada", team="ops")
    budgets = tuple(schema.Limit(**each) for each in limits)
    return (schema.Organisation(name="acme", keys=(key,), budgets=budgets),)


def of_user(kind: str, limit: int, window: str = "minute", **fields: Any) -> dict[str, Any]:
    return {"scope": "user", "subject": "ada", "kind": kind, "window": window, "limit": limit, **fields}


async def refused(mesh: Mesh, request: router_pb2.GenerateRequest) -> TokenwayError:
    with pytest.raises(TokenwayError) as caught:
        await events(mesh, request)
    assert caught.value.reason is Reason.BUDGET_EXCEEDED, caught.value
    return caught.value


async def answered(mesh: Mesh, text: str) -> None:
    """A question that no cache has the answer to."""
    await events(mesh, question(text, temperature=1))


async def test_a_hit_counts_as_a_request_and_is_refused_with_the_others(redis_url: str) -> None:
    async with default_mesh(redis_url, organisations=acme(of_user("requests", 3))) as mesh:
        first, *hits = [await events(mesh, QUESTION) for _ in range(3)]
        error = await refused(mesh, QUESTION)

    assert first[0].started.cache_verdict == router_pb2.CACHE_VERDICT_MISS
    assert {each[0].started.cache_verdict for each in hits} == {router_pb2.CACHE_VERDICT_HIT}
    assert re.fullmatch(r"user ada: 3 of 3 requests in this minute; next in 6[01] s", error.message)
    assert error.retry_after_seconds is not None
    assert 50 < error.retry_after_seconds <= 61


async def test_hits_go_on_when_the_money_is_spent_but_not_beyond_the_rate(redis_url: str) -> None:
    money = {"scope": "organisation", "window": "total", "limit_usd": "0.001"}
    async with default_mesh(redis_url, organisations=acme(money, of_user("requests", 3))) as mesh:
        await events(mesh, QUESTION)
        await mesh.settled()
        spent = await refused(mesh, question("Something else", max_tokens=90))
        hits = [await events(mesh, question(QUESTION.conversation.messages[0].parts[0].text)) for _ in range(2)]
        many = await refused(mesh, QUESTION)

    assert spent.metadata["kind"] == "money"
    assert {each[0].started.cache_verdict for each in hits} == {router_pb2.CACHE_VERDICT_HIT}
    assert many.metadata["kind"] == "requests"


async def test_hits_go_on_when_the_tokens_are_used_up(redis_url: str) -> None:
    async with default_mesh(redis_url, organisations=acme(of_user("output_tokens", 64))) as mesh:
        await events(mesh, QUESTION)
        used_up = await refused(mesh, question("Something else", max_tokens=60))
        hit = await events(mesh, QUESTION)

    assert used_up.metadata["kind"] == "output_tokens"
    assert hit[0].started.cache_verdict == router_pb2.CACHE_VERDICT_HIT


async def test_as_many_requests_are_open_as_may_be_and_the_next_waits_for_one_to_end(redis_url: str) -> None:
    async with default_mesh(redis_url, organisations=acme(of_user("concurrency", 1, "total"))) as mesh:
        # Slow enough to be open still, on a busy machine too, when the other comes.
        slow = question("[[tokens=40]] [[pace=20]] hello", temperature=1)
        async with mesh.client.stream_generate(slow, timeout_seconds=30) as stream:
            await anext(aiter(stream))
            error = await refused(mesh, question("hello", temperature=1))
            async for _ in stream:
                pass
        await answered(mesh, "once more")

    assert error.message == "user ada: 1 of 1 requests are open at once; next in 1 s"
    assert error.retry_after_seconds == 1


async def test_an_answer_that_reaches_a_limit_of_tokens_ends_with_what_is_leased(redis_url: str) -> None:
    async with default_mesh(redis_url, organisations=acme(of_user("output_tokens", 6, "hour"))) as mesh:
        error = await refused(mesh, QUESTION)
        short = await events(mesh, question("hello", max_tokens=6))

    assert error.retry_after_seconds is None, "64 tokens never fit"
    assert short[-1].finished.usage.output_tokens == 6


async def test_a_passed_soft_limit_is_a_trailer_a_line_an_attribute_and_a_count(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    soft = of_user("requests", 1, soft=True)
    async with default_mesh(redis_url, organisations=acme(soft)) as mesh:
        with caplog.at_level(logging.WARNING):
            first, second = [await trailers(mesh, question("hello", temperature=1)) for _ in range(2)]
        counted = mesh.metrics["budget"].sample(
            names.METRIC_BUDGET_SOFT_LIMITS_PASSED, scope="user", window="minute", kind="requests"
        )
        spans = [each for each in mesh.recorded.spans() if names.BUDGET_SOFT_LIMITS in (each.attributes or {})]

    assert "x-tokenway-soft-limits" not in first
    assert second["x-tokenway-soft-limits"] == "user:ada requests/minute 2/1"
    assert counted == 1
    assert [(each.attributes or {})[names.BUDGET_SOFT_LIMITS] for each in spans] == [("user:ada requests/minute 2/1",)]
    assert [each.name for each in spans] == ["tokenway.router.v1.RouterService/StreamGenerate"]


async def trailers(mesh: Mesh, request: router_pb2.GenerateRequest) -> dict[str, str | bytes]:
    """What comes after the last message."""
    async with grpc.aio.insecure_channel(mesh.address) as channel:
        call = channel.unary_stream(
            "/tokenway.router.v1.RouterService/StreamGenerate",
            request_serializer=router_pb2.StreamGenerateRequest.SerializeToString,
            response_deserializer=router_pb2.StreamGenerateResponse.FromString,
        )(router_pb2.StreamGenerateRequest(request=request), metadata=(("authorization", f"Bearer {KEY}"),))
        async for _ in call:
            pass
        return dict(await call.trailing_metadata() or ())


def priced(given: schema.Settings, dollars: int) -> schema.Settings:
    """The same with a price list that says so many dollars per million output tokens."""
    price = schema.Price(
        input_usd_per_million_tokens=Decimal(0),
        output_usd_per_million_tokens=Decimal(dollars),
        version=f"of-{dollars}",
    )
    return given.model_copy(update={"models": tuple(each.model_copy(update={"price": price}) for each in given.models)})


def slow(folder: Path, redis_url: str) -> schema.Settings:
    """A mesh that streams 40 tokens in a fifth of a second and extends its leases by 4 tokens."""
    engine = schema.ScriptedEngine(kind="scripted", tokens_per_second=200, first_token_seconds=0, answer_tokens=40)
    given = settings(folder, redis_url, models=(model("small", folder, engine=engine),), organisations=acme())
    budget = given.services.budget.model_copy(update={"first_lease_tokens": 4})
    return given.model_copy(update={"services": given.services.model_copy(update={"budget": budget})})


@asynccontextmanager
async def another_router(folder: Path, given: schema.Settings) -> AsyncIterator[RouterClient]:
    """A second router before the same services, with a configuration of its own."""
    services = given.services
    listening = services.router.model_copy(update={"listen": f"unix:{folder}/second.sock"})
    changed = given.model_copy(update={"services": services.model_copy(update={"router": listening})})
    runtime = recorded_runtime(service="router").runtime
    async with (
        router.serve(RouterConfig.from_settings(changed), runtime=runtime) as server,
        connected(RouterAddress(server.address, KEY)) as client,
    ):
        yield client


async def test_a_stream_is_billed_by_the_prices_it_began_with_while_another_router_has_new_ones(redis_url: str) -> None:
    ask = question("hello", temperature=1)
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder, given = Path(name), slow(Path(name), redis_url)
        async with (
            running(priced(given, 10)) as mesh,
            another_router(folder, priced(given, 1_000)) as changed,
            mesh.client.stream_generate(ask, timeout_seconds=30) as stream,
        ):
            began = [await anext(aiter(stream)) for _ in range(3)]
            dear = (await changed.generate(ask, timeout_seconds=30)).finished
            rest = [each async for each in stream]

    assert not any(each.HasField("finished") for each in began)
    cheap = rest[-1].finished
    assert {each.finish_reason for each in (cheap, dear)} == {generation_pb2.FINISH_REASON_STOP}
    for finished, dollars in ((cheap, 10), (dear, 1_000)):
        receipt = finished.receipt
        assert (receipt.price.version, receipt.usage.output_tokens, receipt.settled) == (f"of-{dollars}", 40, True)
        assert (receipt.cost_micro_usd, receipt.uncovered_micro_usd) == (40 * dollars, 0)
