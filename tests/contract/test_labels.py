"""What every Labels must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.errors import Reason, TokenwayError
from libs.redis_client import redis_client
from libs.testing.labels import InMemoryLabels
from libs.testing.valkey import RedisServer
from services.cache.adapters.redis_labels import RedisLabels
from services.cache.adapters.redis_outages import Outages
from services.cache.domain.calibration import NOTHING_IS_NEAR, Label, Learnt, Measure, Sampling
from services.cache.domain.ports import Labels
from tests.contract.answer_stores import TIMEOUT_SECONDS

VOTES = Measure.VOTES
LABEL = Label(Sampling.EVEN, 83, wrong=False)
OTHERS = (Label(Sampling.BELOW, 83, wrong=False), Label(Sampling.EVEN, 100, wrong=False), LABEL._replace(wrong=True))


def of(redis: object, *, encoder: str = "one") -> RedisLabels:
    return RedisLabels(redis=redis, outages=Outages(timeout_seconds=TIMEOUT_SECONDS), encoder=encoder)  # type: ignore[arg-type]


@pytest.fixture(params=["in_memory", "valkey_server", "redis_server"])
async def labels(request: pytest.FixtureRequest) -> AsyncIterator[Labels]:
    if request.param == "in_memory":
        yield InMemoryLabels()
        return
    server = request.getfixturevalue(request.param)
    assert isinstance(server, RedisServer)
    server.flush()
    redis = redis_client(server.url)
    yield of(redis)
    await redis.aclose()


async def test_labels_are_counted_by_all_that_they_say(labels: Labels) -> None:
    await asyncio.gather(*(labels.add("acme", VOTES, each) for each in (LABEL, LABEL, *OTHERS)))
    assert await labels.learnt("acme", VOTES, wrong_share=0.05) == Learnt({LABEL: 2, **dict.fromkeys(OTHERS, 1)})


async def test_an_organisation_learns_nothing_from_another(labels: Labels) -> None:
    await labels.add("acme", VOTES, LABEL)
    await labels.prove("acme", VOTES, 0.83, wrong_share=0.05)
    assert await labels.learnt("globex", VOTES, wrong_share=0.05) == Learnt({}, NOTHING_IS_NEAR)


async def test_one_measure_says_nothing_of_another(labels: Labels) -> None:
    await labels.add("acme", VOTES, LABEL)
    await labels.prove("acme", VOTES, 0.83, wrong_share=0.05)
    assert await labels.learnt("acme", Measure.COSINE, wrong_share=0.05) == Learnt({}, NOTHING_IS_NEAR)


async def test_the_last_proof_stands_beside_the_labels(labels: Labels) -> None:
    await labels.add("acme", VOTES, LABEL)
    await labels.prove("acme", VOTES, 0.83, wrong_share=0.05)
    await labels.prove("acme", VOTES, 0.8, wrong_share=0.05)
    await labels.prove("acme", VOTES, 0.7, wrong_share=0.1)
    assert await labels.learnt("acme", VOTES, wrong_share=0.05) == Learnt({LABEL: 1}, 0.8)
    assert await labels.learnt("acme", VOTES, wrong_share=0.01) == Learnt({LABEL: 1}, NOTHING_IS_NEAR)


async def test_another_encoder_begins_anew_and_what_is_not_added_to_is_forgotten(valkey_server: RedisServer) -> None:
    valkey_server.flush()
    redis = redis_client(valkey_server.url)
    try:
        await of(redis).add("acme", VOTES, LABEL)
        assert await of(redis, encoder="another").learnt("acme", VOTES, wrong_share=0.05) == Learnt({})
        assert await redis.ttl("tw:cache:{acme}:labels:one:votes") > 80 * 86_400
    finally:
        await redis.aclose()


async def test_a_redis_that_is_away_says_so_soon() -> None:
    redis = redis_client("redis://127.0.0.1:1")
    with pytest.raises(TokenwayError) as caught:
        await of(redis).learnt("acme", VOTES, wrong_share=0.05)
    assert caught.value.reason is Reason.SERVICE_UNAVAILABLE
    await redis.aclose()
