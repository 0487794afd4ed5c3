"""Where the cache finds its Redis."""

from __future__ import annotations

import pytest

from libs.errors import TokenwayError
from libs.settings.schema import Settings
from services.cache.config import CacheConfig

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
