"""The tier as it comes in a message."""

from __future__ import annotations

import pytest

from services.cache.domain.model import Tier
from services.cache.transport.convert import tier_of
from tokenway.cache.v1 import cache_pb2 as pb
from tokenway.router.v1 import router_pb2


def test_the_tiers_are_those_of_the_public_api() -> None:
    assert {f"TIER_{each.name}": each.value for each in Tier} | {"TIER_UNSPECIFIED": 0} == dict(
        router_pb2.CacheControl.Tier.items()
    )


@pytest.mark.parametrize(
    ("number", "tier"),
    [(0, Tier.EXACT), (1, Tier.EXACT), (2, Tier.STRICT), (3, Tier.BALANCED), (4, Tier.CALIBRATED), (5, Tier.EXACT)],
)
def test_what_is_not_said_or_not_known_is_exact(number: int, tier: Tier) -> None:
    for message in (pb.LookupRequest(tier=number), pb.ExplainRequest(tier=number), pb.FillHeader(tier=number)):
        assert tier_of(message) is tier
