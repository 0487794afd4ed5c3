"""The whole mesh in one test: the four real servers on unix sockets, a real Valkey, the scripted engine."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from libs.keys import sha256_of
from libs.rpc.client import Client
from libs.rpc.method import method
from libs.rpc.server import RpcServer
from libs.settings import schema
from libs.testing.runtime import Recorded, recorded_runtime
from services.budget import server as budget
from services.budget.config import BudgetConfig
from services.cache import server as cache
from services.cache.config import CacheConfig
from services.inference import server as inference
from services.inference.config import InferenceConfig
from services.mesh.client.router import RouterAddress, connected
from services.router import server as router
from services.router.config import RouterConfig
from tokenway.budget.v1 import budget_pb2
from tokenway.client.router import RouterClient
from tokenway.common.v1 import generation_pb2, money_pb2, principal_pb2
from tokenway.router.v1 import router_pb2

KEY = "tw_key-of-the-tests"
OTHER_KEY = "tw_key-of-another-organisation"
ADMIN_KEY = "tw_key-of-the-administrator"
ORGANISATION = "acme"
# How long services wait for Redis and the budget where a machine may stand still: what takes seconds is no outage.
PATIENCE: dict[str, Any] = {"redis_timeout_seconds": 60.0}
# A budget whose Redis is away says so by itself.
PATIENCE_WITH_THE_BUDGET: dict[str, Any] = {"budget_timeout_seconds": 60.0}
ROUTERS_PATIENCE = PATIENCE | PATIENCE_WITH_THE_BUDGET


@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh that runs, and what its services have recorded."""

    settings: schema.Settings
    servers: dict[str, RpcServer]
    recorded: Recorded
    metrics: dict[str, Recorded] = field(repr=False)
    client: RouterClient
    budget_client: Client = field(repr=False)

    @property
    def address(self) -> str:
        return self.servers["router"].address

    async def money(self) -> dict[str, tuple[int, int]]:
        """Used and reserved micro-dollars of the organisation's limits, by window."""
        principal = principal_pb2.Principal(organisation=ORGANISATION, key_id="tests")
        request = budget_pb2.GetUsageRequest(principal=principal)
        response = await self.budget_client.unary(_GET_USAGE, request, timeout_seconds=60)
        return {
            money_pb2.BudgetWindow.Name(each.budget.window): (each.used, each.reserved)
            for each in response.states
            if each.budget.scope == money_pb2.BUDGET_SCOPE_ORGANISATION
        }

    async def reserved(self) -> int:
        """Micro-dollars that open leases hold."""
        return max(reserved for _, reserved in (await self.money()).values())

    async def put_limit(self, micro_usd: int) -> None:
        """Sets the organisation's limit of an hour."""
        hour = money_pb2.Budget(
            scope=money_pb2.BUDGET_SCOPE_ORGANISATION, window=money_pb2.BUDGET_WINDOW_HOUR, limit=micro_usd
        )
        request = budget_pb2.PutBudgetRequest(organisation=ORGANISATION, budget=hour)
        await self.budget_client.unary(_PUT_BUDGET, request, timeout_seconds=60)

    async def settled(self) -> None:
        """Returns once no lease is open: what ends in the background has ended."""
        async with asyncio.timeout(60):
            while await self.reserved():  # noqa: ASYNC110 # the state of a server: there is nothing to wait on
                await asyncio.sleep(0.02)


_FILE = budget_pb2.DESCRIPTOR
_GET_USAGE = method(_FILE, "BudgetService", "GetUsage", budget_pb2.GetUsageRequest, budget_pb2.GetUsageResponse)
_PUT_BUDGET = method(
    _FILE, "BudgetAdminService", "PutBudget", budget_pb2.PutBudgetRequest, budget_pb2.PutBudgetResponse
)


def model(name: str, folder: Path, **changes: Any) -> schema.Model:
    """A scripted model on a unix socket; the price makes a token of output cost 10 micro-dollars."""
    given: dict[str, Any] = {
        "name": name,
        "tier": "small",
        "capabilities": ("all",),
        "context_window_tokens": 4_096,
        "p99_latency_seconds": 10,
        "price": schema.Price(
            input_usd_per_million_tokens=Decimal(1), output_usd_per_million_tokens=Decimal(10), version="tests"
        ),
        "endpoints": (f"unix:{folder}/{name}.sock",),
        "engine": schema.ScriptedEngine(
            kind="scripted", tokens_per_second=2_000, first_token_seconds=0, answer_tokens=8, allow_directives=True
        ),
    }
    return schema.Model(**given | changes)


def settings(folder: Path, redis_url: str, **changes: Any) -> schema.Settings:
    """One organisation with money for a hundred thousand answers, and another; each with a key."""
    given: dict[str, Any] = {
        "services": services(folder),
        "stores": schema.Stores(redis_url=redis_url),
        "models": (model("small", folder),),
        "organisations": organisations(limit("100"), limit("100", "day"), limit("100", "month")),
    }
    return schema.Settings(**given | changes)


def organisations(*limits: schema.Limit) -> tuple[schema.Organisation, ...]:
    """The tests' organisation with these limits, and another."""
    return (
        schema.Organisation(name=ORGANISATION, keys=(schema.Key(id="tests", sha256=sha256_of(KEY)),), budgets=limits),
        schema.Organisation(name="other", keys=(schema.Key(id="other", sha256=sha256_of(OTHER_KEY)),)),
    )


def with_admin(organisation: schema.Organisation, key: str) -> schema.Organisation:
    """It has a key with the role admin, too."""
    admin = schema.Key(id="admin", sha256=sha256_of(key), role="admin")
    return organisation.model_copy(update={"keys": (*organisation.keys, admin)})


def limit(dollars: str, window: Literal["hour", "day", "month"] = "hour") -> schema.Limit:
    """Of the tests' organisation."""
    return schema.Limit(scope="organisation", window=window, limit_usd=Decimal(dollars))


def services(folder: Path, *, router: dict[str, Any] | None = None, budget: dict[str, Any] | None = None) -> Any:
    """Where the services listen. The lookup may take long: a busy machine must not turn a hit into a miss."""
    patient = {
        "cache_lookup_seconds": 60,
        "cache_semantic_seconds": 60,
        "retry_wait_min_seconds": 0.01,
        "retry_wait_max_seconds": 0.05,
    }
    return schema.Services(
        router=schema.Router(
            **{"listen": f"unix:{folder}/router.sock", "drain_seconds": 5, **patient, **(router or {})}
        ),
        cache=schema.Cache(listen=f"unix:{folder}/cache.sock"),
        budget=schema.Budget(listen=f"unix:{folder}/budget.sock", **{"sweep_seconds": 0.1, **(budget or {})}),
    )


@asynccontextmanager
async def running(given: schema.Settings, *, patient: bool = True) -> AsyncIterator[Mesh]:
    """All services while the block runs, started as the supervisor does: the router last.

    Whatever the test did, no task may be left when they have ended.
    """
    before = asyncio.all_tasks()
    async with _running(given, patient=patient) as mesh:
        yield mesh
    left = {each for each in asyncio.all_tasks() - before if not each.done()}
    assert not left, f"left behind: {left}"


@asynccontextmanager
async def _running(given: schema.Settings, *, patient: bool) -> AsyncIterator[Mesh]:
    everything = recorded_runtime(service="tests")
    patience = PATIENCE if patient else {}
    async with AsyncExitStack() as stack:
        servers: dict[str, RpcServer] = {}
        metrics = {name: everything.beside(name) for name in ("budget", "cache", "router")}
        servers["budget"] = await stack.enter_async_context(
            budget.serve(replace(BudgetConfig.from_settings(given), **patience), runtime=metrics["budget"].runtime)
        )
        servers["cache"] = await stack.enter_async_context(
            cache.serve(replace(CacheConfig.from_settings(given), **patience), runtime=metrics["cache"].runtime)
        )
        for each in given.models:
            for replica in range(len(each.endpoints)):
                name = f"{each.name}-{replica}"
                metrics[name] = everything.beside("inference")
                config = InferenceConfig.from_settings(given, model=each.name, replica=str(replica))
                servers[name] = await stack.enter_async_context(inference.serve(config, runtime=metrics[name].runtime))
        router_config = replace(RouterConfig.from_settings(given), **patience, **PATIENCE_WITH_THE_BUDGET)
        servers["router"] = await stack.enter_async_context(
            router.serve(router_config, runtime=metrics["router"].runtime)
        )
        client = await stack.enter_async_context(connected(RouterAddress(servers["router"].address, KEY)))
        budget_client = everything.runtime.client(servers["budget"].address, service="budget")
        stack.push_async_callback(budget_client.close)
        yield Mesh(given, servers, everything, metrics, client, budget_client)


@asynccontextmanager
async def default_mesh(redis_url: str, *, patient: bool = True, **changes: Any) -> AsyncIterator[Mesh]:
    """A mesh with the settings above, in a folder whose sockets have short paths."""
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        async with running(settings(Path(folder), redis_url, **changes), patient=patient) as mesh:
            yield mesh


def question(text: str, *, max_tokens: int = 64, temperature: float = 0, **fields: Any) -> router_pb2.GenerateRequest:
    """One message of a user."""
    message = generation_pb2.Message(role=generation_pb2.ROLE_USER, parts=[generation_pb2.Part(text=text)])
    return router_pb2.GenerateRequest(
        conversation=generation_pb2.Conversation(messages=[message]),
        sampling=generation_pb2.Sampling(max_tokens=max_tokens, temperature=temperature),
        **fields,
    )


async def events(
    mesh: Mesh, request: router_pb2.GenerateRequest, *, timeout_seconds: float = 60
) -> list[router_pb2.StreamGenerateResponse]:
    """Every event of a whole stream."""
    async with mesh.client.stream_generate(request, timeout_seconds=timeout_seconds) as stream:
        return [each async for each in stream]
