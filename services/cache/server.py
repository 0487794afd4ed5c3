"""The cache, put together."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from libs.background import Background, running
from libs.clock import Clock
from libs.redis_client import redis_client
from libs.rpc.runtime import Runtime
from libs.rpc.server import RpcServer
from services.cache.adapters.faiss_index import FaissIndex
from services.cache.adapters.onnx_encoder import OnnxEncoder
from services.cache.adapters.prometheus_calibration import CalibrationCollector
from services.cache.adapters.prometheus_index import IndexCollector
from services.cache.adapters.prometheus_stats import StatsCollector
from services.cache.adapters.redis_answers import RedisAnswers
from services.cache.adapters.redis_flights import RedisFlights
from services.cache.adapters.redis_labels import RedisLabels
from services.cache.adapters.redis_outages import Outages
from services.cache.adapters.redis_replica import Replica
from services.cache.adapters.redis_served_hits import RedisServedHits
from services.cache.config import CacheConfig
from services.cache.domain.bad_hit import ReportBadHit
from services.cache.domain.calibration import Calibration
from services.cache.domain.explain import Explain
from services.cache.domain.figures import ReadFigures
from services.cache.domain.fill import Fill
from services.cache.domain.hit_log import HitLog
from services.cache.domain.labelling import Labelling
from services.cache.domain.lexical_guard.guard import objection
from services.cache.domain.live_fill import LiveFill
from services.cache.domain.lookup import Lookup
from services.cache.domain.meaning import Meanings
from services.cache.domain.ports import AnswerStore, Encoder, Flights, Labels, ServedHits, VectorIndex
from services.cache.domain.remembered import RememberedEmbeddings
from services.cache.domain.semantic import Semantic
from services.cache.domain.single_flight import SingleFlight
from services.cache.domain.stats import Stats
from services.cache.domain.thresholds import LearntThresholds, SemanticPolicy
from services.cache.domain.verifier import SameAnswer
from services.cache.transport.servicer import CacheServicer, cache_routes


@dataclass(frozen=True, slots=True)
class _Near:
    """What the semantic tier is made of, where an organisation has one."""

    encoder: Encoder
    index: VectorIndex
    labels: Labels
    thresholds: LearntThresholds


@asynccontextmanager
async def serve(
    config: CacheConfig,
    *,
    runtime: Runtime,
    answers: AnswerStore | None = None,
    served: ServedHits | None = None,
    labels: Labels | None = None,
    encoder: Encoder | None = None,
    index: VectorIndex | None = None,
    flights: Flights | None = None,
) -> AsyncIterator[RpcServer]:
    """A cache that is listening. It starts without its Redis too: until that is there, every lookup fails open.

    What is given is used and not closed; an index that is given learns from the answers that are. Where answers are
    given and no flights, nobody leads or follows.
    """
    async with AsyncExitStack() as stack:
        stats = Stats()
        if not config.semantic:
            encoder = None
        elif encoder is None:
            encoder = stack.enter_context(OnnxEncoder(config.encoder_folder))
        if answers is None or served is None or labels is None:
            redis, outages = await stack.enter_async_context(_redis(config))
            fingerprint = encoder.fingerprint if encoder else ""
            answers = kept = _redis_answers(config, redis, outages, runtime, stats, fingerprint)
            lease_seconds = config.flight_lease_seconds
            flights = flights or RedisFlights(redis=redis, outages=outages, answers=kept, lease_seconds=lease_seconds)
            served = RedisServedHits(redis=redis, outages=outages)
            labels = RedisLabels(redis=redis, outages=outages, encoder=fingerprint)
        background = await stack.enter_async_context(Background(drain_seconds=config.drain_seconds))
        near = _near(config, runtime, background, encoder, index, labels) if encoder else None
        replica = await _follow(config, near, stack) if near and index is None else None
        for collector in (
            StatsCollector(stats),
            IndexCollector(index=near.index if near else None, replica=replica),
            CalibrationCollector(near.thresholds if near else None),
        ):
            runtime.registry.register(collector)
            stack.callback(runtime.registry.unregister, collector)
        hits = HitLog(served=served, background=background)
        single_flight = _single_flight(flights, background, config, runtime, stats) if flights else None
        if single_flight is not None:
            await stack.enter_async_context(running(single_flight.run(), name="flights"))
        server = RpcServer(
            name="cache",
            listen=config.listen,
            routes=cache_routes(_servicer(config, runtime, stats, answers, hits, background, single_flight, near)),
            runtime=runtime,
            drain_seconds=config.drain_seconds,
        )
        yield await stack.enter_async_context(server)


def _servicer(
    config: CacheConfig,
    runtime: Runtime,
    stats: Stats,
    answers: AnswerStore,
    hits: HitLog,
    background: Background,
    single_flight: SingleFlight | None,
    near: _Near | None,
) -> CacheServicer:
    meanings = Meanings(encoder=near.encoder) if near else None
    semantic = _semantic(runtime, stats, answers, near, meanings) if near and meanings else None
    return CacheServicer(
        lookup=Lookup(
            answers=answers,
            clock=runtime.clock,
            stats=stats,
            semantic=semantic,
            semantic_seconds=config.semantic_seconds,
            single_flight=single_flight,
        ),
        fill=LiveFill(
            fill=Fill(
                answers=answers,
                clock=runtime.clock,
                stats=stats,
                chance=random.Random().random,  # noqa: S311 # spreads expiry; nothing secret
                max_answer_bytes=config.max_answer_bytes,
                meanings=meanings,
                labelling=_labelling(near, semantic, answers, background, runtime.clock) if near and semantic else None,
            ),
            single_flight=single_flight,
        ),
        explain=Explain(answers=answers, semantic=semantic),
        answers=answers,
        figures=ReadFigures(stats=stats, answers=answers, thresholds=near.thresholds if near else None),
        hits=hits,
        bad_hits=ReportBadHit(answers=answers, log=hits, stats=stats, labels=near.labels if near else None),
    )


def _single_flight(
    flights: Flights, background: Background, config: CacheConfig, runtime: Runtime, stats: Stats
) -> SingleFlight:
    return SingleFlight(
        flights=flights,
        background=background,
        clock=runtime.clock,
        stats=stats,
        max_answer_bytes=config.max_answer_bytes,
    )


def _semantic(runtime: Runtime, stats: Stats, answers: AnswerStore, near: _Near, meanings: Meanings) -> Semantic:
    return Semantic(
        answers=answers,
        index=near.index,
        meanings=meanings,
        guard=objection,
        thresholds=near.thresholds,
        clock=runtime.clock,
        stats=stats,
    )


def _labelling(
    near: _Near, semantic: Semantic, answers: AnswerStore, background: Background, clock: Clock
) -> Labelling:
    return Labelling(
        semantic=semantic,
        answers=answers,
        verifier=SameAnswer(encoder=near.encoder, guard=objection),
        thresholds=near.thresholds,
        labels=near.labels,
        background=background,
        clock=clock,
    )


def _near(
    config: CacheConfig,
    runtime: Runtime,
    background: Background,
    encoder: Encoder,
    index: VectorIndex | None,
    labels: Labels,
) -> _Near:
    if index is None:
        index = FaissIndex(dimensions=encoder.dimensions, max_entries=config.max_entries, clock=runtime.clock)
    policies = {
        name: SemanticPolicy(each.tier, Calibration(wrong_share=each.wrong_share, false_equal=SameAnswer.false_equal))
        for name, each in config.tiers.items()
    }
    thresholds = LearntThresholds(labels=labels, policies=policies, background=background, clock=runtime.clock)
    return _Near(RememberedEmbeddings(encoder), index, labels, thresholds)


@asynccontextmanager
async def _redis(config: CacheConfig) -> AsyncIterator[tuple[Redis, Outages]]:
    redis = redis_client(config.redis_url)
    try:
        outages = Outages(timeout_seconds=config.redis_timeout_seconds)
        await outages.check(redis)
        yield redis, outages
    finally:
        await redis.aclose()


def _redis_answers(
    config: CacheConfig, redis: Redis, outages: Outages, runtime: Runtime, stats: Stats, encoder: str
) -> RedisAnswers:
    return RedisAnswers(
        redis=redis,
        outages=outages,
        clock=runtime.clock,
        unreadable=stats.found_unreadable,
        encoder=encoder,
        max_answers=config.max_answers,
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
