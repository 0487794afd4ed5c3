"""Work that runs while a block does."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from libs.background import running


async def test_it_begins_with_the_block_and_is_over_after_it() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("over")

    async with running(work(), name="work"):
        await asyncio.sleep(0)
        steps.append("block")
    assert steps == ["begun", "block", "over"]


async def test_what_it_raises_is_logged_and_the_block_goes_on() -> None:
    async def work() -> None:
        raise ValueError("no")

    with capture_logs() as lines:
        async with running(work(), name="work"):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    assert [(line["task"], line["error"]) for line in lines] == [("work", "ValueError('no')")]


async def test_what_the_block_raises_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with running(asyncio.Event().wait(), name="work"):
            raise KeyError("x")


async def test_a_cancel_that_is_meant_for_the_block_reaches_its_caller() -> None:
    ending = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await asyncio.sleep(60)

    async def block() -> None:
        async with running(work(), name="work"):
            await asyncio.sleep(0)

    task = asyncio.create_task(block())
    await ending.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
