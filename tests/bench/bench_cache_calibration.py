"""A cold cache that learns its threshold: how many hits it has and how many of them are wrong, beside fixed thresholds.

The questions are CLINC150's: those of one intent share an answer, those out of scope share none. So an oracle says
which hits are wrong and makes the labels; what the verifier gets wrong is measured on pairs of texts, beside it.
"""

from __future__ import annotations

import gzip
import hashlib
import random
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np

from libs.background import Background
from libs.testing.clock import ManualClock
from libs.testing.labels import InMemoryLabels
from services.cache.adapters.faiss_index import FaissIndex
from services.cache.domain.calibration import NOTHING_IS_NEAR, Calibration, Label, Learnt, label
from services.cache.domain.key import AnswerKey, last_user_text
from services.cache.domain.lexical_guard.guard import objection
from services.cache.domain.ports import Encoder, IndexEntry, LexicalGuard
from services.cache.domain.thresholds import LearntThresholds
from services.cache.domain.verifier import SameAnswer
from tests.bench.measure import Table
from tests.contract.encoders import onnx_encoder
from tests.unit.cache import fow

_QUESTIONS = Path("tests/data/semantic-cache/clinc150.tsv.gz")
_OUT_OF_SCOPE = "oos"
_WRONG_SHARE = 0.05
# Labels are read every five seconds: so often, at five requests a second.
_BETWEEN_LOOKS = 25
# Of the streams, those that the fixed thresholds get.
_FIXED_STREAMS = 3
_PARTITION = bytes(32)


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

    def learn(self, similarity: float, *, wrong: bool) -> None:
        made = label(similarity, wrong=wrong, threshold=self.threshold)
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


async def bench(*, quick: bool) -> Sequence[Table]:
    requests, seeds = (1_500, 2) if quick else (10_000, 12)
    with onnx_encoder() as encoder:
        verifier = await _verifier(encoder)
        questions = await _questions(encoder, most=2 * requests if quick else None)
    streams = [random.Random(seed).sample(questions, requests) for seed in range(seeds)]
    rows = [
        _row("calibrated, ≤ 5 % wrong", streams, Calibrated, targets=("≥ 45", "≤ 5")),
        _row("the same without guard", streams, Calibrated, guard=lambda asked, stored: None),
    ]
    rows += [_row(f"fixed at {at:.2f}", streams[:_FIXED_STREAMS], partial(Fixed, at)) for at in (0.95, 0.90)]
    columns = ("", "streams", "hits %", "target", "least", "wrong of hits %", "target", "most", "above 5 %", "cosine")
    notes = ("labels by intent: an oracle; each stream begins with an empty cache and no label; cosine: at the end",)
    title = f"{requests:,} of CLINC150's questions, each once"
    return Table(title, columns, tuple(rows), notes), verifier


def _row(
    name: str,
    streams: Sequence[list[Asked]],
    threshold: Callable[[], Calibrated],
    *,
    guard: LexicalGuard = objection,
    targets: tuple[str, str] = ("", ""),
) -> tuple[str, ...]:
    runs = [_run(stream, threshold(), guard) for stream in streams]
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


def _run(stream: Sequence[Asked], demanded: Calibrated, guard: LexicalGuard) -> Run:
    """Hits, audits and misses as the semantic tier has them; what is answered anew is stored."""
    clock = ManualClock()
    index = FaissIndex(dimensions=len(stream[0].vector) // 4, max_entries=len(stream), clock=clock)
    audits = LearntThresholds(
        labels=InMemoryLabels(), policies={}, background=Background(drain_seconds=0), clock=clock
    ).audits
    stored: dict[AnswerKey, Asked] = {}
    hits = wrong = 0
    for asked in stream:
        nearest = index.nearest("acme", _PARTITION, asked.vector, limit=1)
        found = stored[nearest[0].key] if nearest else None
        if found is not None and guard(asked.text, found.text) is None:
            similarity, is_wrong = nearest[0].similarity, not asked.shares_its_answer_with(found)
            if similarity >= demanded.threshold and not audits(asked.key):
                hits, wrong = hits + 1, wrong + is_wrong
                demanded.look()
                continue
            demanded.learn(similarity, wrong=is_wrong)
        stored[asked.key] = asked
        halved = np.array(array("f", asked.vector), "<f2").tobytes()
        index.put(IndexEntry(asked.key, _PARTITION, halved, clock.now() + 3_600))
        demanded.look()
    return Run(100 * hits / len(stream), 100 * wrong / max(1, hits), demanded.threshold)


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
