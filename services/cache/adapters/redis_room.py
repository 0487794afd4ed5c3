"""How many answers there may be of all organisations, and whose goes when there are more.

tw:cache:sizes       sorted set of organisations by how many answers each was last seen to have
tw:cache:sizes:sum   the sum of these

Neither expires, so neither is evicted.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from libs.clock import Clock
from services.cache.adapters.answer_keys import SIZES, SIZES_SUM, lua, quoted, unquoted
from services.cache.domain.key import AnswerKey


class Room:
    """For `max_answers`, shared by all replicas. Where they were told different numbers the least one holds."""

    def __init__(self, *, redis: Redis, clock: Clock, max_answers: int) -> None:
        self._clock = clock
        self._max_answers = max_answers
        self._script: Any = redis.register_script(lua("room"))

    async def lacks(self, organisation: str) -> AnswerKey | None:
        """Which answer has to go after this organisation has put one: what would expire next of who has the most."""
        asked = (quoted(organisation), self._clock.now(), self._max_answers)
        found = await self._script(keys=(SIZES, SIZES_SUM), args=asked)
        return AnswerKey(unquoted(found[0]), found[1]) if found else None
