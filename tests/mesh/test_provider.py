"""A model that others host, through the whole mesh: what is reserved, what is billed, and who hears of a cancel."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.settings import schema
from tests.contract.openai_upstream import DONE, Upstream, chunk, refused, said, upstream, usage
from tests.mesh.in_process import Mesh, events, model, question, running, settings
from tokenway.common.v1 import generation_pb2, money_pb2
from tokenway.router.v1 import router_pb2

# Ten micro-dollars a token of output, one a token of input.
OUTPUT, INPUT = 10, 1
HELLO = chunk({"role": "assistant", "content": "Hello"})
WHOLE = HELLO + chunk(finish_reason="stop") + usage(11, 5) + DONE


@asynccontextmanager
async def mesh_with(provider: Upstream, folder: Path, redis_url: str, **engine: Any) -> AsyncIterator[Mesh]:
    hosted = schema.OpenAiEngine(kind="openai", base_url=provider.url, model="hosted", **engine)
    async with running(settings(folder, redis_url, models=(model("small", folder, engine=hosted),))) as mesh:
        yield mesh


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short path, as sockets need it."""
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        yield Path(name)


@pytest.fixture
async def provider() -> AsyncIterator[Upstream]:
    async with upstream() as running_provider:
        yield running_provider


async def test_the_providers_own_count_is_billed(provider: Upstream, folder: Path, redis_url: str) -> None:
    provider.respond = said(WHOLE)
    async with mesh_with(provider, folder, redis_url) as mesh:
        finished = (await events(mesh, question("Hello?")))[-1].finished
        await mesh.settled()
        used, _ = (await mesh.money())["BUDGET_WINDOW_DAY"]
    receipt = finished.receipt
    assert finished.finish_reason == generation_pb2.FINISH_REASON_STOP
    assert (receipt.usage.input_tokens, receipt.usage.output_tokens) == (11, 5)
    assert receipt.usage.source == money_pb2.USAGE_SOURCE_PROVIDER
    assert receipt.cost_micro_usd == used == 11 * INPUT + 5 * OUTPUT


async def test_what_a_provider_bills_beyond_max_tokens_is_shown_and_not_booked(
    provider: Upstream, folder: Path, redis_url: str
) -> None:
    provider.respond = said(HELLO + chunk(finish_reason="stop") + usage(11, 900) + DONE)
    async with mesh_with(provider, folder, redis_url) as mesh:
        finished = (await events(mesh, question("Hello?", max_tokens=8)))[-1].finished
    assert finished.finish_reason == generation_pb2.FINISH_REASON_STOP
    assert finished.receipt.usage.output_tokens == 900
    assert finished.receipt.cost_micro_usd < 100 * OUTPUT
    assert finished.receipt.cost_micro_usd + finished.receipt.uncovered_micro_usd == 11 * INPUT + 900 * OUTPUT


async def test_the_whole_of_max_tokens_is_reserved_before_the_provider_is_asked(
    provider: Upstream, folder: Path, redis_url: str
) -> None:
    provider.respond = said(30)
    async with mesh_with(provider, folder, redis_url) as mesh:
        asking = asyncio.create_task(events(mesh, question("Hello?", max_tokens=1_000)))
        await provider.asked(1)
        reserved = await mesh.reserved()
        asking.cancel()
        await asyncio.wait([asking])
        await mesh.settled()
    assert provider.bodies[0]["max_tokens"] == 1_000
    assert reserved >= 1_000 * OUTPUT


async def test_a_caller_that_leaves_is_heard_of_by_the_provider_and_pays_an_estimate(
    provider: Upstream, folder: Path, redis_url: str
) -> None:
    provider.respond = said(HELLO, 30)
    async with mesh_with(provider, folder, redis_url) as mesh:
        async with mesh.client.stream_generate(question("Hello?"), timeout_seconds=30) as stream:
            async for event in stream:
                if event.WhichOneof("event") == "delta":
                    break
        await asyncio.wait_for(provider.left.wait(), 60)
        await mesh.settled()
        used, _ = (await mesh.money())["BUDGET_WINDOW_DAY"]
    assert OUTPUT < used < 20 * OUTPUT


async def failure(mesh: Mesh, request: router_pb2.GenerateRequest) -> TokenwayError:
    with pytest.raises(TokenwayError) as failed:
        await events(mesh, request)
    return failed.value


async def test_an_answer_that_only_looks_whole_is_no_answer(provider: Upstream, folder: Path, redis_url: str) -> None:
    provider.respond = said(HELLO + usage(11, 1))
    async with mesh_with(provider, folder, redis_url) as mesh:
        error = await failure(mesh, question("Hello?"))
        provider.respond = said(WHOLE)
        again = (await events(mesh, question("Hello?")))[-1].finished
    assert error.reason is Reason.STREAM_BROKEN
    assert again.receipt.usage.output_tokens == 5, "the broken one was not cached"


async def test_a_refused_key_is_no_fault_of_the_callers_and_stays_secret(
    provider: Upstream, folder: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "sk-canary-0123456789abcdefghijklmnop"
    monkeypatch.setenv("PROVIDER_KEY", canary)
    provider.respond = refused(401, {"error": {"message": f"Incorrect API key provided: {canary}"}})
    async with mesh_with(provider, folder, redis_url, api_key_env="PROVIDER_KEY") as mesh:
        error = await failure(mesh, question("Hello?"))
        spans = repr([span.to_json() for span in mesh.recorded.spans()])
    assert provider.headers[0]["Authorization"] == f"Bearer {canary}"
    assert error.reason is Reason.ALL_CANDIDATES_FAILED
    assert canary not in repr(error) + spans
