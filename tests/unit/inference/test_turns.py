"""Turns: never more than the limit, never lost, whoever is cancelled when."""

from __future__ import annotations

import asyncio
import random

import pytest

from libs.errors import Reason, TokenwayError
from services.inference.adapters.turns import Life, Turns


class Holders:
    """Takes turns and counts who has one."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.now = 0
        self.most = 0

    async def hold(self, until: asyncio.Event) -> None:
        async with self._turns.turn(0):
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await until.wait()
            finally:
                self.now -= 1


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_turn_that_is_given_to_somebody_who_leaves_goes_to_the_next() -> None:
    turns, until = Turns(limit=1, life=Life()), asyncio.Event()
    holders = Holders(turns)
    first, second, third = [asyncio.create_task(holders.hold(until)) for _ in range(3)]
    await settle()
    first.cancel()
    second.cancel()  # in the same moment as its turn comes
    await settle()
    assert holders.now == 1
    until.set()
    await third


@pytest.mark.parametrize("seed", range(20))
async def test_turns_are_neither_lost_nor_made_however_holders_leave(seed: int) -> None:
    chance = random.Random(seed)
    turns, until = Turns(limit=3, life=Life()), asyncio.Event()
    holders = Holders(turns)
    tasks = [asyncio.create_task(holders.hold(until)) for _ in range(30)]
    for task in chance.sample(tasks, 25):
        task.cancel()
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
    await settle()
    assert holders.now == 3
    until.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert holders.most == 3
    fresh = [asyncio.create_task(holders.hold(asyncio.Event())) for _ in range(4)]
    await settle()
    assert holders.now == 3
    for task in fresh:
        task.cancel()
    await asyncio.gather(*fresh, return_exceptions=True)


async def test_nobody_waits_for_the_dead() -> None:
    life, error = Life(), TokenwayError(Reason.ENGINE_DEAD, "gone")
    asleep = [asyncio.create_task(life.sleep_for_ever()), asyncio.create_task(life.sleep_until(1e12))]
    await settle()
    life.end(error)
    life.end(TokenwayError(Reason.ENGINE_DEAD, "gone again"))
    assert await asyncio.gather(*asleep, return_exceptions=True) == [error, error]
    with pytest.raises(TokenwayError, match=r"gone$"):
        await life.sleep_until(0)
