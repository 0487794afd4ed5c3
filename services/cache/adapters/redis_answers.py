"""Answers in Redis, which is their truth.

All keys of an organisation share its hash tag, so that they lie on one node of a cluster:

tw:cache:{acme}:answer:<key, hex>   hash: version, tag, checksum, body; expires with its answer
tw:cache:{acme}:all                 sorted set of keys by the time of their expiry, for Invalidate
tw:cache:{acme}:model:<name>        the same of one model
tw:cache:{acme}:revision:<name>:<…>  the same of one revision of it
tw:cache:{acme}:tag:<tag>           the same of one tag
tw:cache:{acme}:drops               sorted set of what was dropped, by the number of the drop: see lua/drops.lua
tw:cache:changes                    stream of what replicas are to have in their indexes: see index_entries

tw:cache:indexes                    set of the keys of all these sorted sets

Answers alone expire, so of these they alone are evicted, if Redis may evict by volatile-ttl: without its places in the
sorted sets an answer could not be dropped, and without the drops a dropped one could come back. What has expired leaves
the sorted sets as others are put: theirs, and some more by lot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import structlog
from redis.asyncio import Redis

from libs.clock import Clock
from services.cache.adapters import answer_codec, index_entries
from services.cache.adapters.answer_codec import FIELDS, UnreadableError
from services.cache.adapters.answer_keys import (
    INDEXES,
    drops_key,
    entry_key,
    index_key,
    lua,
    name_of,
    names_of,
    own_name,
)
from services.cache.adapters.redis_outages import Outages
from services.cache.adapters.redis_room import Room
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import StoredAnswer
from services.cache.domain.selection import Everything, Selection, selections_of

_DROPPED_AT_ONCE = 500
# Where the cap was lowered; a put brings one.
_EVICTED_AT_ONCE = 20
# 9 MB. A replica that is further behind reads all answers anew.
_CHANGES_KEPT = 10_000
_SECOND_MS = 1_000
# For how long an answer may be generated of which nobody says when that began.
_GENERATED_MICROSECONDS = 3_600 * 1_000_000


class RedisAnswers:
    """An AnswerStore. `unreadable` is told of each entry that was there and could not be trusted.

    `encoder` is the fingerprint of the one whose vectors are put; without one there are none. `max_answers` is the cap
    over all organisations.
    """

    def __init__(
        self,
        *,
        redis: Redis,
        outages: Outages,
        clock: Clock,
        unreadable: Callable[[], None],
        encoder: str = "",
        max_answers: int = 100_000,
    ) -> None:
        self._redis: Any = redis  # its stubs mix the types of sync and async clients
        self._outages = outages
        self._clock = clock
        self._unreadable = unreadable
        self._encoder = encoder
        scripts: tuple[Any, ...] = tuple(redis.register_script(lua("drops", each)) for each in ("as_of", "put", "drop"))
        self._as_of, self._put, self._drop = scripts
        self._join: Any = redis.register_script(lua("join"))
        self._room = Room(redis=redis, clock=clock, max_answers=max_answers)
        self._log = structlog.get_logger("cache")

    async def get(self, key: AnswerKey) -> StoredAnswer | None:
        async with self._outages.guarded():
            values = await self._redis.hmget(entry_key(key.organisation, key.digest), FIELDS)
        return self.trusted(key, values)

    def trusted(self, key: AnswerKey, values: Sequence[bytes | None]) -> StoredAnswer | None:
        """The answer in an entry's FIELDS; None where there is none, it has expired, or is not this key's, whole."""
        if all(value is None for value in values):
            return None
        try:
            answer = answer_codec.decode(dict(zip(FIELDS, values, strict=True)), tag=index_entries.tag_of(key))
        except UnreadableError as error:
            self._unreadable()
            self._log.warning(
                "stored answer passed over", why=str(error), entry=entry_key(key.organisation, key.digest)
            )
            return None
        # Redis expires it by its own clock; this one decides, as it did when the time was set.
        return answer if answer.expires_at > self._clock.now() else None

    async def as_of(self, organisation: str) -> int:
        async with self._outages.guarded():
            return int(await self._as_of(keys=(drops_key(organisation),)))

    async def put(self, key: AnswerKey, answer: StoredAnswer, *, as_of: int = 0, vector: bytes = b"") -> bool:
        now = self._clock.now()
        if answer.expires_at <= now:
            return True
        entry, drops = entry_key(key.organisation, key.digest), drops_key(key.organisation)
        selections = selections_of(answer.model, answer.model_revision, answer.tags)
        change = index_entries.fields_of(key, answer, vector, encoder=self._encoder) if vector else {}
        # Beside the change's, whose tag is the answer's too.
        more = answer_codec.encode(answer, tag=index_entries.tag_of(key))
        keys = (
            drops,
            entry,
            index_entries.CHANGES,
            INDEXES,
            *(index_key(key.organisation, each) for each in selections),
        )
        asked = (as_of, _GENERATED_MICROSECONDS, names_of(key, selections))
        kept = (math.ceil((answer.expires_at - now) * _SECOND_MS), key.digest, answer.expires_at, now, _CHANGES_KEPT)
        fields = (2 * len(change), *_flat(change), *_flat(more))
        async with self._outages.guarded():
            is_put = bool(await self._put(keys=keys, args=(*asked, *kept, *fields)))
        if is_put:
            await self._make_room(key.organisation)
        return is_put

    async def _make_room(self, organisation: str) -> None:
        for _ in range(_EVICTED_AT_ONCE):
            async with self._outages.guarded():
                lacking = await self._room.lacks(organisation)
            if lacking is None:
                return
            await self._removed(lacking.organisation, [lacking.digest])

    async def drop(self, organisation: str, selection: Selection) -> int:
        index, dropped = index_key(organisation, selection), 0
        # First, so that nothing which was asked before is put behind it.
        await self._note(organisation, name_of(selection))
        # In steps, since Redis does nothing else during one; each takes from the index what it has dropped.
        while digests := await self._first(index):
            dropped += await self._removed(organisation, digests, index)
        return dropped

    async def join(self, key: AnswerKey, family: bytes) -> None:
        keys = (entry_key(key.organisation, key.digest), index_entries.CHANGES)
        async with self._outages.guarded():
            await self._join(keys=keys, args=(index_entries.tag_of(key), family, _CHANGES_KEPT))

    async def evict(self, key: AnswerKey) -> bool:
        await self._note(key.organisation, own_name(key))
        return bool(await self._removed(key.organisation, [key.digest]))

    async def _removed(self, organisation: str, digests: Sequence[bytes], *indexes: str) -> int:
        """How many were there. What other indexes still name and is gone is removed as nothing."""
        async with self._outages.guarded(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.unlink(*(entry_key(organisation, digest) for digest in digests))
            for index in {index_key(organisation, Everything()), *indexes}:
                pipeline.zrem(index, *digests)
            if self._encoder:
                change = index_entries.drop_of(organisation, digests)
                pipeline.xadd(index_entries.CHANGES, change, maxlen=_CHANGES_KEPT, approximate=True)
            return int((await pipeline.execute())[0])

    async def count(self, organisation: str) -> int:
        async with self._outages.guarded():
            return int(await self._redis.zcount(index_key(organisation, Everything()), self._clock.now(), "+inf"))

    async def _note(self, organisation: str, name: str) -> None:
        async with self._outages.guarded():
            await self._drop(keys=(drops_key(organisation),), args=(name,))

    async def _first(self, index: str) -> list[bytes]:
        async with self._outages.guarded():
            found: list[bytes] = await self._redis.zrange(index, 0, _DROPPED_AT_ONCE - 1)
            return found


def _flat(fields: Mapping[str, bytes]) -> chain[str | bytes]:
    return chain.from_iterable(fields.items())
