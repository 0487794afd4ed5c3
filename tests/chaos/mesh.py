"""The mesh as processes that may be killed: replicas of the budget behind a balancer, routers, replicas of a model."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from libs.money import Price
from libs.settings import schema
from libs.testing.runtime import MESH_TOKEN
from services.mesh.supervisor.plan import as_yaml
from tests.chaos.balancer import balancer
from tests.mesh.in_process import model
from tests.mesh.processes import Process

BUDGETS = tuple(f"budget-{number}" for number in range(4))
ROUTERS = tuple(f"router-{number}" for number in range(2))
ENGINES = tuple(f"small-{number}" for number in range(2))
_MANY = 20_000
_STARTS = 10


class Mesh:
    """What runs, and where: everything is in one folder."""

    def __init__(self, folder: Path, price: Price) -> None:
        self.folder, self._price = folder, price
        self.processes: dict[str, Process] = {}

    @property
    def made_tokens_file(self) -> Path:
        return self.folder / "made.jsonl"

    def address(self, name: str) -> str:
        return f"unix:{self.folder}/{name}.sock"

    def process(self, name: str, module: str, given: schema.Settings, *options: str) -> Process:
        return process_of(self.folder, name, module, given, *options)

    def settings(self, redis_url: str, organisations: Sequence[schema.Organisation], **leases: Any) -> schema.Settings:
        """Of all; the processes differ in where they listen."""
        budget = schema.Budget(
            listen=self.address(BUDGETS[0]), address=self.address("budget"), sweep_seconds=0.5, **leases
        )
        return schema.Settings(
            services=schema.Services(
                router=schema.Router(listen=self.address(ROUTERS[0]), max_concurrent_requests=_MANY, drain_seconds=5),
                cache=schema.Cache(listen=self.address("cache")),  # nobody asks it: see tenants
                budget=budget,
            ),
            stores=schema.Stores(redis_url=redis_url),
            models=(self._model(),),
            organisations=tuple(organisations),
            telemetry=schema.Telemetry(log_level="error", sampling_ratio=0),
        )

    def _model(self) -> schema.Model:
        engine = schema.ScriptedEngine(
            kind="scripted",
            first_token_seconds=0,
            max_num_seqs=_MANY,
            allow_directives=True,
            made_tokens_file=str(self.made_tokens_file),
        )
        usd = Decimal(schema.MICRO_USD_PER_USD)
        price = schema.Price(
            input_usd_per_million_tokens=self._price.input_micro_usd_per_million_tokens / usd,
            output_usd_per_million_tokens=self._price.output_micro_usd_per_million_tokens / usd,
            version=self._price.version,
        )
        return model(
            "small",
            self.folder,
            engine=engine,
            price=price,
            endpoints=tuple(map(self.address, ENGINES)),
            drain_seconds=5,
        )


@asynccontextmanager
async def chaos_mesh(
    folder: Path,
    *,
    redis_url: str,
    organisations: Sequence[schema.Organisation],
    lease_seconds: float,
    price: Price,
    first_lease_tokens: int,
    seed: int = 0,
    checked: bool = True,
) -> AsyncIterator[Mesh]:
    """Runs while the block does. Without `checked` the budget refuses nobody."""
    mesh = Mesh(folder, price)
    given = mesh.settings(redis_url, organisations, lease_seconds=lease_seconds, first_lease_tokens=first_lease_tokens)
    budget = "services.budget" if checked else "tests.chaos.mutant"
    made = [mesh.process(name, budget, _listening(given, "budget", mesh.address(name))) for name in BUDGETS]
    for place, name in enumerate(ENGINES):
        made.append(mesh.process(name, "services.inference", given, "--model", "small", "--replica", str(place)))
    # The routers are asked to end first: what they still have to settle needs the others.
    made += [mesh.process(name, "services.router", _listening(given, "router", mesh.address(name))) for name in ROUTERS]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(balancer(mesh.address("budget"), list(map(mesh.address, BUDGETS)), seed=seed))
        mesh.processes = await stack.enter_async_context(running(made))
        yield mesh


def process_of(folder: Path, name: str, module: str, given: schema.Settings, *options: str) -> Process:
    """With a file of settings of its own."""
    file = folder / f"{name}.yaml"
    file.write_text(as_yaml(given))
    environment = {**os.environ, "TOKENWAY_MESH_TOKEN": MESH_TOKEN, "GRPC_ENABLE_FORK_SUPPORT": "false"}
    return Process(name, (sys.executable, "-m", module, "--config", str(file), *options), environment)


@asynccontextmanager
async def running(made: Sequence[Process]) -> AsyncIterator[dict[str, Process]]:
    """All of them by name while the block runs; the last one is asked to end first."""
    async with AsyncExitStack() as stack:
        for each in made:
            stack.push_async_callback(each.stop)
        async with asyncio.TaskGroup() as starting:
            for each in made:
                starting.create_task(started(each))
        yield {each.name: each for each in made}


async def started(process: Process) -> None:
    """As a supervisor does: what gives up because Redis does not answer is started again."""
    for left in reversed(range(_STARTS)):
        try:
            await process.start()
            return
        except RuntimeError:
            if not left:
                raise


def _listening(given: schema.Settings, service: str, address: str) -> schema.Settings:
    changes: dict[str, Any] = {"listen": address}
    changed = getattr(given.services, service).model_copy(update=changes)
    return given.model_copy(update={"services": given.services.model_copy(update={service: changed})})
