"""The labelled questions, and whether the cache would serve one of a pair from the other."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from libs.generation.question import Conversation, Message, Role, Sampling, Text
from libs.generation.question import Question as Input
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from libs.testing.thresholds import FixedThresholds
from services.cache.adapters.faiss_index import FaissIndex
from services.cache.domain.fill import Fill
from services.cache.domain.key import exact_key, last_user_text
from services.cache.domain.lexical_guard.guard import objection
from services.cache.domain.meaning import Meanings
from services.cache.domain.model import Question, Tier
from services.cache.domain.ports import Encoder
from services.cache.domain.selection import Everything
from services.cache.domain.semantic import Semantic
from services.cache.domain.stats import FillResult, Stats
from tests.unit.cache.questions import STOP, asked, order, part, question, streamed

SHIPPED = Path("tests/data/semantic-cache")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two questions, and whether one answer serves both."""

    stored: Question
    asked: Question
    same_answer: bool


def pairs(folder: Path = SHIPPED) -> list[Pair]:
    """Of single questions."""
    rows = _rows(folder, "fow_pairs*.jsonl")
    return [Pair(question(asked(row["a"])), question(asked(row["b"])), row["same_answer"]) for row in rows]


def conversations(folder: Path = SHIPPED) -> list[Pair]:
    rows = _rows(folder, "fow_conv*.jsonl")
    return [Pair(_conversation(row["a"]), _conversation(row["b"]), row["same_answer"]) for row in rows]


def texts() -> list[str]:
    """Every question of the pairs."""
    return [last_user_text(each) for pair in pairs() for each in (pair.stored, pair.asked)]


class Judge:
    """The cache's own Fill and semantic tier, on a store in memory; its index is FAISS."""

    def __init__(self, encoder: Encoder) -> None:
        clock, stats, meanings = ManualClock(), Stats(), Meanings(encoder=encoder)
        index = FaissIndex(dimensions=encoder.dimensions, max_entries=1_000, clock=clock)
        self._answers = InMemoryAnswers(clock=clock, index=index)
        self.semantic = Semantic(
            answers=self._answers,
            index=index,
            meanings=meanings,
            guard=objection,
            thresholds=FixedThresholds(),
            clock=clock,
            stats=stats,
        )
        self._fill = Fill(
            answers=self._answers,
            clock=clock,
            stats=stats,
            chance=lambda: 0.5,
            max_answer_bytes=1_000,
            meanings=meanings,
        )

    async def store(self, asked: Question) -> None:
        """An answer to it."""
        as_of = await self._answers.as_of(asked.principal.organisation)
        given = replace(order(asked), tier=Tier.BALANCED, as_of=as_of)
        assert await self._fill.store(streamed(given, part("an answer"), STOP)) is FillResult.STORED

    async def nearness(self, pair: Pair) -> float:
        """The cosine at which the balanced tier serves the asked question the other's answer; -1 where it does not."""
        if exact_key(pair.asked) == exact_key(pair.stored):
            return 1.0
        await self.store(pair.stored)
        near = await self.semantic.near(pair.asked, Tier.BALANCED, limit=1)
        await self._answers.drop(pair.stored.principal.organisation, Everything())
        served = (each.similarity for each in near.candidates if not each.objection)
        return max((each for each in served if each >= near.demand.similarity), default=-1.0)


async def cosine(one: str, other: str, encoder: Encoder) -> float:
    """Of the embeddings alone; -1 where there are none."""
    vectors = [array("f", (await encoder.embed(each)).vector) for each in (one, other)]
    return sum(this * that for this, that in zip(*vectors, strict=True)) if all(vectors) else -1.0


@dataclass(frozen=True, slots=True)
class Served:
    """Percentages, and the counts behind them."""

    traps: float
    should_hits: float


def served(labelled: Sequence[Pair], cosines: Sequence[float], threshold: float) -> Served:
    """What a threshold makes of them."""

    def percent(same: bool) -> float:
        mine = [cosine for pair, cosine in zip(labelled, cosines, strict=True) if pair.same_answer is same]
        return 100 * sum(each >= threshold for each in mine) / max(1, len(mine))

    return Served(traps=percent(False), should_hits=percent(True))


def _rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Of the folder, or of the shipped one where that has none."""
    for path in sorted(folder.glob(name)) or sorted(SHIPPED.glob(name)):
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def _conversation(turns: list[dict[str, str]]) -> Question:
    messages = tuple(Message(Role(each["role"]), (Text(each["content"]),)) for each in turns)
    return question(Input(Conversation(messages), sampling=Sampling(temperature=0)))
