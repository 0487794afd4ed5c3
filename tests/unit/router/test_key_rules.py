"""What a new key must keep to, before anything is made or asked."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from services.router.transport.key_rules import broken_by_create_key
from tokenway.common.v1.principal_pb2 import KEY_ROLE_ADMIN, ApiKey, Principal
from tokenway.router.v1.admin_pb2 import CreateKeyRequest

NOW = 1_700_000_000.5


def broken(key: ApiKey) -> dict[str, str]:
    """What is wrong, by field."""
    found = broken_by_create_key(
        CreateKeyRequest(key=key), organisation="acme", models=frozenset({"small", "large"}), now_seconds=NOW
    )
    return {each.field: each.description for each in found}


def test_a_whole_key_breaks_nothing() -> None:
    principal = Principal(key_id="ci-2.b", user="ada", team="compilers", organisation="acme", role=KEY_ROLE_ADMIN)
    whole = ApiKey(principal=principal, allowed_models=["small", "large"], expires_at=Timestamp(seconds=1_700_000_060))

    assert broken(whole) == {}
    assert broken(ApiKey(principal=Principal(key_id="ci"))) == {}


def test_every_mistake_is_named_at_once() -> None:
    principal = Principal(key_id="a:b", user=" ", team="{", organisation="other", role=7)  # type: ignore[arg-type]
    wrong = ApiKey(
        principal=principal,
        allowed_models=["small", "gpt-9"],
        expires_at=Timestamp(seconds=1_700_000_000),
        revoked_at=Timestamp(seconds=1),
        created_at=Timestamp(seconds=1),
    )

    found = broken(wrong)

    assert list(found) == [
        *(f"key.principal.{each}" for each in ("key_id", "user", "team", "organisation", "role")),
        "key.allowed_models[1]",
        *(f"key.{each}" for each in ("revoked_at", "created_at", "expires_at")),
    ]
    assert found["key.principal.organisation"] == "is 'other': a key is made in your own, acme, so leave it empty"
    assert found["key.allowed_models[1]"] == "is 'gpt-9': no model has that name, there are large, small"


@pytest.mark.parametrize("key_id", ["", "a" * 65, "ci\n", "-ci", "ci{", "ä"])
def test_an_id_is_a_name(key_id: str) -> None:
    assert list(broken(ApiKey(principal=Principal(key_id=key_id)))) == ["key.principal.key_id"]


@pytest.mark.parametrize("expires_at", [Timestamp(), Timestamp(seconds=-5), Timestamp(seconds=253_402_300_800)])
def test_an_expiry_is_to_come(expires_at: Any) -> None:
    key = ApiKey(principal=Principal(key_id="ci"), expires_at=expires_at)

    assert list(broken(key)) == ["key.expires_at"]
