"""Answers in Redis, which is their truth.

All keys of an organisation share its hash tag, so that they lie on one node of a cluster:

tw:cache:{acme}:answer:<key, hex>   hash: version, tag, checksum, body; expires with its answer
tw:cache:{acme}:all                 sorted set of keys by the time of their expiry, for Invalidate
tw:cache:{acme}:model:<name>        the same of one model
tw:cache:{acme}:revision:<name>:<…>  the same of one revision of it
tw:cache:{acme}:tag:<tag>           the same of one tag
tw:cache:changes                    stream of what replicas are to have in their indexes: see index_entries

A sorted set expires with the last answer in it. If Redis may evict, then by volatile-ttl, which takes answers first:
an answer whose sorted set is gone could not be invalidated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import structlog
from redis.asyncio import Redis

from libs.clock import Clock
from services.cache.adapters import answer_codec, index_entries
from services.cache.adapters.answer_codec import FIELDS, UnreadableError
from services.cache.adapters.redis_outages import Outages
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import StoredAnswer
from services.cache.domain.ports import Everything, OfModel, Selection, WithTag

_DROPPED_AT_ONCE = 500
# 9 MB. A replica that is further behind reads all answers anew.
_CHANGES_KEPT = 10_000
_SECOND_MS = 1_000


class RedisAnswers:
    """An AnswerStore. `unreadable` is told of each entry that was there and could not be trusted.

    `encoder` is the fingerprint of the one whose vectors are put; without one there are none.
    """

    def __init__(
        self, *, redis: Redis, outages: Outages, clock: Clock, unreadable: Callable[[], None], encoder: str = ""
    ) -> None:
        self._redis: Any = redis  # its stubs mix the types of sync and async clients
        self._outages = outages
        self._clock = clock
        self._unreadable = unreadable
        self._encoder = encoder
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

    async def put(self, key: AnswerKey, answer: StoredAnswer, *, vector: bytes = b"") -> None:
        now = self._clock.now()
        if answer.expires_at <= now:
            return
        entry = entry_key(key.organisation, key.digest)
        lifetime_ms = math.ceil((answer.expires_at - now) * _SECOND_MS)
        fields = answer_codec.encode(answer, tag=index_entries.tag_of(key))
        indexed = index_entries.fields_of(key, answer, vector, encoder=self._encoder) if vector else {}
        # One transaction: an answer without its place in the indexes could not be invalidated.
        async with self._outages.guarded(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(entry)
            pipeline.hset(entry, mapping={**fields, **indexed})
            pipeline.pexpire(entry, lifetime_ms)
            for index in _indexes(key.organisation, answer):
                pipeline.zremrangebyscore(index, "-inf", now)
                pipeline.zadd(index, {key.digest: answer.expires_at})
                # As long as the longest-lived in it: for one that has no end yet, and for one that ends too soon.
                pipeline.pexpire(index, lifetime_ms, nx=True)
                pipeline.pexpire(index, lifetime_ms, gt=True)
            if indexed:
                pipeline.xadd(index_entries.CHANGES, indexed, maxlen=_CHANGES_KEPT, approximate=True)
            await pipeline.execute()

    async def drop(self, organisation: str, selection: Selection) -> int:
        index, dropped = _index(organisation, selection), 0
        # In steps, since Redis does nothing else during one; each takes from the index what it has dropped.
        while digests := await self._first(index):
            async with self._outages.guarded(), self._redis.pipeline(transaction=True) as pipeline:
                pipeline.unlink(*(entry_key(organisation, digest) for digest in digests))
                pipeline.zrem(index, *digests)
                if self._encoder:
                    change = index_entries.drop_of(organisation, digests)
                    pipeline.xadd(index_entries.CHANGES, change, maxlen=_CHANGES_KEPT, approximate=True)
                dropped += (await pipeline.execute())[0]
        return dropped

    async def evict(self, key: AnswerKey) -> bool:
        async with self._outages.guarded(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.unlink(entry_key(key.organisation, key.digest))
            # Its model and its tags are not known here; what an index still names and is gone is dropped as nothing.
            pipeline.zrem(_index(key.organisation, Everything()), key.digest)
            if self._encoder:
                change = index_entries.drop_of(key.organisation, [key.digest])
                pipeline.xadd(index_entries.CHANGES, change, maxlen=_CHANGES_KEPT, approximate=True)
            return bool((await pipeline.execute())[0])

    async def count(self, organisation: str) -> int:
        async with self._outages.guarded():
            return int(await self._redis.zcount(_index(organisation, Everything()), self._clock.now(), "+inf"))

    async def _first(self, index: str) -> list[bytes]:
        async with self._outages.guarded():
            found: list[bytes] = await self._redis.zrange(index, 0, _DROPPED_AT_ONCE - 1)
            return found


def prefix(organisation: str) -> str:
    # Quoted, so that no name can end the hash tag early or reach into another's keys.
    return f"tw:cache:{{{quote(organisation, safe='')}}}"


def entry_key(organisation: str, digest: bytes) -> str:
    return f"{prefix(organisation)}:answer:{digest.hex()}"


def _index(organisation: str, selection: Selection) -> str:
    start = prefix(organisation)
    match selection:
        case Everything():
            return f"{start}:all"
        case OfModel(model, ""):
            return f"{start}:model:{model}"
        case OfModel(model, revision):
            # Quoted, so that no colon in a name makes two revisions one.
            return f"{start}:revision:{quote(model, safe='')}:{revision}"
        case WithTag(tag):
            return f"{start}:tag:{tag}"


def _indexes(organisation: str, answer: StoredAnswer) -> list[str]:
    model = OfModel(answer.model)
    # A model may have no name for its revision: then there is one index of it, not two.
    selections: set[Selection] = {
        Everything(),
        model,
        replace(model, revision=answer.model_revision),
        *map(WithTag, answer.tags),
    }
    return [_index(organisation, each) for each in selections]
