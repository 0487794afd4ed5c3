"""What a new key must keep to. Each rule that it breaks is named by its field."""

from __future__ import annotations

import re
from collections.abc import Iterator

from libs.errors import FieldViolation
from libs.settings.schema import ALLOWED, NAME
from tokenway.common.v1.principal_pb2 import ApiKey, KeyRole, Principal
from tokenway.router.v1 import admin_pb2 as pb

Violations = Iterator[FieldViolation]
# Timestamp's own bound, the end of the year 9999.
_MAX_SECONDS = 253_402_300_799


def broken_by_create_key(
    message: pb.CreateKeyRequest, *, organisation: str, models: frozenset[str], now_seconds: float
) -> Violations:
    """The key belongs to that organisation, may use those models, and lives at least a moment from now on."""
    yield from _principal(message.key.principal, organisation)
    yield from _models(message.key, models)
    yield from _times(message.key, now_seconds)


def _principal(principal: Principal, organisation: str) -> Violations:
    for field in ("key_id", "user", "team"):
        value = getattr(principal, field)
        if not (re.fullmatch(NAME, value) or (field != "key_id" and not value)):
            yield FieldViolation(f"key.principal.{field}", f"is {value[:64]!r}: give {ALLOWED[NAME]}")
    if principal.organisation not in ("", organisation):
        yield FieldViolation(
            "key.principal.organisation",
            f"is {principal.organisation[:64]!r}: a key is made in your own, {organisation}, so leave it empty",
        )
    if principal.role not in KeyRole.values():
        yield FieldViolation("key.principal.role", f"is {principal.role}: give KEY_ROLE_CALLER or KEY_ROLE_ADMIN")


def _models(key: ApiKey, models: frozenset[str]) -> Violations:
    for index, name in enumerate(key.allowed_models):
        if name not in models:
            there_are = ", ".join(sorted(models))
            yield FieldViolation(
                f"key.allowed_models[{index}]", f"is {name[:64]!r}: no model has that name, there are {there_are}"
            )


def _times(key: ApiKey, now_seconds: float) -> Violations:
    for field in ("revoked_at", "created_at"):
        if key.HasField(field):
            yield FieldViolation(f"key.{field}", "is set, and not yours to say: leave it out")
    if key.HasField("expires_at") and not now_seconds + 1 <= key.expires_at.seconds <= _MAX_SECONDS:
        yield FieldViolation(
            "key.expires_at",
            f"is {key.expires_at.seconds} s after 1970, and now is {now_seconds:.0f}: give a moment that is to come",
        )
