"""A cache whose encoder is never done in time: python -m tests.chaos.busy_cache --config FILE."""

from __future__ import annotations

import asyncio
from functools import partial

from libs.rpc.process import run
from libs.testing.encoder import WordCounter
from services.cache.config import CacheConfig
from services.cache.domain.ports import Embedding
from services.cache.server import serve


class Saturated(WordCounter):
    """As if many others stood before everyone."""

    async def embed(self, text: str) -> Embedding:
        await asyncio.sleep(1)
        return await super().embed(text)


if __name__ == "__main__":
    run("cache", CacheConfig.from_settings, partial(serve, encoder=Saturated()))
