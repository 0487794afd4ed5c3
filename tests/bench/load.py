"""Load from a process of its own, which takes orders one after another. It uses the same cores as what it loads."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, slots=True)
class Order:
    """So many clients ask `target` again and again for so long; each asks once at least."""

    target: str
    clients: int
    seconds: float
    tokens: int = 32
    # Tokens a second of one answer; the default is as fast as the engine goes.
    pace: int = 1_000_000
    # The same question each time: the cache has to have the answer. Otherwise every question is new, and it must not.
    repeats: bool = False
    # How many of a hundred requests are in a trace that is kept.
    traced_percent: int = 100
    # For a real engine: the prompt is noise of so many bytes, and the answer as long as it becomes, `tokens` at most.
    prompt_bytes: int = 0


@dataclass(slots=True)
class Seen:
    """What the clients have seen; a figure per answer in the lists, in no order."""

    first_token_seconds: list[float] = field(default_factory=list)
    answer_seconds: list[float] = field(default_factory=list)
    tokens: int = 0
    deltas: int = 0
    seconds: float = 0.0

    @property
    def answers(self) -> int:
        return len(self.answer_seconds)


class Load:
    """The process that asks."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def carry_out(self, order: Order) -> Seen:
        """RuntimeError for the first answer that fails or is not whole; what was wrong is on standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"wrong answers, so there is nothing to measure: {order}")
        return Seen(**json.loads(line))


@asynccontextmanager
async def load(addresses: Mapping[str, str]) -> AsyncIterator[Load]:
    """Callers of these targets while the block runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.callers", json.dumps(dict(addresses))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,  # a line holds the times of every request
    )
    try:
        yield Load(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
