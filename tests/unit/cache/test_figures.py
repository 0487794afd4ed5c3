"""What the cache says of itself, as it is sent."""

from __future__ import annotations

from collections import Counter

from services.cache.domain.calibration import Estimate
from services.cache.domain.figures import Figures
from services.cache.domain.stats import Counts, FillResult, SemanticResult, Verdict
from services.cache.domain.thresholds import Standing
from services.cache.transport.convert import figures_to_proto


def test_every_figure_is_sent_as_what_it_is() -> None:
    counts = Counts(
        lookups=Counter({Verdict.HIT: 1, Verdict.MISS: 2, Verdict.SHARED: 3, Verdict.BYPASS: 4, Verdict.FAILED: 5}),
        fills=Counter({FillResult.STORED: 6, FillResult.TOO_LARGE: 60}),
        semantic=Counter({SemanticResult.HIT: 7, SemanticResult.SHED: 8, SemanticResult.AUDIT: 9}),
        reported=10,
    )
    sent = figures_to_proto(Figures(counts, entries=12, standing=Standing(0.75, Estimate(0.25, 0.5, 13))))
    assert {field.name: value for field, value in sent.ListFields()} == {
        "lookups": 11,
        "hits": 1,
        "shared": 3,
        "bypassed": 4,
        "fills": 6,
        "semantic_hits": 7,
        "semantic_shed": 8,
        "audited": 9,
        "reported": 10,
        "entries": 12,
        "labels": 13,
        "estimated_wrong_share": 0.25,
        "wrong_share_upper_bound": 0.5,
        "calibrated_threshold": 0.75,
    }
