"""A process of clients over real sockets: python -m tests.chaos.clients ORDERS (orders.Orders, as JSON).

Each token that came is on disk before the next one is read.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, replace

import uvloop

from libs.rpc.channel import dial
from services.inference.adapters.made_tokens import MadeTokens
from tests.chaos.asking import Asker, Question
from tests.chaos.orders import TOKENS, Asked, Orders
from tests.chaos.tenants import Payer

_LEAVE_PERCENT = 25
_WHOLE_PERCENT = 15
# Before one asks again: a refusal is quick, and thousands that were refused would ask for nothing but refusals.
_PAUSE_SECONDS = (0.02, 0.1)
_PAUSES_AFTER_A_REFUSAL = 6


class Clients:
    """As many as were ordered, each with a lot of its own."""

    def __init__(self, orders: Orders, askers: list[Asker], ended: Callable[[Asked], None]) -> None:
        self._orders, self._askers, self._ended = orders, askers, ended
        self._began_at = time.monotonic()

    async def go_on(self) -> None:
        """Until their time is over. Those that still read have some more, and leave then."""
        all_ = [asyncio.create_task(self._ask_on(number)) for number in range(self._orders.streams)]
        await asyncio.wait(all_, timeout=self._orders.seconds + self._orders.grace_seconds)
        for each in all_:
            each.cancel()
        results = await asyncio.gather(*all_, return_exceptions=True)
        bugs = [each for each in results if isinstance(each, Exception)]
        if bugs:
            raise bugs[0]

    async def _ask_on(self, number: int) -> None:
        lot = random.Random(f"{self._orders.seed} {self._orders.name} {number}")
        # Not all at once: the first streams last as long as any.
        await asyncio.sleep(lot.uniform(0, min(10, self._orders.seconds / 4)))
        while (elapsed := time.monotonic() - self._began_at) < self._orders.seconds:
            payer = lot.choice(self._orders.payers(elapsed))
            pause = lot.uniform(*_PAUSE_SECONDS) * self._typical_seconds()
            if not await self._is_answered(payer, self._question(lot), self._asker(lot)):
                pause *= _PAUSES_AFTER_A_REFUSAL
            await asyncio.sleep(pause)

    def _asker(self, lot: random.Random) -> Asker:
        return lot.choice([each for each in self._askers if each.is_there] or self._askers)

    async def _is_answered(self, payer: Payer, asked: Question, asker: Asker) -> bool:
        answer, began_at = asker.answer(payer.key), time.monotonic()
        try:
            await answer.until_its_end(asked)
        finally:
            ended = Asked(answer.request_id, payer.organisation, payer.key_id, asked.input_tokens, answer.ending)
            self._ended(replace(ended, began_at=began_at, ended_at=time.monotonic()))
        return answer.tokens > 0

    def _question(self, lot: random.Random) -> Question:
        tokens = lot.randint(*TOKENS)
        return Question(
            tokens=tokens,
            pace=lot.uniform(*self._orders.pace),
            # As long as the answer, longer, or not said.
            max_tokens=lot.choice((*30 * (tokens,), *9 * (4 * tokens,), None)),
            whole=lot.randrange(100) < _WHOLE_PERCENT,
            leave_after_tokens=lot.randrange(tokens) if lot.randrange(100) < _LEAVE_PERCENT else None,
            salt=lot.randrange(1 << 30),
        )

    def _typical_seconds(self) -> float:
        return sum(TOKENS) / sum(self._orders.pace)


async def _run(orders: Orders) -> None:
    got = MadeTokens(str(orders.got_tokens_file))
    requests = os.open(orders.requests_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def ended(asked: Asked) -> None:
        os.write(requests, (json.dumps(asdict(asked)) + "\n").encode())
        os.fsync(requests)

    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(dial(each)) for each in orders.routers]
        await asyncio.gather(*(each.channel_ready() for each in channels))
        await Clients(orders, [Asker(each, got) for each in channels], ended).go_on()
    got.close()
    os.close(requests)


if __name__ == "__main__":
    uvloop.run(_run(Orders.from_json(sys.argv[1])))
