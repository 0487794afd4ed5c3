"""The cache, put together."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from redis.asyncio import Redis

from libs.background import Background
from libs.redis_client import redis_client
from libs.rpc.runtime import Runtime
from libs.rpc.server import RpcServer
from services.cache.adapters.prometheus_stats import StatsCollector
from services.cache.adapters.redis_answers import RedisAnswers
from services.cache.adapters.redis_outages import Outages
from services.cache.adapters.redis_served_hits import RedisServedHits
from services.cache.config import CacheConfig
from services.cache.domain.bad_hit import ReportBadHit
from services.cache.domain.explain import Explain
from services.cache.domain.fill import Fill
from services.cache.domain.hit_log import HitLog
from services.cache.domain.lookup import Lookup
from services.cache.domain.ports import AnswerStore, ServedHits
from services.cache.domain.stats import Stats
from services.cache.transport.servicer import CacheServicer, cache_routes


@asynccontextmanager
async def serve(
    config: CacheConfig, *, runtime: Runtime, answers: AnswerStore | None = None, served: ServedHits | None = None
) -> AsyncIterator[RpcServer]:
    """A cache that is listening. It starts without its Redis too: until that is there, every lookup fails open."""
    async with AsyncExitStack() as stack:
        stats = Stats()
        collector = StatsCollector(stats)
        runtime.registry.register(collector)
        stack.callback(runtime.registry.unregister, collector)
        if answers is None or served is None:
            redis, outages = await stack.enter_async_context(_redis(config))
            served = RedisServedHits(redis=redis, outages=outages)
            answers = RedisAnswers(redis=redis, outages=outages, clock=runtime.clock, unreadable=stats.found_unreadable)
        background = await stack.enter_async_context(Background(drain_seconds=config.drain_seconds))
        hits = HitLog(served=served, background=background)
        servicer = CacheServicer(
            lookup=Lookup(answers=answers, clock=runtime.clock, stats=stats, semantic_seconds=config.semantic_seconds),
            fill=Fill(
                answers=answers,
                clock=runtime.clock,
                stats=stats,
                chance=random.Random().random,  # noqa: S311 # spreads expiry; nothing secret
                max_answer_bytes=config.max_answer_bytes,
            ),
            explain=Explain(answers=answers),
            answers=answers,
            stats=stats,
            hits=hits,
            bad_hits=ReportBadHit(answers=answers, log=hits, stats=stats),
        )
        server = RpcServer(
            name="cache",
            listen=config.listen,
            routes=cache_routes(servicer),
            runtime=runtime,
            drain_seconds=config.drain_seconds,
        )
        yield await stack.enter_async_context(server)


@asynccontextmanager
async def _redis(config: CacheConfig) -> AsyncIterator[tuple[Redis, Outages]]:
    redis = redis_client(config.redis_url)
    try:
        outages = Outages(timeout_seconds=config.redis_timeout_seconds)
        await outages.check(redis)
        yield redis, outages
    finally:
        await redis.aclose()
