"""How far the semantic tier may go for one request."""

from __future__ import annotations

import itertools

import pytest

from libs.errors import TokenwayError
from services.router.domain.ask import CacheTier
from services.router.domain.ports import CachePolicy, CacheQuestion
from services.router.transport.question import ask_from_proto
from tests.unit.router.asks import PRINCIPAL, TIERS, ask
from tests.unit.router.guards.watching import asked, guard
from tokenway.router.v1 import router_pb2 as pb


def request(tier: int) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt="hello", cache=pb.CacheControl(tier=tier))  # type: ignore[arg-type] # any number


@pytest.mark.parametrize(("policy", "asks"), list(itertools.product(CacheTier, repeat=2)))
def test_a_request_may_be_stricter_than_its_organisation_and_never_looser(policy: CacheTier, asks: CacheTier) -> None:
    question = CacheQuestion(ask(cache_tier=asks), TIERS[0], PRINCIPAL, CachePolicy(tier=policy))
    assert question.tier <= policy
    assert question.tier <= asks
    assert question.tier in (policy, asks)


def test_the_tiers_are_those_of_the_proto() -> None:
    assert {f"TIER_{each.name}": each.value for each in CacheTier} | {"TIER_UNSPECIFIED": 0} == dict(
        pb.CacheControl.Tier.items()
    )


@pytest.mark.parametrize("tier", CacheTier)
def test_what_a_request_asks_for_is_read(tier: CacheTier) -> None:
    assert ask_from_proto(request(tier), max_prompt_bytes=1_000).cache_tier is tier


def test_a_request_that_says_nothing_leaves_it_to_the_organisation() -> None:
    given = ask_from_proto(pb.GenerateRequest(prompt="hello"), max_prompt_bytes=1_000)
    for policy in CacheTier:
        assert CacheQuestion(given, TIERS[0], PRINCIPAL, CachePolicy(tier=policy)).tier is policy


def test_a_tier_that_is_none_is_refused_at_its_field() -> None:
    with pytest.raises(TokenwayError) as caught:
        ask_from_proto(request(9), max_prompt_bytes=1_000)
    assert [each.field for each in caught.value.fields] == ["request.cache.tier"]


async def test_a_question_in_which_a_guard_found_something_is_looked_up_by_itself_alone() -> None:
    found = await guard().question(asked("Mail ann@example.com about the bill"))
    clean = await guard().question(asked("Mail Ann about the bill"))
    assert (found.ask.cache_tier, clean.ask.cache_tier) == (CacheTier.EXACT, CacheTier.CALIBRATED)
