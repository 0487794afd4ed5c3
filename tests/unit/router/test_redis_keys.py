"""Keys as the router remembers them: briefly while Redis lives, a minute while it is away, and never without end."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from libs.background import Background
from libs.errors import Reason, TokenwayError
from libs.keys import StoredKey, redis_key, sha256_of, to_json
from libs.testing.clock import ManualClock
from services.budget.config import BudgetConfig
from services.router.adapters import redis_keys
from services.router.adapters.redis_keys import RedisKeys
from services.router.config import RouterConfig

KEY = "tw_a-key"
ADA = StoredKey(key_id="ada", organisation="acme", allowed_models=("small",))


class FakeRedis:
    """Strings by name; it can be away, or stand still."""

    def __init__(self) -> None:
        self.strings: dict[str, str] = {}
        self.away: Exception | None = None
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.asked = 0

    async def get(self, name: str) -> str | None:
        self.asked += 1
        if self.away is not None:
            raise self.away
        await self.thawed.wait()
        return self.strings.get(name)


class World:
    """One key, its Redis and its clock."""

    def __init__(self, **given: frozenset[str]) -> None:
        self.redis = FakeRedis()
        self.clock = ManualClock()
        background = Background(drain_seconds=1)
        self.keys = RedisKeys(
            self.redis,  # type: ignore[arg-type]
            clock=self.clock,
            background=background,
            timeout_seconds=1,
            **given,
        )
        self.store(ADA)

    def store(self, stored: StoredKey, key: str = KEY) -> None:
        self.redis.strings[redis_key(sha256_of(key))] = to_json(stored)

    async def refusal(self, key: str = KEY) -> TokenwayError:
        with pytest.raises(TokenwayError) as caught:
            await self.keys.principal(key)
        return caught.value


async def test_a_key_names_its_principal_and_redis_is_asked_once_in_half_a_second() -> None:
    world = World()
    (principal, *_) = [await world.keys.principal(KEY) for _ in range(5)]
    assert (principal.key_id, principal.organisation, principal.allowed_models) == ("ada", "acme", frozenset({"small"}))
    assert world.redis.asked == 1


async def test_an_unknown_key_is_refused_without_a_word_of_it() -> None:
    error = await World().refusal("tw_somebody-elses")
    assert error.reason is Reason.KEY_UNKNOWN
    assert "somebody" not in f"{error} {error.metadata}"


@pytest.mark.parametrize("change", ["revoked", "deleted"])
async def test_a_key_that_ends_is_refused_within_a_second(change: str) -> None:
    world = World()
    await world.keys.principal(KEY)
    if change == "revoked":
        world.store(replace(ADA, revoked_at=datetime(2023, 11, 14, tzinfo=UTC)))
    else:
        world.redis.strings.clear()
    world.clock.advance(0.99)
    with capture_logs() as lines:
        assert (await world.refusal()).reason is (Reason.KEY_REVOKED if change == "revoked" else Reason.KEY_UNKNOWN)
        await asyncio.sleep(0)  # what looks it up has ended
    assert lines == [], "a refusal is no failure of ours"


async def test_a_key_expires_at_its_instant_also_while_it_is_remembered_and_redis_is_away() -> None:
    world = World()
    world.store(replace(ADA, expires_at=datetime.fromtimestamp(world.clock.now() + 10, UTC)))
    await world.keys.principal(KEY)
    world.redis.away = RedisConnectionError()
    world.clock.advance(9.9)
    await world.keys.principal(KEY)
    world.clock.advance(0.1)
    error = await world.refusal()
    assert error.reason is Reason.KEY_EXPIRED
    assert error.metadata["expired_at"].startswith("2023-")


@pytest.mark.parametrize("away", [RedisConnectionError(), TimeoutError(), OSError()])
async def test_who_was_let_in_is_trusted_for_a_minute_while_redis_is_away(away: Exception) -> None:
    world = World()
    await world.keys.principal(KEY)
    world.redis.away = away
    for _ in range(59):
        world.clock.advance(1)
        await world.keys.principal(KEY)
    world.clock.advance(1)
    error = await world.refusal()
    assert (error.reason, error.retry_after_seconds) == (Reason.KEY_STORE_UNAVAILABLE, 1.0)
    world.redis.away = None
    await world.keys.principal(KEY)


async def test_who_was_let_in_waits_for_a_frozen_redis_a_part_of_the_time_that_a_stranger_does() -> None:
    world = World()
    await world.keys.principal(KEY)
    world.redis.thawed.clear()
    world.clock.advance(1)
    async with asyncio.timeout(0.9):  # a stranger: 1
        await world.keys.principal(KEY)
    assert (await world.refusal("tw_somebody-elses")).reason is Reason.KEY_STORE_UNAVAILABLE


async def test_what_a_slow_redis_says_after_that_is_known_to_the_next_who_asks() -> None:
    world = World()
    await world.keys.principal(KEY)
    world.store(replace(ADA, revoked_at=datetime(2023, 11, 14, tzinfo=UTC)))
    world.redis.thawed.clear()
    world.clock.advance(1)
    await world.keys.principal(KEY)
    world.redis.thawed.set()
    await asyncio.sleep(0)  # it reads its reply
    world.redis.thawed.clear()
    assert (await world.refusal()).reason is Reason.KEY_REVOKED


def test_by_default_a_frozen_redis_is_a_refusal_within_a_second() -> None:
    """First the key is looked up, then money is asked for."""
    budget, router = (
        inspect.signature(config).parameters["redis_timeout_seconds"].default for config in (BudgetConfig, RouterConfig)
    )
    assert budget + router * redis_keys._TRUSTED_SHARE < 0.95, "the rest is the way"


async def test_of_an_organisation_that_may_spend_meanwhile_they_are_trusted_for_an_hour() -> None:
    world = World(open_when_away=frozenset({ADA.organisation}))
    await world.keys.principal(KEY)
    world.redis.away = RedisConnectionError()
    world.clock.advance(3_599)
    await world.keys.principal(KEY)
    world.clock.advance(1)
    assert (await world.refusal()).reason is Reason.KEY_STORE_UNAVAILABLE


async def test_nobody_new_is_let_in_while_redis_is_away() -> None:
    world = World()
    world.redis.away = RedisConnectionError()
    assert (await world.refusal()).reason is Reason.KEY_STORE_UNAVAILABLE


async def test_a_key_that_was_revoked_before_redis_went_away_stays_revoked() -> None:
    world = World()
    world.store(replace(ADA, revoked_at=datetime(2023, 11, 14, tzinfo=UTC)))
    await world.refusal()
    world.redis.away = RedisConnectionError()
    world.clock.advance(10)
    assert (await world.refusal()).reason is Reason.KEY_REVOKED


async def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_keys, "_MAX_REMEMBERED", 3)
    world = World()
    for number in range(5):
        world.store(ADA, f"key-{number}")
        await world.keys.principal(f"key-{number}")
    asked = world.redis.asked
    await world.keys.principal("key-4")
    assert world.redis.asked == asked, "still remembered"
    await world.keys.principal("key-0")
    assert world.redis.asked == asked + 1, "forgotten"
    for number in range(100):
        await world.refusal(f"guess-{number}")
    await world.keys.principal("key-4")
    assert world.redis.asked == asked + 101, "guesses push nobody out"
