"""No answer reaches a question that differs from its own in one place, in either tier, however alike the two may seem.

Here all questions are the same to the encoder, near enough for the thresholds, and fine by the lexical guard: nothing
but key and partition keeps them apart.
"""

from __future__ import annotations

import asyncio
import os
from array import array
from collections import Counter

import pytest
from hypothesis import given, settings

from libs.errors import TokenwayError
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from libs.testing.thresholds import FixedThresholds
from services.cache.adapters.faiss_index import FaissIndex
from services.cache.domain.draft import FillOrder
from services.cache.domain.fill import Fill
from services.cache.domain.found import Found, Hit, Kind
from services.cache.domain.lookup import Lookup
from services.cache.domain.meaning import Meanings
from services.cache.domain.model import Question, Tier
from services.cache.domain.ports import Embedding
from services.cache.domain.semantic import Semantic
from services.cache.domain.stats import Stats
from services.cache.transport.convert import question_of
from tests.property.questions import CHANGES_NO_ANSWER, Change, changes, shared_questions
from tests.unit.cache.questions import STOP, part, streamed
from tokenway.cache.v1 import cache_pb2
from tokenway.common.v1 import generation_pb2

# `make test-isolation`: 100,000 pairs.
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
QUESTIONS, PAIRS = (4_500, 100_000) if LONG else (120, 2_000)
# Whose change still leaves the same asker, where only a part of the organisation shares answers.
SHARERS = {
    cache_pb2.CACHE_SCOPE_TEAM: "principal.team",
    cache_pb2.CACHE_SCOPE_USER: "principal.user",
    cache_pb2.CACHE_SCOPE_KEY: "principal.key_id",
}


class AllAlike:
    """An Encoder to which all texts are one."""

    fingerprint = "all alike"
    dimensions = 8

    async def embed(self, text: str) -> Embedding:
        return Embedding(array("f", [1, 0, 0, 0, 0, 0, 0, 0]).tobytes(), tokens=9)


class Cache:
    """Both tiers over one stored answer."""

    def __init__(self) -> None:
        clock, stats = ManualClock(), Stats()
        index = FaissIndex(dimensions=AllAlike.dimensions, max_entries=9, clock=clock)
        answers = InMemoryAnswers(clock=clock, index=index)
        meanings = Meanings(encoder=AllAlike())
        semantic = Semantic(
            answers=answers,
            index=index,
            meanings=meanings,
            guard=lambda asked, stored: None,
            thresholds=FixedThresholds(votes=1e-9),
            clock=clock,
            stats=stats,
        )
        self._lookup = Lookup(answers=answers, clock=clock, stats=stats, semantic=semantic, semantic_seconds=60)
        self._fill = Fill(
            answers=answers, clock=clock, stats=stats, chance=lambda: 0.5, max_answer_bytes=99, meanings=meanings
        )

    async def store(self, question: Question) -> None:
        order = FillOrder(question, request_id="r", ttl_seconds=60, tier=Tier.CALIBRATED)
        await self._fill.store(streamed(order, part("an answer"), STOP))

    async def found(self, question: Question) -> Kind | None:
        """Which tier had an answer."""
        events = [each async for each in self._lookup.events(question, tier=Tier.CALIBRATED)]
        verdicts = [each.verdict for each in events if isinstance(each, Found)]
        return verdicts[-1].kind if isinstance(verdicts[-1], Hit) else None


@pytest.mark.timeout(1_800 if LONG else 120)
def test_no_answer_is_found_from_a_question_that_differs_in_one_place() -> None:
    tried: Counter[Kind | None] = Counter()

    @settings(max_examples=QUESTIONS)
    @given(shared_questions())
    def try_all_changes(question: cache_pb2.Question) -> None:
        asyncio.run(try_changes_of(question, tried))

    try_all_changes()
    assert tried[None] >= PAIRS
    assert tried[Kind.SEMANTIC], "what was asked last may differ"
    assert tried[Kind.EXACT], "and who asks, of all who share"


async def try_changes_of(message: cache_pb2.Question, tried: Counter[Kind | None]) -> None:
    question = domain(message)
    if question is None:
        return
    cache = Cache()
    await cache.store(question)
    for change in changes(message):
        changed = domain(change.message)
        found = await cache.found(changed) if changed is not None else None
        tried[found] += 1
        if found is Kind.EXACT:
            assert leaves_the_asker(change, message), change.path
        elif found is Kind.SEMANTIC:
            assert is_of_the_last_words(change, message), change.path


def domain(message: cache_pb2.Question) -> Question | None:
    """As the service sees it; None for what it refuses."""
    request = cache_pb2.LookupRequest(question=message)
    try:
        return question_of(request)
    except TokenwayError:
        return None


def leaves_the_asker(change: Change, message: cache_pb2.Question) -> bool:
    """Whether it is of the same question still, and by one who shares its answers."""
    path = change.path.split(" ")[0]
    if path == "scope":
        return {message.scope, change.message.scope} == {
            cache_pb2.CACHE_SCOPE_UNSPECIFIED,
            cache_pb2.CACHE_SCOPE_ORGANISATION,
        }
    return path in CHANGES_NO_ANSWER and path != SHARERS.get(message.scope)


def is_of_the_last_words(change: Change, message: cache_pb2.Question) -> bool:
    """Whether it is within the text that the user said last."""
    if message.input.WhichOneof("input") == "prompt":
        return change.path == "input.prompt other"
    last = [i for i, each in enumerate(message.input.conversation.messages) if each.role == generation_pb2.ROLE_USER][
        -1
    ]
    return change.path.startswith(f"input.conversation.messages[{last}].parts")
