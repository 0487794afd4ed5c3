"""The cache's metrics, by their agreed names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from services.cache.adapters.prometheus_stats import StatsCollector
from services.cache.domain.stats import FillResult, SemanticResult, Stats, Verdict


def exposition(stats: Stats) -> list[str]:
    registry = CollectorRegistry()
    registry.register(StatsCollector(stats))
    return generate_latest(registry).decode().splitlines()


def test_everything_is_there_from_the_start() -> None:
    lines = exposition(Stats())
    assert "# TYPE llm_cache_hit_rate gauge" in lines
    assert "llm_cache_hit_rate 0.0" in lines
    assert "tokenway_cache_unreadable_total 0.0" in lines
    assert {f'tokenway_cache_lookups_total{{verdict="{each}"}} 0.0' for each in Verdict} <= set(lines)
    assert {f'tokenway_cache_fills_total{{result="{each}"}} 0.0' for each in FillResult} <= set(lines)


def test_the_hit_rate_is_hits_by_lookups_of_what_may_be_cached() -> None:
    stats = Stats()
    for verdict in (Verdict.HIT, Verdict.MISS, Verdict.MISS, Verdict.FAILED, Verdict.BYPASS):
        stats.looked_up("acme", verdict)
    stats.filled("acme", FillResult.STORED)
    stats.found_unreadable()
    lines = exposition(stats)
    assert "llm_cache_hit_rate 0.25" in lines
    assert 'tokenway_cache_lookups_total{verdict="miss"} 2.0' in lines
    assert 'tokenway_cache_fills_total{result="stored"} 1.0' in lines
    assert "tokenway_cache_unreadable_total 1.0" in lines


def test_the_semantic_tier_s_results_and_the_guard_s_vetoes_are_counted() -> None:
    stats = Stats()
    for result in (SemanticResult.HIT, SemanticResult.GUARD, SemanticResult.GUARD):
        stats.looked_near("acme", result)
    stats.vetoed("numbers")
    lines = exposition(stats)
    wanted = dict.fromkeys(SemanticResult, 0) | {SemanticResult.HIT: 1, SemanticResult.GUARD: 2}
    assert {f'tokenway_cache_semantic_total{{result="{each}"}} {float(number)}' for each, number in wanted.items()} <= {
        *lines
    }
    assert 'tokenway_cache_guard_vetoes_total{kind="numbers"} 1.0' in lines


def test_no_organisation_is_a_label() -> None:
    stats = Stats()
    stats.looked_up("acme", Verdict.HIT)
    assert not any("acme" in line for line in exposition(stats))
