"""Encoder and guard together, held to what the cache promises of the labelled questions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.contract.encoders import onnx_encoder
from tests.unit.cache import fow
from tests.unit.cache.fow import Judge, Pair

Judged = list[tuple[Pair, float]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def judged() -> AsyncIterator[Judged]:
    with onnx_encoder() as encoder:
        judge = Judge(encoder)
        yield [(pair, await judge.nearness(pair)) for pair in fow.pairs()]


@pytest.mark.parametrize(
    ("threshold", "most_traps", "least_should_hits"), [(0.90, 6, 45), (0.95, 3, 32), (0.97, 1, 25)]
)
@pytest.mark.asyncio(loop_scope="module")
async def test_few_traps_are_served_and_many_of_the_others(
    judged: Judged, threshold: float, most_traps: float, least_should_hits: float
) -> None:
    labelled, cosines = zip(*judged, strict=True)
    served = fow.served(labelled, cosines, threshold)
    assert served.traps <= most_traps
    assert served.should_hits >= least_should_hits


async def test_no_conversation_is_answered_from_another_that_means_something_else() -> None:
    with onnx_encoder() as encoder:
        judge = Judge(encoder)
        cosines = [await judge.nearness(pair) for pair in fow.conversations() if not pair.same_answer]
    assert cosines == [-1.0] * 30
