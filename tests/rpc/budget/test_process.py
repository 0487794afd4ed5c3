"""The service as a process: how it begins, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from libs.rpc.process import MESH_TOKEN_VARIABLE
from libs.testing.ledger_books import RedisBooks
from libs.testing.runtime import MESH_TOKEN, recorded_runtime
from libs.testing.valkey import RedisServer
from services.budget.domain.arrears import BOOKED_LATER
from tests.rpc.budget.served import RESERVE, SETTLE, reserve, settle, until

pytestmark = pytest.mark.processes


@asynccontextmanager
async def process(folder: Path, redis_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Killed at the end of the block, if it has not ended by then."""
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.budget", "--config", str(_configured(folder))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, MESH_TOKEN_VARIABLE: MESH_TOKEN, "REDIS_URL": redis_url},
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def ready(running: asyncio.subprocess.Process) -> str:
    """The address where it serves."""
    assert running.stdout is not None
    line = (await running.stdout.readline()).decode()
    assert line.startswith("ready budget=unix:"), line
    return line.split()[1].removeprefix("budget=")


async def test_it_says_where_it_is_ready_and_ends_in_order(folder: Path, redis_url: str) -> None:
    async with process(folder, redis_url) as running:
        await ready(running)
        running.send_signal(signal.SIGTERM)

        assert await running.wait() == 0


async def test_a_reservation_outlives_the_process_that_gave_it(folder: Path, redis_url: str) -> None:
    runtime = recorded_runtime().runtime
    async with process(folder, redis_url) as killed:
        client = runtime.client(await ready(killed), service="budget")
        await client.unary(RESERVE, reserve(), timeout_seconds=5)
        await client.close()
        killed.kill()
        await killed.wait()

    async with process(folder, redis_url) as other:
        client = runtime.client(await ready(other), service="budget")
        receipt = (await client.unary(SETTLE, settle(50), timeout_seconds=5)).receipt
        await client.close()

    assert receipt.cost_micro_usd == 60


async def test_what_a_killed_process_could_not_book_is_booked_by_the_next(
    folder: Path, own_valkey: RedisServer
) -> None:
    runtime = recorded_runtime().runtime
    async with process(folder, own_valkey.url) as killed:
        client = runtime.client(await ready(killed), service="budget")
        own_valkey.kill()
        await client.unary(RESERVE, reserve(), timeout_seconds=5)
        await client.unary(SETTLE, settle(50), timeout_seconds=5)
        killed.kill()
        await client.close()
        await killed.wait()
    own_valkey.start()

    books = RedisBooks(own_valkey.url)
    async with process(folder, own_valkey.url) as other:
        await ready(other)
        await until(lambda: books.receipts("acme"))
    (receipt,) = books.receipts("acme")
    books.close()

    assert (receipt.cost_micro_usd, receipt.why) == (60, f"the only one; {BOOKED_LATER}")


async def test_without_its_redis_it_ends_with_one_clear_line(folder: Path, own_valkey: RedisServer) -> None:
    own_valkey.kill()

    async with process(folder, own_valkey.url) as running:
        output, errors = await running.communicate()

    assert running.returncode == 1
    assert output == b""
    (line,) = errors.decode().splitlines()
    assert line.startswith("budget: Redis at unix://")
    assert "start it there, or set REDIS_URL" in line


def _configured(folder: Path) -> Path:
    model = {
        "name": "small",
        "tier": "small",
        "capabilities": ["all"],
        "context_window_tokens": 4_096,
        "p99_latency_seconds": 1,
        "price": {"input_usd_per_million_tokens": 1, "output_usd_per_million_tokens": 1},
        "endpoints": ["127.0.0.1:50060"],
    }
    file = folder / "mesh.yaml"
    key = {"id": "ci", "sha256": "0" * 64}
    budget = {"listen": f"unix:{folder}/budget.sock", "unbooked_folder": f"{folder}/unbooked", "sweep_seconds": 0.1}
    services = {"budget": budget}
    organisations = [{"name": "acme", "keys": [key], "open_when_away": {"cap_usd": 1}}]
    file.write_text(yaml.safe_dump({"models": [model], "organisations": organisations, "services": services}))
    return file
