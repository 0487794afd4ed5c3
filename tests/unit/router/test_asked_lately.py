"""Who asks what is being asked, or was a moment ago, knows whether the cache had something."""

from __future__ import annotations

import asyncio

import pytest

from libs.testing.clock import ManualClock
from services.router.adapters import asked_lately
from services.router.adapters.asked_lately import AskedLately


def soon(lately: AskedLately, question: bytes = b"a") -> asyncio.Task[bool]:
    return asyncio.create_task(lately.promises(question))


async def test_a_question_that_nobody_has_asked_promises_nothing_and_waits_for_nobody() -> None:
    lately = AskedLately(clock=ManualClock())
    with lately.asking(b"b"):
        assert await lately.promises(b"a") is False


async def test_who_asks_the_same_at_the_same_time_waits_for_what_the_first_one_hears() -> None:
    lately = AskedLately(clock=ManualClock())
    with lately.asking(b"a") as promise:
        other = soon(lately)
        await asyncio.sleep(0)
        assert not other.done()
        promise()
        # The first one goes on with its call; the others need not wait for the end of that.
        assert await other is True


async def test_where_the_first_one_hears_nothing_nobody_is_patient() -> None:
    lately = AskedLately(clock=ManualClock())
    with lately.asking(b"a"):
        other = soon(lately)
        await asyncio.sleep(0)
    assert await other is False


async def test_one_that_leaves_while_it_waits_takes_nobody_along() -> None:
    lately = AskedLately(clock=ManualClock())
    with lately.asking(b"a") as promise:
        leaves, stays = soon(lately), soon(lately)
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.sleep(0)
        promise()
        assert await stays is True


async def test_a_promise_is_forgotten_after_a_moment() -> None:
    clock = ManualClock()
    lately = AskedLately(clock=clock)
    with lately.asking(b"a") as promise:
        promise()
    assert await lately.promises(b"a") is True
    clock.advance(3)
    assert await lately.promises(b"a") is False


async def test_no_more_is_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_lately, "_MOST_REMEMBERED", 2)
    lately = AskedLately(clock=ManualClock())
    for question in (b"a", b"b", b"c"):
        with lately.asking(question) as promise:
            promise()
    assert [await lately.promises(each) for each in (b"a", b"b", b"c")] == [False, True, True]
