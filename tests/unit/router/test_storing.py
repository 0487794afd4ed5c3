"""What a request keeps of its answer for the cache, and how it sends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from libs.background import Background
from libs.money import Usage
from libs.rpc.delta import ProtoDelta
from services.router.domain.answer import Delta, FinishReason
from services.router.domain.ports import AnswerEnd, AnswerFailed, Cache, CachePolicy, CacheQuestion
from services.router.domain.storing import Storing
from tests.unit.router.asks import PRINCIPAL, TIERS, ask
from tokenway.common.v1 import generation_pb2

MODEL = TIERS[0]


@dataclass
class FillingCache:
    """Whose fills break off after the first piece, as those of a replica that is killed; but for the last."""

    broken: int
    fills: list[tuple[str, list[Any]]] = field(default_factory=list)

    async def fill(
        self,
        question: CacheQuestion,
        answer: AsyncGenerator[Sequence[Delta] | AnswerEnd | AnswerFailed],
        *,
        request_id: str,
        lead_token: str,
        as_of: int,
        live: bool,
    ) -> None:
        come: list[Any] = []
        self.fills.append((lead_token, come))
        async for each in answer:
            come.append(each)
            if len(self.fills) <= self.broken:
                return


def storing_in(cache: FillingCache, background: Background, *, max_tokens: int = 16) -> Storing:
    """Of an answer that is kept up to 100 tokens."""
    question = CacheQuestion(ask(max_tokens=max_tokens), MODEL, PRINCIPAL, CachePolicy())
    return Storing(cache=cast(Cache, cache), background=background, question=question, max_tokens=100)


def piece(text: str) -> ProtoDelta:
    return ProtoDelta.of(generation_pb2.Delta(text=[text], token_counts=[1]))


async def test_what_has_broken_off_for_followers_is_stored_without_being_sent_to_them_again() -> None:
    """Those who have some of it would take the end of the second for that of the first."""
    cache = FillingCache(broken=1)
    async with Background(drain_seconds=1) as background:
        storing = storing_in(cache, background)
        storing.lead("token", request_id="req-1")
        storing.begin(MODEL)
        storing.add(first := piece("a"))
        storing.share()
        assert storing._filling is not None
        await storing._filling
        storing.add(second := piece("b"))
        stored = storing.finish("req-1", Usage(output_tokens=2), FinishReason.STOP, guarded=False)
        assert stored is not None
        await stored
    end = AnswerEnd(FinishReason.STOP, Usage(output_tokens=2))
    assert cache.fills == [("token", [[first]]), ("", [[first, second], end])]
    assert not storing.leads, "nobody waits for the cache to end a look-up of which it does not know"


async def test_a_failure_is_told_to_those_who_follow_also_before_the_first_token_and_to_nobody_else() -> None:
    cache = FillingCache(broken=0)
    async with Background(drain_seconds=1) as background:
        for followed in (False, True):
            storing = storing_in(cache, background)
            storing.lead("token", request_id="req-1")
            if followed:
                storing.share()
            telling = storing.fail()
            storing.close()
            assert (telling is not None) is followed
    assert cache.fills == [("token", [AnswerFailed()])]


async def test_after_an_answer_that_the_guard_ends_followers_go_on_alone() -> None:
    cache = FillingCache(broken=0)
    async with Background(drain_seconds=1) as background:
        storing = storing_in(cache, background)
        storing.lead("token", request_id="req-1")
        storing.share()
        storing.begin(MODEL)
        storing.add(first := piece("a"))
        told = storing.finish("req-1", Usage(output_tokens=1), FinishReason.CONTENT_FILTER, guarded=True)
        assert told is not None
        storing.close()
    assert cache.fills == [("token", [[first], AnswerFailed()])]


@pytest.mark.parametrize(("max_tokens", "may"), [(100, True), (101, False)])
async def test_nobody_may_follow_an_answer_that_may_outgrow_what_is_kept(max_tokens: int, may: bool) -> None:
    """Those who come late could not be told its beginning."""
    async with Background(drain_seconds=1) as background:
        storing = storing_in(FillingCache(broken=0), background, max_tokens=max_tokens)
    assert storing.single_flight is may


@pytest.mark.parametrize("reason", [FinishReason.BUDGET, FinishReason.BUDGET_UNAVAILABLE])
async def test_an_answer_that_its_own_budget_ends_breaks_off_for_those_who_follow(reason: FinishReason) -> None:
    """To them it is no end: one of them takes the lead."""
    cache = FillingCache(broken=0)
    async with Background(drain_seconds=1) as background:
        storing = storing_in(cache, background)
        storing.lead("token", request_id="req-1")
        storing.share()
        storing.begin(MODEL)
        storing.add(first := piece("a"))
        await asyncio.sleep(0)
        told = storing.finish("req-1", Usage(output_tokens=1), reason, guarded=False)
        assert told is not None
        await told
    assert cache.fills == [("token", [[first]])]


async def test_those_who_follow_are_sent_on_alone_when_another_model_answers() -> None:
    cache = FillingCache(broken=0)
    async with Background(drain_seconds=1) as background:
        storing = storing_in(cache, background)
        storing.lead("token", request_id="req-1")
        storing.share()
        storing.begin(TIERS[1])
        parting = storing.ending
        storing.add(first := piece("a"))
        stored = storing.finish("req-1", usage := Usage(output_tokens=1), FinishReason.STOP, guarded=False)
        assert parting is not None
        assert stored is not None
    end = AnswerEnd(FinishReason.STOP, usage)
    assert cache.fills == [("token", [AnswerFailed()]), ("", [[first], end])], "what is stored ends nobody's look-up"
