"""Keys as Redis holds them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from libs.keys import StoredKey, from_json, redis_key, sha256_of, to_json

FULL = StoredKey(
    key_id="ci",
    organisation="acme",
    user="ada",
    team="compilers",
    role="admin",
    allowed_models=("llama-3-7b", "mixtral-8x7b"),
    expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    revoked_at=datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
)


@pytest.mark.parametrize("key", [FULL, StoredKey(key_id="ci", organisation="acme")])
def test_a_key_survives_the_way_to_redis_and_back(key: StoredKey) -> None:
    assert from_json(to_json(key)) == key


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    noon_in_lagos = datetime(2027, 1, 1, 12, tzinfo=timezone(timedelta(hours=1)))

    key = from_json(to_json(StoredKey(key_id="ci", organisation="acme", expires_at=noon_in_lagos)))

    assert key.expires_at == datetime(2027, 1, 1, 11, tzinfo=UTC)


def test_a_field_of_a_later_version_is_passed_over() -> None:
    later = to_json(FULL)[:-1] + ',"quota_group":"night"}'

    assert from_json(later) == FULL


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", to_json(FULL).replace('"admin"', '"root"'), to_json(FULL).replace('"ci"', "7")]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(text)


def test_the_hash_is_that_of_the_command_in_the_configuration_file() -> None:
    # printf %s demo-key | sha256sum
    assert sha256_of("demo-key") == "c48a01f49fd0f2cc404bc3cbbc80e91457a3d41bb429a695243de4c61794155c"
    assert redis_key("ab") == "tw:key:ab"
