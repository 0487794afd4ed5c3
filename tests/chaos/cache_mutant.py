"""A cache that takes an answer whose leader was lost for a whole one, and does not ask what was dropped meanwhile:
python -m tests.chaos.cache_mutant --config FILE.

What the run says of it has to be answers that are cut short, and stale ones; else the run could not see any.
"""

from __future__ import annotations

from dataclasses import replace

from libs.rpc.process import run
from services.cache.adapters import answer_keys, redis_answers, redis_flights
from services.cache.config import CacheConfig
from services.cache.domain.flight import Progress
from services.cache.domain.followed import Followed
from services.cache.server import serve
from tokenway.cache.v1 import cache_pb2
from tokenway.common.v1 import generation_pb2

_WHOLE = cache_pb2.Stored(finish_reason=generation_pb2.FINISH_REASON_STOP).SerializeToString()
_COMPARED = "tonumber(number) > as_of"
_take, _lua = Followed._take, answer_keys.lua


def _take_lost_for_whole(self: Followed, progress: Progress) -> None:
    _take(self, replace(progress, lost=False, end=_WHOLE) if progress.lost else progress)


def lua(*names: str) -> str:
    """A script that finds nothing dropped."""
    return _lua(*names).replace(_COMPARED, "false")


if __name__ == "__main__":
    setattr(Followed, "_take", _take_lost_for_whole)  # noqa: B010 # mypy takes methods for constants
    for each in (redis_answers, redis_flights):
        setattr(each, "lua", lua)  # noqa: B010 # both have it from answer_keys
    run("cache", CacheConfig.from_settings, serve)
