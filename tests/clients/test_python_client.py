"""`tokenway.client` against a real mesh: what a program gets, and what the mesh sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from pydantic import BaseModel

from libs.telemetry import names
from tests.mesh.in_process import KEY, Mesh, default_mesh, limit, organisations
from tokenway.client import CallError, Client, FinishReason, Reason, Stream
from tokenway.common.v1 import money_pb2

ENDLESS = "[[tokens=4000]] [[pace=100]]"


class City(BaseModel):
    name: str
    inhabitants: int


@asynccontextmanager
async def client_of(mesh: Mesh) -> AsyncIterator[Client]:
    async with Client(mesh.address, key=KEY) as client:
        yield client


async def test_text_streams_and_the_receipt_comes_last(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        async with client.stream("hello", max_tokens=16, temperature=0) as stream:
            with pytest.raises(RuntimeError, match="not whole"):
                _ = stream.answer
            pieces = [text async for text in stream]
        again = await client.generate("hello", max_tokens=16, temperature=0)
        used, _ = (await mesh.money())["BUDGET_WINDOW_DAY"]
    assert "".join(pieces) == stream.answer.text == str(again)
    assert stream.answer.finish_reason is FinishReason.STOP
    assert stream.receipt.cost_micro_usd == used > 0
    assert again.receipt.outcome == money_pb2.OUTCOME_CACHED


async def test_leaving_the_block_cancels_the_generation(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        async with client.stream(ENDLESS, max_tokens=4_000) as stream:
            async for _ in stream:
                break
        await mesh.settled()
        assert aborted(mesh)


async def test_breaking_out_of_a_bare_loop_cancels_the_generation(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        async for _ in client.stream(ENDLESS, max_tokens=4_000):
            break
        await mesh.settled()
        assert aborted(mesh)


async def test_cancelling_the_task_cancels_the_generation(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        stream = client.stream(ENDLESS, max_tokens=4_000)
        await anext(stream)
        reading = asyncio.create_task(drain(stream))
        await asyncio.sleep(0)  # it has begun to wait for more
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await mesh.settled()
        assert aborted(mesh)


async def test_what_is_wrong_is_told_field_by_field(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        with pytest.raises(CallError) as caught:
            await client.generate("hello", max_tokens=0, temperature=9)
    assert caught.value.reason is Reason.INVALID_REQUEST
    wrong = {each.field for each in caught.value.fields}
    assert wrong == {"request.sampling.max_tokens", "request.sampling.temperature"}
    assert caught.value.retry_after_seconds is None
    assert len(caught.value.request_id or "") == 32


async def test_a_spent_budget_says_which_limit_and_when_again(redis_url: str) -> None:
    async with (
        default_mesh(redis_url, organisations=organisations(limit("0.001"))) as mesh,
        client_of(mesh) as client,
    ):
        await client.generate("hello", max_tokens=64, temperature=0)
        with pytest.raises(CallError) as caught:
            await anext(client.stream("another", max_tokens=90))
    assert caught.value.reason is Reason.BUDGET_EXCEEDED
    assert len(caught.value.quotas) == 1
    assert 0 < (caught.value.retry_after_seconds or 0) <= 3_600


async def test_an_answer_that_breaks_off_carries_its_bill(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        with pytest.raises(CallError) as caught:
            _ = [text async for text in client.stream("[[tokens=50]] [[fault:cut_after=10]]")]
        await mesh.settled()
        used, _ = (await mesh.money())["BUDGET_WINDOW_DAY"]
    assert caught.value.reason is Reason.STREAM_BROKEN
    assert caught.value.receipt
    assert caught.value.receipt.cost_micro_usd == used > 0


async def test_the_deadline_goes_with_the_call(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        with pytest.raises(CallError) as caught:
            await client.generate(ENDLESS, max_tokens=4_000, timeout_seconds=2)
        await mesh.settled()
        assert aborted(mesh)
    assert caught.value.reason is Reason.OUT_OF_TIME


async def test_the_mesh_s_spans_are_below_the_current_one(redis_url: str) -> None:
    tracer = TracerProvider().get_tracer("a program")
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        with tracer.start_as_current_span("its work") as span:
            await client.generate("hello")
        root = mesh.recorded.span("tokenway.router.v1.RouterService/Generate")
    assert root.parent is not None
    caller = span.get_span_context()
    assert (root.parent.trace_id, root.parent.span_id) == (caller.trace_id, caller.span_id)


async def test_an_answer_of_a_schema_is_a_thing_of_its_type(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        answer = await client.generate('[[echo={"name": "Paris", "inhabitants": 2100000}]]', schema=City)
        cut = await client.generate('[[echo={"name": "Paris", "inhabitants": 2100000}]]', schema=City, max_tokens=2)
    assert answer.parse(City) == City(name="Paris", inhabitants=2_100_000)
    assert cut.finish_reason is FinishReason.LENGTH
    with pytest.raises(ValueError, match="Invalid JSON"):
        cut.parse(City)


async def test_models_and_routes_are_told(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        (model,) = await client.models()
        route = await client.explain("hello", max_tokens=10)
    assert model.name == route.model == "small"


async def test_a_client_that_was_closed_connects_anew(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        await client.models()
        await client.close()
        assert await client.models()


async def test_calls_in_flight_fail_when_their_client_is_closed(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, client_of(mesh) as client:
        stream = client.stream(ENDLESS, max_tokens=4_000)
        await anext(stream)
        whole = asyncio.create_task(client.generate(ENDLESS, max_tokens=4_000))
        await asyncio.sleep(0)  # it runs until it waits for its answer
        await client.close()
        for each in (drain(stream), whole):
            with pytest.raises(CallError) as caught:
                await each
            assert caught.value.reason is Reason.CANCELLED


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}é", f"{KEY} {KEY}"])
async def test_a_key_that_is_none_is_refused_here_and_not_repeated(key: str) -> None:
    async with Client("127.0.0.1:1", key=key) as client:
        with pytest.raises(CallError) as caught:
            await client.models()
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert KEY not in repr(caught.value)


async def test_a_key_leaves_this_machine_over_tls_alone() -> None:
    async with Client("mesh.example:50051", key=KEY, tls=False) as client:
        assert KEY not in repr(client)
        with pytest.raises(CallError) as caught:
            await client.models()
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert "plaintext" in caught.value.message


async def drain(stream: Stream) -> None:
    async for _ in stream:
        pass


def aborted(mesh: Mesh) -> list[ReadableSpan]:
    """The engine's spans of requests that were cancelled there."""
    return [span for span in mesh.recorded.spans() if any(each.name == names.EVENT_ABORTED for each in span.events)]
