"""The scripts about an organisation's books that are no verb of a reservation."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from services.budget.adapters.redis_calls import RedisCalls, Script
from services.budget.adapters.redis_ledger import key_of, lua, organisation_keys
from services.budget.adapters.redis_outages import or_unavailable


class OrganisationScript:
    """One step over one organisation, made of those files of lua/; lua/organisation.lua says what it is told."""

    def __init__(
        self, *names: str, calls: RedisCalls, timeout_seconds: float, now_ms: Callable[[], int] | None = None
    ) -> None:
        self._script = Script("\n".join(map(lua, names)))
        self._calls = calls
        self._timeout_seconds = timeout_seconds
        self._now_ms = now_ms

    async def __call__(self, organisation: str, **asked: Any) -> Any:
        now = "" if self._now_ms is None else self._now_ms()
        async with or_unavailable(self._timeout_seconds):
            return await self._calls.call(
                self._script, organisation_keys(organisation), [key_of(organisation, ""), now, json.dumps(asked)]
            )
