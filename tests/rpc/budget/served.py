"""A real budget server on a unix socket, and what a test says to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message

from libs.errors import Reason, TokenwayError
from libs.rpc.client import Client
from libs.rpc.method import Method, method
from libs.testing.bookkeeper import InMemoryBookkeeper
from libs.testing.clock import ManualClock
from libs.testing.key_store import InMemoryKeys
from libs.testing.ledger import InMemoryLedger
from libs.testing.runtime import Recorded, recorded_runtime
from services.budget.config import BudgetConfig
from services.budget.domain.limits import Account, Limit, Scope
from services.budget.domain.windows import Window
from services.budget.server import serve
from tokenway.budget.v1 import budget_pb2 as pb
from tokenway.common.v1 import money_pb2, principal_pb2

Answer = TypeVar("Answer", bound=Message)

ADA = principal_pb2.Principal(organisation="acme", key_id="ada", user="ada.l", team="compilers")
# A micro-dollar a token.
PRICE = money_pb2.Price(
    input_micro_usd_per_million_tokens=1_000_000,
    cached_input_micro_usd_per_million_tokens=1_000_000,
    output_micro_usd_per_million_tokens=1_000_000,
    version="v1",
)


def _method(name: str, request: type[Any], response: type[Any]) -> Method[Any, Any]:
    return method(pb.DESCRIPTOR, "BudgetService", name, request, response)


RESERVE = _method("Reserve", pb.ReserveRequest, pb.ReserveResponse)
EXTEND = _method("Extend", pb.ExtendRequest, pb.ExtendResponse)
SETTLE = _method("Settle", pb.SettleRequest, pb.SettleResponse)
RELEASE = _method("Release", pb.ReleaseRequest, pb.ReleaseResponse)
GET_USAGE = _method("GetUsage", pb.GetUsageRequest, pb.GetUsageResponse)


def reserve(reservation_id: str = "r1", **fields: Any) -> pb.ReserveRequest:
    """10 tokens in, 100 of at most 1,000 out."""
    given: dict[str, Any] = {
        "request_id": "q1",
        "principal": ADA,
        "model": "llama-3-7b",
        "price": PRICE,
        "max_input_tokens": 10,
        "want_output_tokens": 100,
        "max_output_tokens": 1_000,
        **fields,
    }
    return pb.ReserveRequest(reservation_id=reservation_id, **given)


def used(output_tokens: int) -> money_pb2.Usage:
    """After 10 tokens in."""
    return money_pb2.Usage(input_tokens=10, output_tokens=output_tokens, source=money_pb2.USAGE_SOURCE_ENGINE)


def extend(seq: int = 1, output_tokens: int = 50, **fields: Any) -> pb.ExtendRequest:
    given: dict[str, Any] = {"organisation": "acme", "used": used(output_tokens), "want_output_tokens": 100, **fields}
    return pb.ExtendRequest(reservation_id=given.pop("reservation_id", "r1"), seq=seq, **given)


def settle(output_tokens: int = 50, **fields: Any) -> pb.SettleRequest:
    given: dict[str, Any] = {
        "organisation": "acme",
        "usage": used(output_tokens),
        "outcome": money_pb2.OUTCOME_FINISHED,
        "why": "the only one",
        **fields,
    }
    return pb.SettleRequest(reservation_id=given.pop("reservation_id", "r1"), **given)


def release(**fields: Any) -> pb.ReleaseRequest:
    return pb.ReleaseRequest(**{"reservation_id": "r1", "organisation": "acme", **fields})


@dataclass(frozen=True, slots=True)
class Served:
    """A client of the server, and what the server is made of."""

    client: Client
    recorded: Recorded
    clock: ManualClock
    # As long as the test gave no Redis.
    ledger: InMemoryLedger
    keys: InMemoryKeys

    async def call(self, method: Method[Any, Answer], request: Any) -> Answer:
        return await self.client.unary(method, request, timeout_seconds=60)

    async def refused(self, method: Method[Any, Any], request: Any, reason: Reason) -> TokenwayError:
        with pytest.raises(TokenwayError) as caught:
            await self.call(method, request)
        assert caught.value.reason is reason, caught.value
        return caught.value

    async def limit(self, most: int, *, window: Window = Window.HOUR) -> None:
        """Of the key ada."""
        await self.ledger.put_limit("acme", Limit(Account(Scope.KEY, "ada"), window, most))


async def until(so: Callable[[], object]) -> None:
    """Returns once it is so: for what the server does in its own time, the sweeper."""
    async with asyncio.timeout(60):
        while not so():  # noqa: ASYNC110  # what happens is seen in Redis and in metrics, which set no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(
    folder: Path, *, redis_url: str | None = None, redis_timeout_seconds: float = 60, **config: Any
) -> AsyncIterator[Served]:
    """Over a ledger in memory, or in the Redis of that address: a machine that stands still makes it no outage."""
    recorded, clock, keys = recorded_runtime(service="budget"), ManualClock(), InMemoryKeys()
    ledger = InMemoryLedger(now_ms=lambda: int(clock.now() * 1000))
    given = BudgetConfig(
        listen=f"unix:{folder}/budget.sock",
        redis_url=redis_url or "",
        redis_timeout_seconds=redis_timeout_seconds,
        drain_seconds=1,
        **config,
    )
    stores = (None, None, None) if redis_url else (ledger, InMemoryBookkeeper(ledger), keys)
    runtime = replace(recorded.runtime, clock=clock)
    async with serve(given, runtime=runtime, ledger=stores[0], bookkeeper=stores[1], keys=stores[2]) as server:
        client = recorded.runtime.client(server.address, service="budget")
        try:
            yield Served(client, recorded, clock, ledger, keys)
        finally:
            await client.close()
