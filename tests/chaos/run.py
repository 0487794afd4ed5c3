"""A chaos run: the mesh, its clients and what befalls it; then, when every lease is over, the verdict."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from libs.settings import schema
from libs.testing.valkey import RedisServer, valkey_binary
from tests.chaos.books import Books, books, now_seconds, open_leases
from tests.chaos.evidence import Evidence
from tests.chaos.mesh import ROUTERS, Mesh, chaos_mesh
from tests.chaos.orders import TOKENS, Orders
from tests.chaos.strikes import Strikes
from tests.chaos.tenants import PRICE, tenants
from tests.chaos.verdict import Verdict

_CLIENT_PROCESSES = 2
# In memory, where there is such a folder: what is written survives a killed process, and a flush takes no time.
_MEMORY = Path("/dev/shm")
# What a router may still insist on telling the ledger after the last lease has run out.
_INSIST_SECONDS = 40
# So that answers outgrow their first lease, where their organisation is far from its limits.
_LEASE_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Form:
    """How long and how hard."""

    streams: int
    seconds: float
    seed: int
    # The router stops 5 s before its lease's end; where a fifth of the lease is less, that.
    lease_seconds: float
    pace: tuple[float, float]
    strike_every_seconds: float
    waves: int

    @property
    def money_micro_usd(self) -> int:
        """An eighth of what would be asked of a tight organisation in its turn, were the machine fast enough."""
        tokens, pace = sum(TOKENS) / 2, sum(self.pace) / 2
        answers = self.streams / 2 * (self.seconds / self.waves) / (tokens / pace)
        return int(answers * 10 * tokens / 8)


def short(seed: int = 0) -> Form:
    return Form(200, 12, seed, lease_seconds=4, pace=(3, 10), strike_every_seconds=2, waves=2)


def long(streams: int, seconds: float, seed: int) -> Form:
    return Form(streams, seconds, seed, lease_seconds=25, pace=(0.15, 0.8), strike_every_seconds=6, waves=6)


@contextmanager
def folder() -> Iterator[Path]:
    """For sockets, files and what Redis writes; with a short path."""
    with tempfile.TemporaryDirectory(prefix="tw-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        yield Path(name)


async def chaos(form: Form, *, checked: bool = True, say: Callable[[str], None] = lambda _: None) -> Verdict:
    """Without `checked`, the budget refuses nobody."""
    organisations = tenants(form.waves, money_micro_usd=form.money_micro_usd)
    with folder() as home, RedisServer(binary=valkey_binary(), folder=home) as redis:
        began_at = time.monotonic()
        mesh = chaos_mesh(
            home,
            redis_url=redis.url,
            organisations=organisations,
            lease_seconds=form.lease_seconds,
            price=PRICE,
            first_lease_tokens=_LEASE_TOKENS,
            seed=form.seed,
            checked=checked,
        )
        async with mesh as running:
            say(f"{len(running.processes)} processes started in {time.monotonic() - began_at:.0f} s")
            return await _Run(form, running, redis, organisations, say).verdict()


class _Run:
    def __init__(
        self,
        form: Form,
        mesh: Mesh,
        redis: RedisServer,
        organisations: Sequence[schema.Organisation],
        say: Callable[[str], None],
    ) -> None:
        self._form, self._mesh, self._redis, self._say = form, mesh, redis, say
        self._organisations = organisations

    async def verdict(self) -> Verdict:
        began_at = now_seconds(self._redis.url)
        orders = self._orders()
        async with asyncio.TaskGroup() as both:
            both.create_task(self._struck())
            for each in orders:
                both.create_task(_clients(each))
        idle = sum(each.reserved for each in self._books().values())
        await self._leases_are_over()
        for router in ROUTERS:
            await self._mesh.processes[router].stop()
        return Verdict(
            evidence=Evidence.of_files(
                PRICE,
                self._mesh.made_tokens_file,
                [each.got_tokens_file for each in orders],
                [each.requests_file for each in orders],
            ),
            books=self._books(),
            organisations=self._organisations,
            began_at_seconds=began_at,
            ended_at_seconds=now_seconds(self._redis.url),
            idle_micro_usd=idle,
        )

    def _orders(self) -> list[Orders]:
        form = self._form
        return [
            Orders(
                name=str(number),
                seed=form.seed,
                folder=str(self._mesh.folder),
                routers=tuple(map(self._mesh.address, ROUTERS)),
                streams=form.streams // _CLIENT_PROCESSES,
                seconds=form.seconds,
                pace=form.pace,
                # Some are in the midst of their answer, others get theirs whole.
                grace_seconds=TOKENS[1] / form.pace[0] / 8,
                waves=form.waves,
            )
            for number in range(_CLIENT_PROCESSES)
        ]

    async def _struck(self) -> None:
        lot = random.Random(self._form.seed)
        strikes = Strikes(self._mesh.processes, self._redis, every_seconds=self._form.strike_every_seconds, lot=lot)
        await strikes.go_on(self._form.seconds)
        struck = ", ".join(f"{count} × {kind}" for kind, count in sorted(strikes.counts.items()))
        self._say(f"struck: {struck}; Redis was frozen for {strikes.frozen_seconds:.1f} s")

    async def _leases_are_over(self) -> None:
        """Returns when no lease is open, or none should be any more."""
        over_at = time.monotonic() + self._form.lease_seconds + _INSIST_SECONDS
        names = [each.name for each in self._organisations]
        while open_leases(self._redis.url, names) and time.monotonic() < over_at:  # noqa: ASYNC110 # looked at
            await asyncio.sleep(0.2)

    def _books(self) -> dict[str, Books]:
        return books(self._redis.url, [each.name for each in self._organisations])


async def _clients(orders: Orders) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.chaos.clients", orders.to_json())
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    if code:
        raise RuntimeError(f"clients {orders.name} ended with exit code {code}")
