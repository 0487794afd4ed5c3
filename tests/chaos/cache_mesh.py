"""The mesh as processes of which the cache's may be killed or paused: two replicas behind a balancer, two routers."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from libs.settings import schema
from tests.chaos.mesh import process_of, running, started
from tests.chaos.splice import splice
from tests.mesh.in_process import ADMIN_KEY, model, organisations, settings, with_admin
from tests.mesh.processes import Process

Tier = Literal["exact", "balanced"]
CACHES = ("cache-1", "cache-2")
ROUTERS = ("router-1", "router-2")
# A busy machine is no outage; what is struck answers not at all.
_LOOKUP_SECONDS = 2.0


class CacheMesh:
    """What runs, and where: everything is in one folder."""

    def __init__(self, folder: Path, stores: schema.Stores, tier: Tier) -> None:
        self._folder = folder
        self._made = folder / "made.jsonl"
        acme, other = organisations()
        self._given = settings(
            folder,
            stores.redis_url,
            stores=stores,
            models=(model("small", folder, engine=self._engine()),),
            organisations=tuple(
                each.model_copy(update={"cache": schema.CachePolicy(tier=tier)})
                for each in (with_admin(acme, ADMIN_KEY), other)
            ),
            telemetry=schema.Telemetry(log_level="error", sampling_ratio=0),
        )
        self.processes: dict[str, Process] = {}
        self._struck: list[asyncio.Task[None]] = []

    def address(self, name: str) -> str:
        return f"unix:{self.socket(name)}"

    def socket(self, name: str) -> str:
        return f"{self._folder}/{name}.sock"

    def made_requests(self) -> set[str]:
        """The requests for which the engine has made a token, over all runs of it."""
        if not self._made.exists():
            return set()
        return {json.loads(line)["request_id"] for line in self._made.read_text().splitlines()}

    def process(self, name: str, module: str, *options: str) -> Process:
        return process_of(self._folder, name, module, self._settings(name), *options)

    async def kill(self, name: str) -> None:
        """It is started again at once."""
        process = self.processes[name]
        await process.kill()
        self._struck.append(asyncio.create_task(started(process)))

    async def pause(self, name: str, *, seconds: float) -> None:
        """It stands still, and goes on."""
        running = self.processes[name].running
        assert running is not None
        running.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            running.send_signal(signal.SIGCONT)

    async def restored(self) -> None:
        """Returns when everything is there again."""
        await asyncio.gather(*self._struck)
        self._struck.clear()

    def _engine(self) -> schema.ScriptedEngine:
        return schema.ScriptedEngine(
            kind="scripted",
            first_token_seconds=0,
            max_num_seqs=1_000,
            allow_directives=True,
            made_tokens_file=str(self._made),
        )

    def _settings(self, name: str) -> schema.Settings:
        services = self._given.services
        router: dict[str, Any] = {"cache_lookup_seconds": _LOOKUP_SECONDS, "max_concurrent_requests": 1_000}
        if name in ROUTERS:
            router["listen"] = self.address(name)
        cache: dict[str, Any] = {"address": self.address("cache")}
        if name in CACHES:
            cache["listen"] = self.address(name)
        changed = {
            "router": services.router.model_copy(update=router),
            "cache": services.cache.model_copy(update=cache),
        }
        return self._given.model_copy(update={"services": services.model_copy(update=changed)})


@asynccontextmanager
async def cache_mesh(
    folder: Path, stores: schema.Stores, *, seed: int, cache: str, tier: Tier
) -> AsyncIterator[CacheMesh]:
    """Runs while the block does."""
    mesh = CacheMesh(folder, stores, tier)
    made = [mesh.process("budget", "services.budget"), *(mesh.process(each, cache) for each in CACHES)]
    made.append(mesh.process("small", "tests.chaos.dated_engine", "--model", "small", "--replica", "0"))
    made += [mesh.process(each, "services.router") for each in ROUTERS]
    async with AsyncExitStack() as stack:
        sockets = [mesh.socket(each) for each in CACHES]
        await stack.enter_async_context(splice(mesh.socket("cache"), sockets, lot=random.Random(seed)))
        mesh.processes = await stack.enter_async_context(running(made))
        yield mesh
