"""How late the loop is, by a clock that the test owns."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from libs.telemetry.loop_lag import LoopLag
from libs.testing.clock import ManualClock


async def samples_of(late_by_seconds: Sequence[float]) -> CollectorRegistry:
    """Of a loop that ran so many timers, each so late."""
    registry, clock, left = CollectorRegistry(), ManualClock(0), list(late_by_seconds)

    async def sleep(seconds: float) -> None:
        if not left:
            raise asyncio.CancelledError
        clock.advance(seconds + left.pop(0))

    with pytest.raises(asyncio.CancelledError):
        await LoopLag(registry, clock=clock, sleep=sleep).watch()
    return registry


async def test_every_timer_is_one_sample_of_how_late_it_ran() -> None:
    registry = await samples_of((0.03, 0.0, 0.4))
    assert registry.get_sample_value("tokenway_event_loop_lag_seconds_count") == 3
    assert registry.get_sample_value("tokenway_event_loop_lag_seconds_sum") == pytest.approx(0.43)
    assert registry.get_sample_value("tokenway_event_loop_lag_seconds_bucket", {"le": "0.05"}) == 2


async def test_a_timer_that_fires_early_is_not_late() -> None:
    registry = await samples_of((-0.001,))
    assert registry.get_sample_value("tokenway_event_loop_lag_seconds_sum") == 0
