"""Where the cache finds its Redis."""

from __future__ import annotations

import pytest

from libs.errors import TokenwayError
from libs.settings.schema import Settings
from services.cache.config import CacheConfig, TierPolicy
from services.cache.domain.model import Tier

MODEL = {
    "name": "small",
    "tier": "small",
    "capabilities": ["all"],
    "context_window_tokens": 4096,
    "p99_latency_seconds": 1,
    "price": {"input_usd_per_million_tokens": "0.2", "output_usd_per_million_tokens": "0.2"},
    "endpoints": ["127.0.0.1:0"],
}


def settings(**stores: str) -> Settings:
    return Settings.model_validate({"models": [MODEL], "organisations": [{"name": "acme"}], "stores": stores})


@pytest.mark.parametrize(
    ("stores", "url"),
    [
        ({"redis_url": "redis://one"}, "redis://one"),
        ({"redis_url": "redis://one", "cache_redis_url": "redis://two"}, "redis://two"),
        ({"cache_redis_url": "redis://two"}, "redis://two"),
        ({"redis_url": "unix:///run/r.sock", "cache_redis_url": "embedded"}, "unix:///run/r.sock"),
    ],
)
def test_a_server_of_its_own_comes_first(stores: dict[str, str], url: str) -> None:
    assert CacheConfig.from_settings(settings(**stores)).redis_url == url


def test_an_embedded_redis_that_nobody_started_is_refused_with_what_to_do() -> None:
    with pytest.raises(TokenwayError, match="set REDIS_URL"):
        CacheConfig.from_settings(settings())


def test_the_rest_is_the_file_s() -> None:
    config = CacheConfig.from_settings(settings(redis_url="redis://one"))
    assert (config.listen, config.metrics_listen) == ("127.0.0.1:50052", "127.0.0.1:0")
    assert (config.drain_seconds, config.max_answer_bytes) == (30, 256 << 10)
    assert (config.max_answers, config.max_entries) == (100_000, 100_000)


@pytest.mark.parametrize(
    ("policy", "tiers"),
    [
        ({}, {}),
        ({"tier": "balanced"}, {"acme": TierPolicy(Tier.BALANCED, 0.05)}),
        ({"tier": "calibrated", "wrong_share": 0.01}, {"acme": TierPolicy(Tier.CALIBRATED, 0.01)}),
        ({"tier": "balanced", "enabled": False}, {}),
    ],
)
def test_the_semantic_tier_is_there_for_the_organisations_that_have_one(
    policy: dict[str, object], tiers: dict[str, TierPolicy]
) -> None:
    organisations = [{"name": "acme", "cache": policy}, {"name": "globex"}]
    given = {"models": [MODEL], "organisations": organisations, "stores": {"redis_url": "redis://one"}}
    config = CacheConfig.from_settings(Settings.model_validate(given))
    assert (config.tiers, config.semantic) == (tiers, bool(tiers))
