"""The client that blocks, from a thread beside the mesh's own."""

from __future__ import annotations

import asyncio
import re
import threading
from dataclasses import dataclass
from functools import partial

import pytest
from opentelemetry.sdk.trace import TracerProvider

from libs.errors import Reason
from tests.clients.examples import CLIENTS
from tests.clients.test_python_client import ENDLESS, aborted
from tests.mesh.in_process import KEY, Mesh, default_mesh
from tokenway import client
from tokenway.client import CallError, SyncClient


def _asks(mesh: Mesh) -> tuple[str, str]:
    with SyncClient(mesh.address, key=KEY) as client:
        assert KEY not in repr(client)
        assert [each.name for each in client.models()] == [client.explain("hello").model]
        with client.stream("hello", temperature=0) as stream:
            pieces = list(stream)
        assert stream.receipt.cost_micro_usd > 0
        return "".join(pieces), client.generate("hello", temperature=0).text


async def test_it_answers_without_an_event_loop(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        streamed, whole = await asyncio.to_thread(_asks, mesh)
    assert streamed == whole
    assert "tokenway-client" not in {each.name for each in threading.enumerate()}


@dataclass
class City:
    name: str


def _runs(snippet: str, mesh: Mesh) -> None:
    given = {
        "SyncClient": partial(SyncClient, mesh.address),
        "key": KEY,
        "City": City,
        "Place": City,
        "weather": lambda call: call.arguments_json,
    }
    exec(snippet, vars(client) | given)  # noqa: S102 # it is our own


async def test_the_lines_in_the_client_s_readme_run(redis_url: str) -> None:
    readme = (CLIENTS / "python" / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    # The scripted engine knows no cities.
    answerable = snippet.replace("The largest city of Japan?", '[[echo={\\"name\\": \\"Tokyo\\"}]]')
    assert answerable != snippet
    async with default_mesh(redis_url) as mesh:
        await asyncio.to_thread(_runs, answerable, mesh)
        assert mesh.metrics["router"].sample("llm_requests_total", model="small", status="success") == 3


def _leaves(mesh: Mesh) -> None:
    with SyncClient(mesh.address, key=KEY) as client, client.stream(ENDLESS, max_tokens=4_000) as stream:
        next(stream)


def _breaks_out(mesh: Mesh, let_go: threading.Event) -> None:
    with SyncClient(mesh.address, key=KEY) as client:
        for _ in client.stream(ENDLESS, max_tokens=4_000):
            break
        let_go.wait(30)


async def test_leaving_the_block_cancels(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        await asyncio.to_thread(_leaves, mesh)
        await mesh.settled()
        assert aborted(mesh)


async def test_breaking_out_of_a_bare_loop_cancels(redis_url: str) -> None:
    let_go = threading.Event()
    async with default_mesh(redis_url) as mesh:
        asking = asyncio.create_task(asyncio.to_thread(_breaks_out, mesh, let_go))
        while not aborted(mesh):  # noqa: ASYNC110 # the state of a server: there is nothing to wait on
            await asyncio.sleep(0.02)
        let_go.set()
        await asking


def _is_closed(mesh: Mesh) -> list[CallError]:
    errors: list[CallError] = []
    client = SyncClient(mesh.address, key=KEY)
    stream = client.stream(ENDLESS, max_tokens=4_000)
    next(stream)

    def read() -> None:
        with pytest.raises(CallError) as caught:
            list(stream)
        errors.append(caught.value)

    reader = threading.Thread(target=read)
    reader.start()
    client.close()
    reader.join(30)
    with pytest.raises(CallError, match="closed") as caught:
        client.models()
    client.close()
    return [*errors, caught.value]


async def test_whoever_waits_when_it_is_closed_is_told(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        errors = await asyncio.to_thread(_is_closed, mesh)
    assert [each.reason for each in errors] == [Reason.CANCELLED] * 2


def _is_refused(mesh: Mesh) -> CallError:
    with SyncClient(mesh.address, key="tw_unknown") as client, pytest.raises(CallError) as caught:
        client.generate("hello")
    return caught.value


async def test_errors_are_the_same(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        error = await asyncio.to_thread(_is_refused, mesh)
    assert (error.reason, len(error.request_id or "")) == (Reason.KEY_UNKNOWN, 32)


async def test_the_caller_s_span_is_the_parent(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        with TracerProvider().get_tracer("a program").start_as_current_span("its work") as span:
            await asyncio.to_thread(_asks, mesh)
        root = mesh.recorded.span("tokenway.router.v1.RouterService/Generate")
    assert root.parent is not None
    assert root.parent.span_id == span.get_span_context().span_id
