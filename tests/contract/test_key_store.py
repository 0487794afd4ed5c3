"""What every KeyStore of the budget keeps; and what the router reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.keys import StoredKey, from_json, index_key, redis_key
from libs.redis_client import redis_client
from libs.testing.key_store import InMemoryKeys
from libs.testing.valkey import RedisServer
from services.budget.adapters.redis_keys import RedisKeys
from services.budget.domain.ports import KeyStore

ADA = StoredKey(key_id="ada", organisation="acme")
BOB = StoredKey(key_id="bob", organisation="acme", role="admin", allowed_models=("small",))
EVE = StoredKey(key_id="eve", organisation="other")
NOW = datetime(2026, 11, 22, 23, tzinfo=UTC)


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

    yield Tried(RedisKeys(redis=client, timeout_seconds=30), in_redis)
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


# Administration


async def test_keys_of_the_configuration_file_are_listed_beside_those_that_were_made(tried: Tried) -> None:
    made = replace(ADA, key_id="ci", created_at=NOW)
    await tried.keys.add({"a" * 64: ADA, "b" * 64: BOB, "d" * 64: EVE})
    await tried.keys.add({"a" * 64: ADA, "b" * 64: BOB, "d" * 64: EVE})  # as at every start

    await tried.keys.create("c" * 64, made)

    assert await tried.stored("c" * 64) == made
    assert await tried.keys.of("acme") == (ADA, BOB, made)
    assert await tried.keys.of("other") == (EVE,)
    assert await tried.keys.of("nobody") == ()


@pytest.mark.parametrize("before", ["made", "made and revoked", "from the file"])
async def test_an_id_is_never_used_twice(tried: Tried, before: str) -> None:
    if before == "from the file":
        await tried.keys.add({"a" * 64: ADA})
    else:
        await tried.keys.create("a" * 64, ADA)
    if before == "made and revoked":
        await tried.keys.revoke("acme", "ada", at=NOW)
    stands = await tried.keys.of("acme")

    error = await refused(tried.keys.create("c" * 64, replace(ADA, role="admin")), Reason.INVALID_REQUEST)

    assert [each.field for each in error.fields] == ["key.principal.key_id"]
    assert await tried.stored("c" * 64) is None, "the key that was refused must not open anything"
    assert await tried.keys.of("acme") == stands
    await tried.keys.create("e" * 64, replace(ADA, organisation="other"))


async def test_a_key_that_is_made_again_by_its_hash_stays_as_it_is(tried: Tried) -> None:
    await tried.keys.create("a" * 64, ADA)
    await tried.keys.revoke("acme", "ada", at=NOW)

    await tried.keys.create("a" * 64, ADA)
    await refused(tried.keys.create("a" * 64, EVE), Reason.INVALID_REQUEST)
    await refused(tried.keys.create("a" * 64, replace(ADA, key_id="bea")), Reason.INVALID_REQUEST)

    assert await tried.keys.of("acme") == (replace(ADA, revoked_at=NOW),)
    assert await tried.keys.of("other") == ()


async def test_a_revoked_key_keeps_the_time_of_the_first_revocation(tried: Tried) -> None:
    await tried.keys.create("a" * 64, ADA)

    first = await tried.keys.revoke("acme", "ada", at=NOW)
    again = await tried.keys.revoke("acme", "ada", at=NOW + timedelta(hours=1))

    assert first == again == await tried.stored("a" * 64) == replace(ADA, revoked_at=NOW)


async def test_nobody_revokes_a_key_of_another_organisation(tried: Tried) -> None:
    await tried.keys.add({"a" * 64: ADA, "d" * 64: EVE})

    for organisation, key_id in (("other", "ada"), ("acme", "eve"), ("acme", "nobody")):
        error = await refused(tried.keys.revoke(organisation, key_id, at=NOW), Reason.NOT_FOUND)
        assert error.metadata == {"resource": "key", "name": key_id}

    assert (await tried.stored("a" * 64), await tried.stored("d" * 64)) == (ADA, EVE)


async def test_where_the_file_gave_an_id_another_key_both_are_revoked(tried: Tried) -> None:
    await tried.keys.add({"a" * 64: ADA})
    await tried.keys.add({"c" * 64: ADA})

    await tried.keys.revoke("acme", "ada", at=NOW)

    assert await tried.keys.of("acme") == (replace(ADA, revoked_at=NOW),) * 2


async def test_a_key_that_the_file_moves_to_another_organisation_stays_where_it_is(tried: Tried) -> None:
    await tried.keys.add({"a" * 64: ADA})

    await tried.keys.add({"a" * 64: replace(ADA, organisation="other")})

    assert (await tried.keys.of("acme"), await tried.keys.of("other")) == ((ADA,), ())


async def test_of_many_creations_of_an_id_at_once_one_wins(tried: Tried) -> None:
    hashes = [f"{number:064x}" for number in range(20)]

    done = await asyncio.gather(*(tried.keys.create(each, ADA) for each in hashes), return_exceptions=True)

    assert sum(each is None for each in done) == 1
    stored = [await tried.stored(each) for each in hashes]
    assert [each for each in stored if each] == [ADA]
    assert [each is None for each in stored] == [each is not None for each in done]


async def test_an_index_that_lies_shows_no_key_of_another_organisation(redis_url: str) -> None:
    client = redis_client(redis_url, decode_responses=True)
    keys = RedisKeys(redis=client, timeout_seconds=5)
    await keys.add({"d" * 64: EVE})
    await client.hset(index_key("acme"), "eve", "d" * 64)

    listed = await keys.of("acme")
    error = await refused(keys.revoke("acme", "eve", at=NOW), Reason.NOT_FOUND)

    assert (listed, error.metadata["name"]) == ((), "eve")
    assert await keys.of("other") == (EVE,)
    await client.aclose()


async def refused(doing: Awaitable[object], reason: Reason) -> TokenwayError:
    with pytest.raises(TokenwayError) as caught:
        await doing
    assert caught.value.reason is reason, caught.value
    return caught.value


async def test_keys_cannot_be_stored_where_redis_is_away(own_valkey: RedisServer) -> None:
    client = redis_client(own_valkey.url, decode_responses=True)
    own_valkey.kill()

    with pytest.raises(TokenwayError) as caught:
        await RedisKeys(redis=client, timeout_seconds=1).add({"a" * 64: ADA})

    assert caught.value.reason is Reason.BUDGET_UNAVAILABLE
    await client.aclose()
