"""Labels in Redis, where all replicas count.

tw:cache:{acme}:labels:<encoder>:<measure>   hash: how many labels of each kind, as `even:83:wrong`; and as
                                             `proven:0.05` the threshold proven to let no more than that be wrong

Cosines of another encoder are others: its labels are begun anew, and the old ones expire. What is invalidated takes no
label with it: how like two questions are does not hang on which answers are kept.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from services.cache.adapters.answer_keys import prefix
from services.cache.adapters.redis_outages import Outages
from services.cache.domain.calibration import NOTHING_IS_NEAR, Label, Learnt, Measure, Sampling

_KEPT_SECONDS = 90 * 86_400
_PROVEN = "proven:"
_VERDICTS = {"wrong": True, "right": False}


class RedisLabels:
    """A Labels; `encoder` is the fingerprint of the one that they are of."""

    def __init__(self, *, redis: Redis, outages: Outages, encoder: str) -> None:
        self._redis: Any = redis  # its stubs mix the types of sync and async clients
        self._outages = outages
        self._encoder = encoder

    async def add(self, organisation: str, measure: Measure, label: Label) -> None:
        verdict = "wrong" if label.wrong else "right"
        async with self._outages.guarded(), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hincrby(self._entry(organisation, measure), f"{label.sampling}:{label.step}:{verdict}", 1)
            pipeline.expire(self._entry(organisation, measure), _KEPT_SECONDS)
            await pipeline.execute()

    async def prove(self, organisation: str, measure: Measure, threshold: float, *, wrong_share: float) -> None:
        async with self._outages.guarded():
            await self._redis.hset(self._entry(organisation, measure), f"{_PROVEN}{wrong_share}", repr(threshold))

    async def learnt(self, organisation: str, measure: Measure, *, wrong_share: float) -> Learnt:
        async with self._outages.guarded():
            stored = await self._redis.hgetall(self._entry(organisation, measure))
        fields = {name.decode(): value for name, value in stored.items()}
        tally = {_label(name): int(value) for name, value in fields.items() if not name.startswith(_PROVEN)}
        return Learnt(tally, float(fields.get(f"{_PROVEN}{wrong_share}", NOTHING_IS_NEAR)))

    def _entry(self, organisation: str, measure: Measure) -> str:
        return f"{prefix(organisation)}:labels:{self._encoder}:{measure}"


def _label(name: str) -> Label:
    sampling, step, verdict = name.split(":")
    return Label(Sampling(sampling), int(step), _VERDICTS[verdict])
