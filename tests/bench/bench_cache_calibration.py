"""A cold cache that learns what is enough: how many hits it has and how many are wrong, beside fixed thresholds and
beside what could be had at all.

The questions are CLINC150's: those of one intent share an answer, those out of scope share none. So an oracle says
which hits are wrong, makes the labels and finds the families; what the verifier gets wrong is measured on pairs of
texts, beside it.
"""

from __future__ import annotations

import gzip
import hashlib
import random
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean

import numpy as np

from libs.background import Background
from libs.testing.clock import ManualClock
from libs.testing.labels import InMemoryLabels
from services.cache.adapters.faiss_index import FaissIndex
from services.cache.domain.calibration import NOTHING_IS_NEAR, Calibration, Label, Learnt, label
from services.cache.domain.demand import Demand
from services.cache.domain.key import AnswerKey, last_user_text
from services.cache.domain.lexical_guard.guard import objection
from services.cache.domain.ports import Encoder, IndexEntry, LexicalGuard
from services.cache.domain.thresholds import LearntThresholds
from services.cache.domain.verifier import SameAnswer
from services.cache.domain.votes import NEIGHBOURS, shares
from tests.bench.measure import Table
from tests.contract.encoders import onnx_encoder
from tests.unit.cache import fow

_QUESTIONS = Path("tests/data/semantic-cache/clinc150.tsv.gz")
_OUT_OF_SCOPE = "oos"
_WRONG_SHARE = 0.05
# Labels are read every five seconds: so often, at five requests a second.
_BETWEEN_LOOKS = 25
# Of the streams, those that all but the calibrated tier get.
_FEW_STREAMS = 3
# Of the search for the threshold that lets exactly as many be wrong as may be.
_HALVINGS, _LEAST_SCORE = 6, 0.3
# What Labelling compares a fresh answer with.
_COMPARED = 4
_PARTITION = bytes(32)
_BY_VOTES, _BY_COSINE = Demand(votes=NOTHING_IS_NEAR), Demand(NOTHING_IS_NEAR)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, its embedding, and what it is after."""

    text: str
    intent: str
    key: AnswerKey
    vector: bytes

    def shares_its_answer_with(self, other: Asked) -> bool:
        return self.intent == other.intent != _OUT_OF_SCOPE


@dataclass(frozen=True, slots=True)
class Nearby:
    """A stored question near another."""

    asked: Asked
    similarity: float
    votes: float
    family: bytes
    objection: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """Percentages: hits of requests, wrong ones of hits; and the threshold at the end."""

    hits: float
    wrong: float
    threshold: float


class Calibrated:
    """A threshold that learns from what misses and audits say."""

    def __init__(self) -> None:
        self.threshold = NOTHING_IS_NEAR
        self._calibration = Calibration(wrong_share=_WRONG_SHARE, false_equal=0)
        self._tally: Counter[Label] = Counter()
        self._requests = 0

    def learn(self, score: float, *, wrong: bool) -> None:
        made = label(score, wrong=wrong, threshold=self.threshold)
        self._tally.update([made] if made else [])

    def look(self) -> None:
        """After every request."""
        self._requests += 1
        if self._requests % _BETWEEN_LOOKS == 0:
            self.threshold = self._calibration.threshold(Learnt(self._tally, self.threshold))


class Fixed(Calibrated):
    """One that does not."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def look(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Way:
    """How an answer is chosen: what is demanded, the amount apart, and the guard."""

    demand: Demand
    guard: LexicalGuard


async def bench(*, quick: bool) -> Sequence[Table]:
    requests, seeds = (1_500, 2) if quick else (10_000, 12)
    with onnx_encoder() as encoder:
        verifier = await _verifier(encoder)
        questions = await _questions(encoder, most=2 * requests if quick else None)
    streams = [random.Random(seed).sample(questions, requests) for seed in range(seeds)]
    few, guard = streams[:_FEW_STREAMS], cache(objection)
    ways = {
        "by votes, a contradiction is a veto": Way(_BY_VOTES, guard),
        "by votes, without guard": Way(_BY_VOTES, _unguarded),
        "by cosine, any objection is a veto": Way(_BY_COSINE, guard),
        "by cosine, without guard": Way(_BY_COSINE, _unguarded),
    }
    [(name, calibrated), *others] = ways.items()
    rows = [_row(name, [_run(each, Calibrated(), calibrated) for each in streams], targets=("≥ 45", "≤ 5"))]
    rows += [_row(name, [_run(each, Calibrated(), way) for each in few]) for name, way in others]
    by_cosine = ways["by cosine, any objection is a veto"]
    rows += [
        _row(f"cosine fixed at {at:.2f}, the same", [_run(each, Fixed(at), by_cosine) for each in few])
        for at in (0.95, 0.90)
    ]
    rows += [_row(f"ceiling {name}", [_ceiling(few[0], way)]) for name, way in ways.items()]
    columns = ("", "streams", "hits %", "target", "least", "wrong of hits %", "target", "most", "above 5 %", "score")
    notes = (
        "labels by intent: an oracle; each stream begins with an empty cache and no label; score: at the end",
        "by votes, a contradiction is a veto: the calibrated tier; the other calibrated rows: for comparison",
        "ceiling: with the least threshold at which no more than 5 % are wrong, known from the first request on",
    )
    title = f"{requests:,} of CLINC150's questions, each once; ≤ 5 % wrong"
    return Table(title, columns, tuple(rows), notes), verifier


def _unguarded(asked: str, stored: str) -> None:
    """Objects to nothing."""


def _row(name: str, runs: Sequence[Run], *, targets: tuple[str, str] = ("", "")) -> tuple[str, ...]:
    hits, wrong = [each.hits for each in runs], [each.wrong for each in runs]
    above = sum(each > 100 * _WRONG_SHARE for each in wrong)
    return (
        *(name, str(len(runs)), f"{mean(hits):.1f}", targets[0], f"{min(hits):.1f}"),
        *(
            f"{mean(wrong):.2f}",
            targets[1],
            f"{max(wrong):.2f}",
            str(above),
            f"{mean(each.threshold for each in runs):.2f}",
        ),
    )


def _ceiling(stream: Sequence[Asked], way: Way) -> Run:
    """With the least threshold at which few enough are wrong; what an oracle would choose."""
    low, best = _LEAST_SCORE, Run(0, 0, 1)
    for _ in range(_HALVINGS):
        tried = _run(stream, Fixed((low + best.threshold) / 2), way)
        if tried.wrong <= 100 * _WRONG_SHARE:
            best = tried
        else:
            low = tried.threshold
    return best


def _run(stream: Sequence[Asked], demanded: Calibrated, way: Way) -> Run:
    """Hits, audits and misses as the semantic tier has them; what is answered anew is stored and finds its family."""
    tier = _Tier(way, dimensions=len(stream[0].vector) // 4, entries=len(stream))
    hits = wrong = 0
    for asked in stream:
        nearby = tier.nearby(asked)
        given = tier.given(nearby)
        if given is not None:
            score, is_wrong = way.demand.score(given), not asked.shares_its_answer_with(given.asked)
            if score >= demanded.threshold and not tier.audits(asked.key):
                hits, wrong = hits + 1, wrong + is_wrong
                demanded.look()
                continue
            demanded.learn(score, wrong=is_wrong)
        tier.store(asked, [given, *nearby] if given else nearby)
        demanded.look()
    return Run(100 * hits / len(stream), 100 * wrong / max(1, hits), demanded.threshold)


class _Tier:
    """The semantic tier and the labelling, without what has to be awaited."""

    def __init__(self, way: Way, *, dimensions: int, entries: int) -> None:
        self._way = way
        self._clock = ManualClock()
        self._index = FaissIndex(dimensions=dimensions, max_entries=entries, clock=self._clock)
        self._stored: dict[AnswerKey, Asked] = {}
        self.audits = LearntThresholds(
            labels=InMemoryLabels(), policies={}, background=Background(drain_seconds=0), clock=self._clock
        ).audits

    def nearby(self, asked: Asked) -> list[Nearby]:
        """Those that may be given or compared with."""
        near = self._index.nearest("acme", _PARTITION, asked.vector, limit=NEIGHBOURS)
        votes, found = shares(near), []
        for number, each in enumerate(near[:_COMPARED]):
            other = self._stored[each.key]
            judged = self._way.guard(asked.text, other.text) if number < self._way.demand.considered else None
            found.append(Nearby(other, each.similarity, votes[each.family], each.family, judged))
        return found

    def given(self, nearby: Sequence[Nearby]) -> Nearby | None:
        considered = nearby[: self._way.demand.considered]
        return next((each for each in considered if not self._way.demand.vetoes(each.objection)), None)

    def store(self, asked: Asked, nearby: Sequence[Nearby]) -> None:
        self._stored[asked.key] = asked
        halved = np.array(array("f", asked.vector), "<f2").tobytes()
        self._index.put(IndexEntry(asked.key, _PARTITION, halved, self._clock.now() + 3_600))
        # One a family: the first.
        families = {each.family: each for each in reversed(nearby)}
        first = (each for each in nearby if families[each.family] is each)
        if same := next((each for each in first if asked.shares_its_answer_with(each.asked)), None):
            self._index.join(asked.key, same.family)


async def _questions(encoder: Encoder, *, most: int | None) -> list[Asked]:
    """Those that have an embedding; with `most`, so many of them."""
    with gzip.open(_QUESTIONS, "rt", encoding="utf-8") as file:
        lines = file.read().splitlines()[1:]
    lines = random.Random(0).sample(lines, most) if most else lines
    return [each for each in [await _asked(encoder, line) for line in lines] if each.vector]


async def _asked(encoder: Encoder, line: str) -> Asked:
    _, intent, text = line.split("\t")
    key = AnswerKey("acme", hashlib.sha256(text.encode()).digest())
    return Asked(text, intent, key, (await encoder.embed(text)).vector)


async def _verifier(encoder: Encoder) -> Table:
    """There are no recorded answers to these pairs, so their questions stand for them: texts as like as can be."""
    verifier = SameAnswer(encoder=encoder, guard=objection)
    pairs = fow.pairs()
    same = [await verifier.same_text(last_user_text(each.stored), last_user_text(each.asked)) is True for each in pairs]
    labelled = list(zip(pairs, same, strict=True))
    differing, equal = [[taken for pair, taken in labelled if pair.same_answer is kind] for kind in (False, True)]
    widened = f"{100 * verifier.false_equal:.0f}"
    rows = (
        ("that differ", str(len(differing)), f"{100 * mean(differing):.1f}", widened),
        ("that say the same", str(len(equal)), f"{100 * mean(equal):.1f}", ""),
    )
    columns = ("", "pairs", "taken for the same %", "the bound reckons with %")
    return Table("The verifier on pairs of texts", columns, rows)
