"""API keys in memory."""

from __future__ import annotations

from collections.abc import Mapping

from libs.keys import StoredKey


class InMemoryKeys:
    """A KeyStore without Redis."""

    def __init__(self) -> None:
        self.stored: dict[str, StoredKey] = {}

    async def add(self, keys: Mapping[str, StoredKey]) -> int:
        new = {sha256_hex: key for sha256_hex, key in keys.items() if sha256_hex not in self.stored}
        self.stored |= new
        return len(new)
