"""The mesh as processes that may be killed: two routers and two replicas of a model, so that a kill stops nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path

from libs.keys import sha256_of
from libs.settings import schema
from services.mesh.supervisor.plan import as_yaml
from tests.mesh.in_process import limit, model, organisations, services, settings
from tests.mesh.processes import Process, processes
from tests.truth.scenarios import POOR_KEY, UNASKABLE, UNSPEAKABLE

# `narrow` takes one request at a time, and refuses the others.
ROUTERS = ("router-0", "router-1")
NARROW = "narrow"
_MANY = 1_000
_LEASE_TOKENS = 16


@asynccontextmanager
async def killable_mesh(folder: Path, *, redis_url: str, collector: str) -> AsyncIterator[dict[str, Process]]:
    """Processes by name, those of ROUTERS, NARROW, small-0 and small-1 among them."""
    given = _settings(folder, redis_url, collector)
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(processes(given, folder))
        started[ROUTERS[0]] = started.pop("router")
        for name, at_once in ((ROUTERS[1], _MANY), (NARROW, 1)):
            started[name] = await _another_router(name, given, folder, at_once, started[ROUTERS[0]])
            stack.push_async_callback(started[name].stop)
        yield started


def address(folder: Path, router: str) -> str:
    """Where a router listens."""
    return f"unix:{folder}/{router}.sock"


async def _another_router(name: str, given: schema.Settings, folder: Path, at_once: int, first: Process) -> Process:
    """Like the first one, from a file of its own."""
    changes = {"listen": address(folder, name), "max_concurrent_requests": at_once}
    changed = given.services.model_copy(update={"router": given.services.router.model_copy(update=changes)})
    file = folder / f"{name}.yaml"
    file.write_text(as_yaml(given.model_copy(update={"services": changed})))
    at = first.command.index("--config") + 1
    process = Process(name, (*first.command[:at], str(file), *first.command[at + 1 :]), first.environment)
    await process.start()
    return process


def _settings(folder: Path, redis_url: str, collector: str) -> schema.Settings:
    replicas = tuple(f"unix:{folder}/small-{replica}.sock" for replica in range(2))
    small = model("small", folder, capabilities=("chat",), endpoints=replicas)
    dear = schema.Price(
        input_usd_per_million_tokens=Decimal(2), output_usd_per_million_tokens=Decimal(20), version="tests"
    )
    large = model("large", folder, capabilities=("chat",), price=dear)
    router = {"listen": address(folder, ROUTERS[0]), "max_concurrent_requests": _MANY}
    return settings(
        folder,
        redis_url,
        models=(small, large),
        services=services(folder, router=router, budget={"first_lease_tokens": _LEASE_TOKENS}),
        organisations=tuple(_guarded(each) for each in (*organisations(limit("1000000")), _poor())),
        telemetry=schema.Telemetry(otlp_endpoint=collector, log_level="error"),
    )


def _guarded(organisation: schema.Organisation) -> schema.Organisation:
    patterns = (
        schema.GuardPattern(name="answers", regex=UNSPEAKABLE, input="off"),
        schema.GuardPattern(name="questions", regex=UNASKABLE, output="off"),
    )
    return organisation.model_copy(update={"guards": schema.Guards(patterns=patterns)})


def _poor() -> schema.Organisation:
    """It may spend a micro-dollar, which is less than any answer costs."""
    money = schema.Limit(scope="organisation", window="hour", limit_usd=Decimal("0.000001"))
    return schema.Organisation(name="poor", keys=(schema.Key(id="poor", sha256=sha256_of(POOR_KEY)),), budgets=(money,))
