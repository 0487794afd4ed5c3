"""Keys as Redis holds them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from libs.keys import StoredKey, from_json, index_key, new_api_key, redis_key, sha256_of, to_json

FULL = StoredKey(
    key_id="ci",
    organisation="acme",
    user="ada",
    team="compilers",
    role="admin",
    allowed_models=("llama-3-7b", "mixtral-8x7b"),
    expires_at=datetime(2027, 1, 1, tzinfo=UTC),
    revoked_at=datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
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


def test_a_key_that_an_earlier_version_stored_was_made_at_no_known_time() -> None:
    fields = json.loads(to_json(FULL))
    del fields["created_at"]

    earlier = from_json(json.dumps(fields))

    assert (earlier.created_at, earlier.key_id, earlier.revoked_at) == (None, "ci", FULL.revoked_at)


def test_a_new_key_is_256_random_bits_that_can_be_told_for_a_key() -> None:
    made = {new_api_key() for _ in range(100)}

    assert len(made) == 100
    assert all(re.fullmatch(r"tw_[A-Za-z0-9_-]{43}", each) for each in made)


def test_the_index_of_an_organisation_shares_its_slot() -> None:
    assert index_key("acme") == "tw:{acme}:keys"
