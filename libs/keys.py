"""API keys as Redis holds them: stored by the budget service, read by the router. The key itself is never stored.

A key is a string at `tw:key:<SHA-256 of the key, in hex>` that holds the JSON below: one GET a request. Each key lies
in a slot of its own on a cluster, since the router must find it before it knows the organisation.
Beside them each organisation has an index, `tw:{ORGANISATION}:keys`, of the hashes by key id.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

KeyRole = Literal["caller", "admin"]

_PREFIX = "tw_"
_RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class StoredKey:
    """Whom a key names and what it may do. Times are aware, and kept to the second in UTC."""

    key_id: str
    organisation: str
    user: str = ""
    team: str = ""
    role: KeyRole = "caller"
    # Empty: all.
    allowed_models: tuple[str, ...] = ()
    # None: never.
    expires_at: datetime | None = None
    # None: it was not.
    revoked_at: datetime | None = None
    # None: it is from the configuration file.
    created_at: datetime | None = None


def new_api_key() -> str:
    """256 random bits behind a prefix that tells leaked keys apart from other secrets."""
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def sha256_of(key: str) -> str:
    """The SHA-256 of a key's text in lower-case hex: the same as `printf %s "$KEY" | sha256sum`."""
    return hashlib.sha256(key.encode()).hexdigest()


def redis_key(sha256_hex: str) -> str:
    """Where the key of that hash is stored."""
    return f"tw:key:{sha256_hex}"


def index_key(organisation: str) -> str:
    """Where an organisation's keys are listed: a hash of their ids, each with its hash, or hashes after a change."""
    return f"tw:{{{organisation}}}:keys"


def to_json(key: StoredKey) -> str:
    """One line; every field is there, an absent time is null."""
    return json.dumps(asdict(key), separators=(",", ":"), sort_keys=True, default=_time_to_text)


def from_json(text: str | bytes) -> StoredKey:
    """What `to_json` wrote; a ValueError for anything else. A field that a later version added is passed over."""
    try:
        fields = json.loads(text)
        return StoredKey(
            key_id=_text(fields["key_id"]),
            organisation=_text(fields["organisation"]),
            user=_text(fields["user"]),
            team=_text(fields["team"]),
            role=_role(fields["role"]),
            allowed_models=tuple(_text(name) for name in fields["allowed_models"]),
            expires_at=_time_from_text(fields["expires_at"]),
            revoked_at=_time_from_text(fields["revoked_at"]),
            # Keys of the first version lack it.
            created_at=_time_from_text(fields.get("created_at")),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a stored key: {error!r}") from error


def _time_to_text(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} is not a time")
    return value.astimezone(UTC).isoformat(timespec="seconds")


def _time_from_text(value: Any) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _role(value: object) -> KeyRole:
    # A role that this version does not know must not be taken for a lesser or a greater one.
    if value not in ("caller", "admin"):
        raise TypeError(f"{value!r} is not a role")
    return value
