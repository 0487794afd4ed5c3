"""A cache that takes an answer whose leader was lost for a whole one: python -m tests.chaos.cache_mutant --config FILE.

What the run of waves says of it has to be answers that are cut short; else the run could not see one.
"""

from __future__ import annotations

from dataclasses import replace

from libs.rpc.process import run
from services.cache.config import CacheConfig
from services.cache.domain.flight import Progress
from services.cache.domain.followed import Followed
from services.cache.server import serve
from tokenway.cache.v1 import cache_pb2
from tokenway.common.v1 import generation_pb2

_WHOLE = cache_pb2.Stored(finish_reason=generation_pb2.FINISH_REASON_STOP).SerializeToString()
_take = Followed._take


def _take_lost_for_whole(self: Followed, progress: Progress) -> None:
    _take(self, replace(progress, lost=False, end=_WHOLE) if progress.lost else progress)


if __name__ == "__main__":
    setattr(Followed, "_take", _take_lost_for_whole)  # noqa: B010 # mypy takes methods for constants
    run("cache", CacheConfig.from_settings, serve)
