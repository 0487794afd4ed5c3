"""API keys in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from libs.keys import StoredKey
from services.budget.domain.errors import key_exists, key_not_found


class InMemoryKeys:
    """A KeyStore without Redis."""

    def __init__(self) -> None:
        self.stored: dict[str, StoredKey] = {}

    async def add(self, keys: Mapping[str, StoredKey]) -> int:
        new = {sha256_hex: key for sha256_hex, key in keys.items() if sha256_hex not in self.stored}
        self.stored |= new
        return len(new)

    async def create(self, sha256_hex: str, key: StoredKey) -> None:
        named = self._named(key.organisation, key.key_id)
        if list(named) != ([sha256_hex] if sha256_hex in self.stored else []):
            raise key_exists(key.key_id)
        self.stored.setdefault(sha256_hex, key)

    async def of(self, organisation: str) -> tuple[StoredKey, ...]:
        mine = (key for key in self.stored.values() if key.organisation == organisation)
        return tuple(sorted(mine, key=lambda key: key.key_id))

    async def revoke(self, organisation: str, key_id: str, *, at: datetime) -> StoredKey:
        found = self._named(organisation, key_id)
        if not found:
            raise key_not_found(key_id)
        for sha256_hex, key in found.items():
            self.stored[sha256_hex] = replace(key, revoked_at=key.revoked_at or at)
        return self.stored[list(found)[-1]]

    def _named(self, organisation: str, key_id: str) -> dict[str, StoredKey]:
        named = (organisation, key_id)
        return {sha: key for sha, key in self.stored.items() if (key.organisation, key.key_id) == named}
