"""The cache, put together."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from libs.background import Background, running
from libs.redis_client import redis_client
from libs.rpc.runtime import Runtime
from libs.rpc.server import RpcServer
from services.cache.adapters.faiss_index import FaissIndex
from services.cache.adapters.onnx_encoder import OnnxEncoder
from services.cache.adapters.prometheus_index import IndexCollector
from services.cache.adapters.prometheus_stats import StatsCollector
from services.cache.adapters.redis_answers import RedisAnswers
from services.cache.adapters.redis_outages import Outages
from services.cache.adapters.redis_replica import Replica
from services.cache.adapters.redis_served_hits import RedisServedHits
from services.cache.config import CacheConfig
from services.cache.domain.bad_hit import ReportBadHit
from services.cache.domain.explain import Explain
from services.cache.domain.fill import Fill
from services.cache.domain.hit_log import HitLog
from services.cache.domain.lexical_guard.guard import objection
from services.cache.domain.lookup import Lookup
from services.cache.domain.meaning import Meanings
from services.cache.domain.ports import AnswerStore, Encoder, ServedHits, VectorIndex
from services.cache.domain.remembered import RememberedEmbeddings
from services.cache.domain.semantic import Semantic
from services.cache.domain.stats import Stats
from services.cache.domain.tier_thresholds import TierThresholds
from services.cache.transport.servicer import CacheServicer, cache_routes


@dataclass(frozen=True, slots=True)
class _Near:
    """What the semantic tier is made of, where an organisation has one."""

    encoder: Encoder
    index: VectorIndex


@asynccontextmanager
async def serve(
    config: CacheConfig,
    *,
    runtime: Runtime,
    answers: AnswerStore | None = None,
    served: ServedHits | None = None,
    encoder: Encoder | None = None,
    index: VectorIndex | None = None,
) -> AsyncIterator[RpcServer]:
    """A cache that is listening. It starts without its Redis too: until that is there, every lookup fails open.

    What is given is used and not closed; an index that is given learns from the answers that are.
    """
    async with AsyncExitStack() as stack:
        stats = Stats()
        near = _near(config, runtime, stack, encoder, index) if config.semantic else None
        if answers is None or served is None:
            redis, outages = await stack.enter_async_context(_redis(config))
            served = RedisServedHits(redis=redis, outages=outages)
            answers = _redis_answers(redis, outages, runtime, stats, near)
        replica = await _follow(config, near, stack) if near and index is None else None
        for collector in (StatsCollector(stats), IndexCollector(index=near.index if near else None, replica=replica)):
            runtime.registry.register(collector)
            stack.callback(runtime.registry.unregister, collector)
        background = await stack.enter_async_context(Background(drain_seconds=config.drain_seconds))
        hits = HitLog(served=served, background=background)
        server = RpcServer(
            name="cache",
            listen=config.listen,
            routes=cache_routes(_servicer(config, runtime, stats, answers, hits, near)),
            runtime=runtime,
            drain_seconds=config.drain_seconds,
        )
        yield await stack.enter_async_context(server)


def _servicer(
    config: CacheConfig, runtime: Runtime, stats: Stats, answers: AnswerStore, hits: HitLog, near: _Near | None
) -> CacheServicer:
    meanings = Meanings(encoder=RememberedEmbeddings(near.encoder)) if near else None
    semantic = _semantic(runtime, stats, answers, near.index, meanings) if near and meanings else None
    return CacheServicer(
        lookup=Lookup(
            answers=answers,
            clock=runtime.clock,
            stats=stats,
            semantic=semantic,
            semantic_seconds=config.semantic_seconds,
        ),
        fill=Fill(
            answers=answers,
            clock=runtime.clock,
            stats=stats,
            chance=random.Random().random,  # noqa: S311 # spreads expiry; nothing secret
            max_answer_bytes=config.max_answer_bytes,
            meanings=meanings,
        ),
        explain=Explain(answers=answers, semantic=semantic),
        answers=answers,
        stats=stats,
        hits=hits,
        bad_hits=ReportBadHit(answers=answers, log=hits, stats=stats),
    )


def _semantic(runtime: Runtime, stats: Stats, answers: AnswerStore, index: VectorIndex, meanings: Meanings) -> Semantic:
    return Semantic(
        answers=answers,
        index=index,
        meanings=meanings,
        guard=objection,
        thresholds=TierThresholds(),
        clock=runtime.clock,
        stats=stats,
    )


def _near(
    config: CacheConfig, runtime: Runtime, stack: AsyncExitStack, encoder: Encoder | None, index: VectorIndex | None
) -> _Near:
    encoder = encoder or stack.enter_context(OnnxEncoder(config.encoder_folder))
    if index is None:
        index = FaissIndex(dimensions=encoder.dimensions, max_entries=config.max_entries, clock=runtime.clock)
    return _Near(encoder, index)


@asynccontextmanager
async def _redis(config: CacheConfig) -> AsyncIterator[tuple[Redis, Outages]]:
    redis = redis_client(config.redis_url)
    try:
        outages = Outages(timeout_seconds=config.redis_timeout_seconds)
        await outages.check(redis)
        yield redis, outages
    finally:
        await redis.aclose()


def _redis_answers(redis: Redis, outages: Outages, runtime: Runtime, stats: Stats, near: _Near | None) -> RedisAnswers:
    return RedisAnswers(
        redis=redis,
        outages=outages,
        clock=runtime.clock,
        unreadable=stats.found_unreadable,
        encoder=near.encoder.fingerprint if near else "",
    )


async def _follow(config: CacheConfig, near: _Near, stack: AsyncExitStack) -> Replica:
    redis = redis_client(config.redis_url)
    stack.push_async_callback(redis.aclose)
    replica = Replica(
        redis=redis,
        index=near.index,
        encoder=near.encoder.fingerprint,
        dimensions=near.encoder.dimensions,
        timeout_seconds=config.redis_timeout_seconds,
    )
    await stack.enter_async_context(running(replica.follow(), name="follow changes"))
    return replica
