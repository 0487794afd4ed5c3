"""What every KeyStore of the budget keeps; and what the router reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.keys import StoredKey, from_json, redis_key
from libs.redis_client import redis_client
from libs.testing.key_store import InMemoryKeys
from libs.testing.valkey import RedisServer
from services.budget.adapters.redis_keys import RedisKeys
from services.budget.domain.ports import KeyStore

ADA = StoredKey(key_id="ada", organisation="acme")
BOB = StoredKey(key_id="bob", organisation="acme", role="admin")


@dataclass(frozen=True, slots=True)
class Tried:
    """A store under test, and what it holds seen from outside."""

    keys: KeyStore
    stored: Callable[[str], Awaitable[StoredKey | None]]


@pytest.fixture(params=["memory", "redis"])
async def tried(request: pytest.FixtureRequest) -> AsyncIterator[Tried]:
    if request.param == "memory":
        keys = InMemoryKeys()

        async def in_memory(sha256_hex: str) -> StoredKey | None:
            return keys.stored.get(sha256_hex)

        yield Tried(keys, in_memory)
        return
    client = redis_client(request.getfixturevalue("redis_url"), decode_responses=True)

    async def in_redis(sha256_hex: str) -> StoredKey | None:
        text: Any = await client.get(redis_key(sha256_hex))
        return from_json(text) if text else None

    yield Tried(RedisKeys(redis=client, timeout_seconds=1), in_redis)
    await client.aclose()


async def test_keys_are_stored_under_their_hash(tried: Tried) -> None:
    assert await tried.keys.add({"a" * 64: ADA, "b" * 64: BOB}) == 2

    assert await tried.stored("a" * 64) == ADA
    assert await tried.stored("b" * 64) == BOB
    assert await tried.stored("c" * 64) is None


async def test_a_key_that_is_there_stays_as_it_is(tried: Tried) -> None:
    revoked = replace(ADA, revoked_at=datetime(2026, 1, 1, tzinfo=UTC))
    await tried.keys.add({"a" * 64: revoked})

    assert await tried.keys.add({"a" * 64: ADA, "b" * 64: BOB}) == 1

    assert await tried.stored("a" * 64) == revoked


async def test_keys_cannot_be_stored_where_redis_is_away(own_valkey: RedisServer) -> None:
    client = redis_client(own_valkey.url, decode_responses=True)
    own_valkey.kill()

    with pytest.raises(TokenwayError) as caught:
        await RedisKeys(redis=client, timeout_seconds=1).add({"a" * 64: ADA})

    assert caught.value.reason is Reason.BUDGET_UNAVAILABLE
    await client.aclose()
