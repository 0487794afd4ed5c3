"""Which answers requests got, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from services.cache.domain.served_hit import ServedHit


class InMemoryServedHits:
    """A ServedHits for tests. `error` is raised by every call while it is set."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._hits: dict[tuple[str, str], ServedHit] = {}

    async def remember(self, hits: Sequence[ServedHit]) -> None:
        self._fail_if_away()
        self._hits.update({(each.key.organisation, each.request_id): each for each in hits})

    async def find(self, organisation: str, request_id: str) -> ServedHit | None:
        self._fail_if_away()
        return self._hits.get((organisation, request_id))

    async def forget(self, hit: ServedHit) -> bool:
        self._fail_if_away()
        return self._hits.pop((hit.key.organisation, hit.request_id), None) is not None

    def _fail_if_away(self) -> None:
        if self.error is not None:
            raise self.error
