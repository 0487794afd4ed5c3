"""However a request ends: what its caller sees, what is billed, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.rpc.status import receipt_of
from libs.settings import schema
from tests.mesh.in_process import (
    Mesh,
    default_mesh,
    events,
    limit,
    model,
    organisations,
    question,
    running,
    services,
    settings,
)
from tokenway.common.v1 import generation_pb2, money_pb2
from tokenway.router.v1 import router_pb2

# Ten micro-dollars a token of output, one a token of input.
OUTPUT, INPUT = 10, 1


async def failed(mesh: Mesh, request: router_pb2.GenerateRequest, *, timeout_seconds: float = 30) -> TokenwayError:
    with pytest.raises(TokenwayError) as caught:
        await events(mesh, request, timeout_seconds=timeout_seconds)
    return caught.value


def receipt(error: TokenwayError) -> money_pb2.Receipt:
    found = receipt_of(error, money_pb2.Receipt)
    assert isinstance(found, money_pb2.Receipt), "a failed but billed call carries its receipt"
    return found


async def spent(mesh: Mesh) -> int:
    await mesh.settled()
    used, _ = (await mesh.money())["BUDGET_WINDOW_DAY"]
    return used


def one_at_a_time(folder: Path) -> schema.Model:
    """The engine takes one request, so that a second one starts only when the first is really gone."""
    engine = schema.ScriptedEngine(
        kind="scripted", tokens_per_second=100, first_token_seconds=0, max_num_seqs=1, allow_directives=True
    )
    return model("small", folder, engine=engine)


async def test_a_caller_that_leaves_pays_for_what_it_got_and_frees_the_engine(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        async with running(settings(folder, redis_url, models=(one_at_a_time(folder),))) as mesh:
            await leave_after(mesh, question("[[tokens=4000]]", max_tokens=4_000), deltas=5)
            # The engine takes one request: the probe ends in time only if the other one, of 40 s, is gone.
            probe = await asyncio.wait_for(events(mesh, question("[[tokens=2]] probe")), 30)
            probe_cost = probe[-1].finished.receipt.cost_micro_usd
            bill = await spent(mesh) - probe_cost
            engine_load = mesh.metrics["router"].sample("llm_requests_total", model="small", status="success")
    assert 5 * OUTPUT < bill < 200 * OUTPUT
    assert engine_load == 2


async def leave_after(mesh: Mesh, request: router_pb2.GenerateRequest, *, deltas: int) -> None:
    async with mesh.client.stream_generate(request, timeout_seconds=30) as stream:
        seen = 0
        async for event in stream:
            seen += event.WhichOneof("event") == "delta"
            if seen == deltas:
                return


async def test_a_deadline_in_mid_answer_says_so_and_carries_the_bill(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        error, bill = await out_of_time(mesh)
        while not receipt_of(error, money_pb2.Receipt):  # all stood still just then: its client did not hear of it
            error, bill = await out_of_time(mesh)
    assert error.reason is Reason.OUT_OF_TIME
    assert receipt(error).outcome == money_pb2.OUTCOME_DEADLINE
    assert receipt(error).cost_micro_usd == bill > 5 * OUTPUT


async def out_of_time(mesh: Mesh) -> tuple[TokenwayError, int]:
    """The error, and what it cost."""
    before = await spent(mesh)
    error = await failed(mesh, question("[[tokens=1000]] [[pace=50]]", max_tokens=1_000), timeout_seconds=1.5)
    return error, await spent(mesh) - before


@pytest.mark.parametrize("fault", ["cut_after=10", "no_finish_after=10"])
async def test_an_answer_that_breaks_off_is_no_answer_and_what_was_delivered_is_billed(
    redis_url: str, fault: str
) -> None:
    async with default_mesh(redis_url) as mesh:
        error = await failed(mesh, question(f"[[tokens=50]] [[fault:{fault}]]"))
        bill = await spent(mesh)
        again = await failed(mesh, question(f"[[tokens=50]] [[fault:{fault}]]"))
    assert error.reason is Reason.STREAM_BROKEN
    assert "small broke off after 10 tokens, which are billed" in error.message
    assert receipt(error).usage.output_tokens == 10
    assert receipt(error).cost_micro_usd == bill
    assert again.reason is Reason.STREAM_BROKEN, "an unfinished answer is never served from the cache"


async def test_an_overloaded_engine_is_tried_again(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        finished = (await events(mesh, question("[[fault:overloaded=0.01]] [[fault_attempts=2]]")))[-1].finished
    assert finished.receipt.attempts == 3
    assert finished.receipt.usage.output_tokens == 8


async def test_a_failing_model_is_replaced_by_the_next_and_billed_at_its_price(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        dear = schema.Price(input_usd_per_million_tokens="2", output_usd_per_million_tokens="20")  # type: ignore[arg-type]
        models = (model("small", folder), model("large", folder, price=dear))
        async with running(settings(folder, redis_url, models=models)) as mesh:
            stream = await events(mesh, question("[[fault:unavailable]] [[fault_attempts=1]]"))
            bill = await spent(mesh)
    finished = stream[-1].finished
    assert (stream[0].started.model, finished.receipt.attempts) == ("large", 2)
    assert finished.receipt.cost_micro_usd == bill == finished.usage.input_tokens * 2 + 8 * 20


async def test_when_every_candidate_fails_each_is_named(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        error = await failed(mesh, question("[[fault:unavailable]]"))
        bill = await spent(mesh)
    assert error.reason is Reason.ALL_CANDIDATES_FAILED
    assert error.metadata == {"attempts": "3", "small": "SERVICE_UNAVAILABLE"}
    assert error.retry_after_seconds
    assert bill == 0


async def test_of_two_answers_that_fit_alone_and_not_together_one_is_whole_and_one_refused(redis_url: str) -> None:
    worst_case = 100 * INPUT + 100 * OUTPUT
    async with small_leases(redis_url, micro_usd=int(worst_case * 1.3)) as mesh:
        asked = [events(mesh, question(f"[[tokens=100]] [[pace=100]] {n}", max_tokens=100)) for n in range(2)]
        first, second = await asyncio.gather(*asked, return_exceptions=True)
    answer, refusal = (first, second) if isinstance(second, TokenwayError) else (second, first)
    assert isinstance(refusal, TokenwayError)
    assert (refusal.reason, refusal.retry_after_seconds) == (Reason.BUDGET_EXCEEDED, 1)
    assert isinstance(answer, list)
    finished = answer[-1].finished
    assert (finished.finish_reason, finished.usage.output_tokens) == (generation_pb2.FINISH_REASON_STOP, 100)


async def test_a_limit_that_is_lowered_in_mid_answer_ends_it_cleanly(redis_url: str) -> None:
    limit_micro_usd = 200 * OUTPUT
    async with small_leases(redis_url, micro_usd=1_000 * limit_micro_usd) as mesh:
        asked = question("[[tokens=1000]] [[pace=200]] why", max_tokens=1_000)
        async with mesh.client.stream_generate(asked, timeout_seconds=30) as stream:
            await begun(stream)
            await mesh.put_limit(limit_micro_usd)
            answer = [event async for event in stream]
        bill = await spent(mesh)
    last = answer[-1].finished
    assert last.finish_reason == generation_pb2.FINISH_REASON_BUDGET
    assert last.usage.output_tokens == sum(sum(event.delta.token_counts) for event in answer)
    assert 0 < last.receipt.cost_micro_usd == bill <= limit_micro_usd


@asynccontextmanager
async def small_leases(redis_url: str, *, micro_usd: int) -> AsyncIterator[Mesh]:
    """A mesh that leases eight tokens at a time, and an organisation with so much money an hour."""
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        given = settings(
            folder,
            redis_url,
            services=services(folder, budget={"first_lease_tokens": 8}),
            organisations=organisations(limit(f"{micro_usd / 1e6:.6f}"), limit("100", "day")),
        )
        async with running(given) as mesh:
            yield mesh


async def test_more_requests_than_the_limit_are_refused_at_once(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        given = settings(folder, redis_url, services=services(folder, router={"max_concurrent_requests": 2}))
        async with running(given) as mesh:
            async with (
                mesh.client.stream_generate(question("[[fault:stall_after=1]] a"), timeout_seconds=20) as first,
                mesh.client.stream_generate(question("[[fault:stall_after=1]] b"), timeout_seconds=20) as second,
            ):
                await begun(first)
                await begun(second)
                error = await failed(mesh, question("one too many"))
            await mesh.settled()
            assert (await events(mesh, question("room again")))[-1].HasField("finished")
    assert error.reason is Reason.CONCURRENCY_EXCEEDED
    assert error.metadata == {"limit": "2", "running": "2"}
    assert error.retry_after_seconds


async def begun(stream: Any) -> None:
    """Its first event is here."""
    await anext(aiter(stream))


async def test_a_long_answer_renews_its_lease_and_outlives_it(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        given = settings(folder, redis_url, services=services(folder, budget={"lease_seconds": 4}))
        async with running(given) as mesh:
            stream = await events(mesh, question("[[tokens=100]] [[pace=20]]", max_tokens=100))
    assert stream[-1].finished.receipt.outcome == money_pb2.OUTCOME_FINISHED
    assert stream[-1].finished.usage.output_tokens == 100
    assert stream[-1].finished.receipt.duration.ToTimedelta().total_seconds() > 4, "longer than a lease"
