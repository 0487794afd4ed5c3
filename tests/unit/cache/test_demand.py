"""What is demanded of an answer, by cosine, by votes, or by both."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from services.cache.domain.calibration import Measure
from services.cache.domain.demand import Demand
from services.cache.domain.lexical_guard.guard import CONTRADICTIONS, Objection

BALANCED, CALIBRATED, BOTH = Demand(0.9), Demand(votes=0.7), Demand(0.95, 0.7)


@dataclass(frozen=True, slots=True)
class Scored:
    similarity: float = 1.0
    votes: float = 1.0
    objection: str | None = None


@pytest.mark.parametrize(
    ("demand", "measure", "threshold", "score"),
    [
        (BALANCED, Measure.COSINE, 0.9, 0.92),
        (CALIBRATED, Measure.VOTES, 0.7, 0.6),
        (BOTH, Measure.VOTES, 0.7, 0.6),
    ],
)
def test_labels_are_of_the_votes_wherever_they_count(
    demand: Demand, measure: Measure, threshold: float, score: float
) -> None:
    assert (demand.measure, demand.threshold) == (measure, threshold)
    assert demand.score(Scored(0.92, 0.6)) == score


@pytest.mark.parametrize(
    ("demand", "similarity", "votes", "met", "could_be"),
    [
        (BALANCED, 0.9, 0.1, True, True),
        (BALANCED, 0.89, 1, False, True),
        (CALIBRATED, 0.1, 0.7, True, True),
        (CALIBRATED, 1, 0.69, False, True),
        (BOTH, 0.95, 0.7, True, True),
        (BOTH, 0.95, 0.69, False, True),
        # Below the cosine it is no hit whatever share is learnt: a label of it would be about nothing.
        (BOTH, 0.94, 1, False, False),
    ],
)
def test_what_is_demanded_must_be_met_and_labels_are_of_what_could_meet_it(
    demand: Demand, similarity: float, votes: float, met: bool, could_be: bool
) -> None:
    scored = Scored(similarity, votes)
    assert (demand.met(scored), demand.learns_from(scored)) == (met, could_be)


def test_where_a_cosine_is_demanded_each_objection_is_a_veto_and_by_votes_alone_a_contradiction() -> None:
    for demand, vetoes in ((BALANCED, set(Objection)), (BOTH, set(Objection)), (CALIBRATED, CONTRADICTIONS)):
        assert {each for each in Objection if demand.vetoes(each)} == vetoes
        assert not demand.vetoes(None)


def test_where_a_cosine_is_demanded_the_nearest_alone_is_considered() -> None:
    assert (BALANCED.considered, BOTH.considered) == (1, 1)
    assert CALIBRATED.considered > 1


def test_a_contradiction_is_told_before_what_else_there_is() -> None:
    first = list(Objection)[: len(CONTRADICTIONS)]
    assert set(first) == CONTRADICTIONS
