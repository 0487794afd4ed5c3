"""The threshold is the lowest that labels prove, and what they prove holds however often one looks."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cache.domain.calibration import (
    AUDIT_SHARE,
    NOTHING_IS_NEAR,
    UNKNOWN,
    Calibration,
    Label,
    Learnt,
    Sampling,
    label,
)

WRONG_SHARE, DOUBT = 0.05, 0.05
STRICT = Calibration(wrong_share=WRONG_SHARE, false_equal=0)
# Of 200 runs, so many may go wrong by chance although each does so with a probability of 5 % at most: in 99 of 100.
MOST_OF_200 = 18


def tally(*counts: tuple[float, int, int], sampling: Sampling = Sampling.EVEN) -> Counter[Label]:
    """Of (cosine, right, wrong)."""
    counted: Counter[Label] = Counter()
    for cosine, right, wrong in counts:
        counted[Label(sampling, round(cosine * 100), wrong=False)] += right
        counted[Label(sampling, round(cosine * 100), wrong=True)] += wrong
    return counted


def test_before_the_first_label_nothing_is_near_enough() -> None:
    assert STRICT.threshold(Learnt({})) == NOTHING_IS_NEAR
    assert STRICT.estimate({}, threshold=NOTHING_IS_NEAR) == UNKNOWN


def test_a_label_is_a_cosine_rounded_down_and_how_likely_it_was_to_be_made() -> None:
    assert label(0.8399, wrong=True, threshold=0.9) == Label(Sampling.BELOW, 83, wrong=True)
    assert label(0.93, wrong=False, threshold=0.9) == Label(Sampling.EVEN, 93, wrong=False)
    assert label(0.83, wrong=False, threshold=NOTHING_IS_NEAR) == Label(Sampling.EVEN, 83, wrong=False)
    assert label(1.0001, wrong=False, threshold=0.9) == Label(Sampling.EVEN, 100, wrong=False)
    assert label(0.59, wrong=True, threshold=0.9) is None


def test_the_threshold_is_the_lowest_that_is_proven() -> None:
    learnt = Learnt(tally((0.9, 300, 0), (0.8, 200, 1), (0.78, 200, 2), (0.75, 100, 60)))
    assert STRICT.threshold(learnt) == 0.76


def test_no_threshold_is_proven_below_one_that_is_not() -> None:
    assert STRICT.threshold(Learnt(tally((0.9, 50, 50), (0.7, 100_000, 0)))) == NOTHING_IS_NEAR


def test_where_the_usual_start_is_too_low_a_higher_one_is_tried_once_there_are_labels() -> None:
    few, many = [tally((0.92, each, 0), (0.82, each // 2, each // 2)) for each in (400, 1_000)]
    assert STRICT.threshold(Learnt(few)) == NOTHING_IS_NEAR
    assert 0.8 < STRICT.threshold(Learnt(many)) <= 0.9


def test_what_was_proven_stays_until_labels_speak_against_it() -> None:
    middling, bad = [tally((0.85, 100 - wrong, wrong)) for wrong in (3, 9)]
    assert STRICT.threshold(Learnt(middling)) == NOTHING_IS_NEAR
    assert STRICT.threshold(Learnt(middling, proven=0.8)) == 0.8
    assert STRICT.threshold(Learnt(bad, proven=0.8)) == NOTHING_IS_NEAR


def test_what_the_verifier_takes_for_the_same_makes_the_bound_stricter() -> None:
    learnt = Learnt(tally((0.85, 970, 30)))
    assert STRICT.threshold(learnt) == 0.6
    assert Calibration(wrong_share=WRONG_SHARE, false_equal=0.4).threshold(learnt) == NOTHING_IS_NEAR
    widened = Calibration(wrong_share=WRONG_SHARE, false_equal=0.5).estimate(learnt.tally, threshold=0.8)
    plain = STRICT.estimate(learnt.tally, threshold=0.8)
    assert widened.wrong_share == pytest.approx(0.06)
    assert widened.upper_bound == pytest.approx(2 * plain.upper_bound)


def test_what_is_estimated_are_the_hits_from_the_threshold_on() -> None:
    counted = tally((0.95, 99, 1), (0.85, 50, 50))
    assert STRICT.estimate(counted, threshold=0.9).wrong_share == pytest.approx(0.01)
    assert STRICT.estimate(counted, threshold=NOTHING_IS_NEAR).wrong_share == pytest.approx(51 / 200)
    estimate = STRICT.estimate(counted, threshold=0.9)
    assert estimate.wrong_share < estimate.upper_bound < 0.12
    assert estimate.labels == 100


@pytest.mark.parametrize("sampling", Sampling)
def test_where_all_labels_are_wrong_so_may_be_all_hits(sampling: Sampling) -> None:
    for labels in (1, 7, 1_000):
        counted = tally((0.95, 0, labels), (0.85, 0, labels), sampling=sampling)
        estimate = STRICT.estimate(counted, threshold=0.6)
        assert (estimate.wrong_share, estimate.upper_bound, estimate.labels) == (1, 1, 2 * labels)
        assert STRICT.threshold(Learnt(counted)) == NOTHING_IS_NEAR


@given(
    st.dictionaries(
        st.builds(Label, st.sampled_from(Sampling), st.integers(60, 100), st.booleans()), st.integers(1, 1_000_000)
    ),
    st.floats(0.6, 1) | st.just(NOTHING_IS_NEAR),
)
def test_whatever_was_counted_there_is_a_threshold_and_a_bound_above_the_estimate(
    counted: dict[Label, int], proven: float
) -> None:
    threshold = STRICT.threshold(Learnt(counted, proven))
    estimate = STRICT.estimate(counted, threshold=threshold)
    assert 0.6 <= threshold <= NOTHING_IS_NEAR
    assert 0 <= estimate.wrong_share <= estimate.upper_bound <= 1


def test_a_label_from_below_the_threshold_weighs_as_little_as_it_is_often() -> None:
    counted = tally((0.9, 300, 3)) + tally((0.7, 5_000, 5_000), sampling=Sampling.BELOW)
    estimate = STRICT.estimate(counted, threshold=0.6)
    assert estimate.wrong_share == pytest.approx((3 + AUDIT_SHARE * 5_000) / (303 + AUDIT_SHARE * 10_000))


def chances(seed: int, share: float, *, labels: int) -> Iterator[Counter[Label]]:
    """A tally after every tenth label of a stream of which that share is wrong."""
    chance, counted = random.Random(seed), tally()
    for number in range(labels):
        counted[Label(Sampling.EVEN, 80, wrong=chance.random() < share)] += 1
        if number % 10 == 9:
            yield counted


def proven(counted: Counter[Label]) -> bool:
    return STRICT.threshold(Learnt(counted)) <= 0.8


def proven_by_one_look(counted: Counter[Label]) -> bool:
    """Clopper and Pearson's interval, which holds for a number of labels that was fixed before."""
    wrong, labels = counted[Label(Sampling.EVEN, 80, wrong=True)], counted.total()
    at_most = sum(
        math.exp(
            math.lgamma(labels + 1) - math.lgamma(each + 1) - math.lgamma(labels - each + 1)
            + each * math.log(WRONG_SHARE) + (labels - each) * math.log(1 - WRONG_SHARE)
        )
        for each in range(wrong + 1)
    )  # fmt: skip
    return at_most <= DOUBT


def broken(proves: Callable[[Counter[Label]], bool], share: float) -> int:
    """In how many of 200 streams something is proven at some look."""
    return sum(any(proves(each) for each in chances(seed, share, labels=1_500)) for seed in range(200))


def test_a_share_that_is_just_too_high_is_hardly_ever_proven_low_enough_at_any_of_150_looks() -> None:
    assert broken(proven, WRONG_SHARE) <= MOST_OF_200


def test_an_interval_for_one_look_does_not_hold_at_150_of_them() -> None:
    assert broken(proven_by_one_look, WRONG_SHARE) > 2 * MOST_OF_200


def test_a_share_that_is_low_enough_is_proven_soon() -> None:
    assert broken(proven, WRONG_SHARE / 5) >= 190


@pytest.mark.parametrize("balanced", [False, True])
def test_a_threshold_that_lets_too_much_through_is_hardly_ever_chosen_however_hits_hide_their_labels(
    balanced: bool,
) -> None:
    assert sum(lets_too_much_through(seed, balanced=balanced) for seed in range(200)) <= MOST_OF_200


def lets_too_much_through(seed: int, *, balanced: bool) -> bool:
    """From 0.90 on none is wrong, below it one of ten: from 0.80 on as many as may be. Cosines are spread evenly.

    The threshold at work, which decides what is labelled, is the one that labels prove, or else the balanced tier's.
    """
    chance, counted, proven = random.Random(seed), tally(), NOTHING_IS_NEAR
    for number in range(12_000 if balanced else 4_000):
        cosine, threshold = chance.uniform(0.75, 1), 0.9 if balanced else proven
        wrong = cosine < 0.9 and chance.random() < 0.1
        if cosine < threshold or chance.random() < AUDIT_SHARE:
            made = label(cosine, wrong=wrong, threshold=threshold)
            counted.update([made] if made else [])
        if number % 100 == 99:
            proven = STRICT.threshold(Learnt(counted, proven=proven))
            if proven <= 0.8:
                return True
    return False
