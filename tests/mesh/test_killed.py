"""Real processes, killed in mid-stream: nobody is overcharged beyond a lease, and nothing is left behind."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.rpc.client import Stream
from libs.rpc.status import receipt_of
from libs.settings import schema
from libs.testing.runtime import recorded_runtime
from services.mesh.client.router import RouterAddress, connected
from tests.mesh.in_process import KEY, Mesh, limit, model, organisations, question, services, settings
from tests.mesh.processes import Process, processes
from tokenway.client.router import RouterClient
from tokenway.common.v1 import generation_pb2, money_pb2
from tokenway.router.v1 import router_pb2

pytestmark = pytest.mark.processes

LEASE_SECONDS = 1.5
LEASE_TOKENS = 20
LONG = question("[[tokens=3000]] [[pace=100]]", max_tokens=3_000)


@dataclass
class Killable:
    """A mesh of processes, and a look at its money."""

    processes: dict[str, Process]
    client: RouterClient
    mesh: Mesh

    def stream(self, request: router_pb2.GenerateRequest) -> Any:
        return self.client.stream_generate(request, timeout_seconds=60)


@asynccontextmanager
async def killable(redis_url: str) -> AsyncIterator[Killable]:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        engine = schema.ScriptedEngine(kind="scripted", first_token_seconds=0, max_num_seqs=1, allow_directives=True)
        given = settings(
            folder,
            redis_url,
            models=(model("small", folder, engine=engine),),
            services=services(folder, budget={"lease_seconds": LEASE_SECONDS, "first_lease_tokens": LEASE_TOKENS}),
            organisations=organisations(limit("100", "day")),
        )
        async with AsyncExitStack() as stack:
            started = await stack.enter_async_context(processes(given, folder))
            client = await stack.enter_async_context(connected(RouterAddress(given.services.router.listen, KEY)))
            runtime = recorded_runtime()
            budget = runtime.runtime.client(given.services.budget.listen, service="budget")
            stack.push_async_callback(budget.close)
            mesh = Mesh(given, {}, runtime, {}, client, budget)
            yield Killable(started, client, mesh)


async def read(stream: Stream[router_pb2.StreamGenerateResponse], *, tokens: int) -> int:
    """Reads until so many tokens have come; how many did."""
    delivered = 0
    async for event in stream:
        delivered += sum(event.delta.token_counts)
        if delivered >= tokens:
            break
    return delivered


async def rest(stream: Stream[router_pb2.StreamGenerateResponse]) -> tuple[int, router_pb2.Finished | None]:
    delivered, finished = 0, None
    async for event in stream:
        delivered += sum(event.delta.token_counts)
        finished = event.finished if event.HasField("finished") else finished
    return delivered, finished


async def spent(mesh: Mesh) -> int:
    await mesh.settled()
    return (await mesh.money())["BUDGET_WINDOW_DAY"][0]


async def test_a_killed_engine_breaks_the_answer_bills_what_came_and_serves_again(redis_url: str) -> None:
    async with killable(redis_url) as up:
        async with up.stream(LONG) as stream:
            delivered = await read(stream, tokens=30)
            await up.processes["small-0"].kill()
            with pytest.raises(TokenwayError) as caught:
                delivered += (await rest(stream))[0]
        receipt: Any = receipt_of(caught.value, money_pb2.Receipt)
        bill = await spent(up.mesh)
        await up.processes["small-0"].start()
        again = await up.client.generate(question("[[tokens=3]] again"), timeout_seconds=20)
    assert caught.value.reason is Reason.STREAM_BROKEN
    assert receipt.usage.output_tokens >= delivered, "what was on its way when it broke is billed too"
    assert receipt.cost_micro_usd == bill
    assert again.finished.usage.output_tokens == 3


async def test_a_killed_router_costs_one_lease_at_most_and_frees_the_engine(redis_url: str) -> None:
    async with killable(redis_url) as up:
        async with up.stream(LONG) as stream:
            delivered = await read(stream, tokens=30)
            await up.processes["router"].kill()
            with pytest.raises(TokenwayError) as caught:
                delivered += (await rest(stream))[0]
        # Nobody settles for a dead router: its lease runs out, and what that covered is presumed delivered.
        bill = await spent(up.mesh)
        await up.processes["router"].start()
        # The engine takes one request: this one is answered only because the other was aborted.
        again = await up.client.generate(question("[[tokens=3]] again"), timeout_seconds=20)
    assert caught.value.reason is Reason.SERVICE_UNAVAILABLE
    assert "broke off; what was delivered may be billed; ask again" in caught.value.message
    assert delivered * 10 <= bill
    assert bill <= (delivered + 4 * LEASE_TOKENS) * 10 + 200, "one lease, extended ahead of the stream, and the input"
    assert again.finished.usage.output_tokens == 3


# A program that streams until it is killed; it says so when the first tokens are there.
CLIENT = """
import sys, grpc
from tokenway.router.v1 import router_pb2
address, key = sys.argv[1:]
start = grpc.insecure_channel(address).unary_stream(
    "/tokenway.router.v1.RouterService/StreamGenerate",
    response_deserializer=router_pb2.StreamGenerateResponse.FromString,
)
for event in start(sys.stdin.buffer.read(), metadata=(("authorization", f"Bearer {key}"),)):
    print(event.WhichOneof("event"), flush=True)
"""


async def test_a_client_that_vanishes_pays_for_what_was_sent_and_frees_the_engine(redis_url: str) -> None:
    async with killable(redis_url) as up:
        address = up.mesh.settings.services.router.listen
        client = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", CLIENT, address, KEY),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(router_pb2.StreamGenerateRequest(request=LONG).SerializeToString())
        client.stdin.close()
        lines = [await asyncio.wait_for(client.stdout.readline(), 30) for _ in range(20)]
        client.kill()
        await client.wait()
        # The engine takes one request: this one is answered only because the other was aborted.
        probe = await up.client.generate(question("[[tokens=3]] probe"), timeout_seconds=20)
        bill = await spent(up.mesh) - probe.finished.receipt.cost_micro_usd
    assert lines[0] == b"started\n"
    assert 19 * 10 <= bill < 1_000 * 10


async def test_without_the_budget_service_a_stream_ends_with_what_its_lease_covers(redis_url: str) -> None:
    async with killable(redis_url) as up:
        async with up.stream(LONG) as stream:
            delivered = await read(stream, tokens=30)
            await up.processes["budget"].kill()
            more, finished = await rest(stream)
        await up.processes["budget"].start()
        bill = await spent(up.mesh)
    assert finished is not None
    assert finished.finish_reason == generation_pb2.FINISH_REASON_BUDGET_UNAVAILABLE
    assert finished.usage.output_tokens == delivered + more
    assert not finished.receipt.settled
    assert bill >= finished.receipt.cost_micro_usd, "the lease's end books at least what was delivered"


async def test_without_the_cache_service_requests_are_answered_all_the_same(redis_url: str) -> None:
    async with killable(redis_url) as up:
        await up.processes["cache"].kill()
        answer = await up.client.generate(question("[[tokens=3]] hello"), timeout_seconds=20)
    assert answer.started.cache_verdict == router_pb2.CACHE_VERDICT_UNAVAILABLE
    assert answer.finished.usage.output_tokens == 3


async def test_a_router_that_is_told_to_stop_lets_its_streams_end(redis_url: str) -> None:
    async with killable(redis_url) as up:
        async with up.stream(question("[[tokens=100]] [[pace=100]]", max_tokens=100)) as stream:
            await read(stream, tokens=1)
            stopping = asyncio.create_task(up.processes["router"].stop())
            _, finished = await rest(stream)
        assert await stopping == 0
        assert await spent(up.mesh) > 0
    assert finished is not None
    assert finished.usage.output_tokens == 100
