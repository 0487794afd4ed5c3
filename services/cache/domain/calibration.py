"""How near is near enough: the lowest score from which on, as far as labels prove, few enough of the hits are wrong.

A label is a question's score beside the stored answer that it would get, were that near enough, and whether its own
answer differs. Hits give none, but for a share that is audited: answered anew. Misses all give one. So, below the
threshold, a question is labelled 33 times as often as above it, and its label counts for so much less: then those from
any score upwards are a fair sample of the hits that it would have as a threshold. Which score it is does not matter.

The proof for one threshold is a mixture of likelihood ratios against "as many as the bound are wrong, or more": a
martingale, so that it may be looked at after each label (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon, "Time-
uniform, nonparametric, nonasymptotic confidence sequences", Ann. Statist. 49, 2021). With a ratio to the power of a
weight of at most 1 it is a supermartingale, by Jensen, and what it bounds is the weighted mean. Thresholds are tried
from a start downwards, until the first that is not proven: in such an order many cost no more than one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

# The share of would-be semantic hits that is answered anew.
AUDIT_SHARE = 0.03
# No score is this high.
NOTHING_IS_NEAR = 2.0
# Of scores; a threshold is so many hundredths.
STEPS = 100
_LOWEST_STEP = 60
# In how many cases of 100 a threshold may be wrong although it was proven.
_DOUBT = 0.05
_MIXED = 30
# Of an upper bound.
_PRECISION = 1e-4


class Measure(StrEnum):
    """What a score is. Labels of one say nothing of another."""

    COSINE = "cosine"
    # The answer's share of the votes of the questions nearby.
    VOTES = "votes"


class Sampling(StrEnum):
    """Which questions had a label as probably as this one."""

    # All of those that are nearer too: an audited one, and any miss while nothing is near enough.
    EVEN = "even"
    # A miss below the threshold. Of those above it only the audited have one.
    BELOW = "below"


_WEIGHTS = {Sampling.EVEN: 1.0, Sampling.BELOW: AUDIT_SHARE}


class Label(NamedTuple):
    """What is counted: a score in hundredths, rounded down, and whether the answers differed."""

    sampling: Sampling
    step: int
    wrong: bool


Tally = Mapping[Label, int]


@dataclass(frozen=True, slots=True)
class Learnt:
    """An organisation's labels, and the threshold that was proven last."""

    tally: Tally
    proven: float = NOTHING_IS_NEAR


@dataclass(frozen=True, slots=True)
class Start:
    """Where thresholds begin to be tried: from which step, after how many labels, with which part of the doubt."""

    step: int
    labels: int
    doubt: float


# As soon as a threshold is proven labels come 33 times as slowly: the higher start waits until the lower has had a
# chance.
_STARTS = (Start(80, 0, 0.8 * _DOUBT), Start(90, 1_000, 0.2 * _DOUBT))


@dataclass(frozen=True, slots=True)
class Estimate:
    """The share of wrong ones among hits: at best guess, and at most; and how many labels say so."""

    wrong_share: float
    upper_bound: float
    labels: int


# What is known before the first label.
UNKNOWN = Estimate(0.0, 1.0, 0)


@dataclass(frozen=True, slots=True)
class _Sample:
    """All labels from a score upwards: by weight, and how many there are."""

    weight: float = 0.0
    wrong: float = 0.0
    labels: int = 0

    @property
    def wrong_share(self) -> float:
        # Sums of weights are rounded.
        return min(1.0, self.wrong / self.weight)


def label(score: float, *, wrong: bool, threshold: float) -> Label | None:
    """Of a question that was answered anew; None for one so far off that no threshold is there."""
    # A cosine of two floats of 32 bits may be a little above 1.
    step = min(STEPS, math.floor(score * STEPS + 1e-9))
    if step < _LOWEST_STEP:
        return None
    below = score < threshold <= 1
    return Label(Sampling.BELOW if below else Sampling.EVEN, step, wrong)


class Calibration:
    """`wrong_share` is the most of an organisation's hits that may be wrong.

    The verifier takes `false_equal` of the answers that differ for the same: so many more may be wrong than it says.
    """

    def __init__(self, *, wrong_share: float, false_equal: float) -> None:
        self.wrong_share = wrong_share
        self._missed = 1 - false_equal
        self._bound = wrong_share * self._missed

    def threshold(self, learnt: Learnt) -> float:
        """The lowest score that is proven. One that was proven before stays while labels speak for it at all."""
        samples = _samples(learnt.tally)
        lowest = [step for start in _STARTS for step in self._proven(samples, start, learnt.proven)]
        return min(lowest) / STEPS if lowest else NOTHING_IS_NEAR

    def estimate(self, tally: Tally, *, threshold: float) -> Estimate:
        """Of the hits at a threshold; where nothing is near enough yet, of those at the first that could be."""
        step = round(threshold * STEPS) if threshold <= 1 else _STARTS[0].step
        sample = _samples(tally).get(max(step, _LOWEST_STEP), _Sample())
        if not sample.labels:
            return UNKNOWN
        share, bound = sample.wrong_share / self._missed, _upper_bound(sample) / self._missed
        return Estimate(min(1.0, share), min(1.0, bound), sample.labels)

    def _proven(self, samples: Mapping[int, _Sample], start: Start, proven: float) -> Iterator[int]:
        if samples[_STARTS[0].step].labels < start.labels:
            return
        for step in range(start.step, _LOWEST_STEP - 1, -1):
            needed = 0.0 if step / STEPS >= proven else -math.log(start.doubt)
            if _log_evidence(samples[step], self._bound) < needed:
                return
            yield step


def _samples(tally: Tally) -> dict[int, _Sample]:
    """For each step all labels from there upwards."""
    samples: dict[int, _Sample] = {}
    weight, wrong, labels = 0.0, 0.0, 0
    for step in range(STEPS, _LOWEST_STEP - 1, -1):
        for sampling, each in _WEIGHTS.items():
            wrong_ones = tally.get(Label(sampling, step, wrong=True), 0)
            both = wrong_ones + tally.get(Label(sampling, step, wrong=False), 0)
            weight, wrong, labels = weight + each * both, wrong + each * wrong_ones, labels + both
        samples[step] = _Sample(weight, wrong, labels)
    return samples


def _log_evidence(sample: _Sample, bound: float) -> float:
    """The logarithm of the mixture; below 0 the labels speak for a share above the bound, or there are none.

    That it ever exceeds log(1 / d) has a probability of at most d where the share is the bound or more.
    """
    if not sample.labels:
        return -math.inf
    right = sample.weight - sample.wrong
    logs = []
    for number in range(1, _MIXED + 1):
        share = bound * number / (_MIXED + 1)
        logs.append(sample.wrong * math.log(share / bound) + right * math.log((1 - share) / (1 - bound)))
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs) / _MIXED)


def _upper_bound(sample: _Sample) -> float:
    """The least share that the labels disprove."""
    low, high = sample.wrong_share, 1.0
    while high - low > _PRECISION:
        middle = (low + high) / 2
        if _log_evidence(sample, middle) < -math.log(_DOUBT):
            low = middle
        else:
            high = middle
    return high
