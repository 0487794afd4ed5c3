"""An answer's share of the votes of the questions nearby."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cache.domain.key import AnswerKey
from services.cache.domain.ports import Near
from services.cache.domain.votes import NEIGHBOURS, shares

VOTERS = st.lists(st.tuples(st.floats(-1, 1), st.sampled_from(b"abc")), max_size=NEIGHBOURS)


def voters(*voters: tuple[float, int]) -> list[Near]:
    """Of (cosine, family)."""
    return [Near(AnswerKey("acme", bytes(32)), cosine, bytes([family])) for cosine, family in voters]


def share(*near: tuple[float, int]) -> float:
    """Of the nearest's answer."""
    return shares(voters(*near))[bytes([near[0][1]])]


def test_who_is_near_and_alone_has_nearly_all_and_who_is_far_has_little() -> None:
    assert share((1, 1)) == pytest.approx(0.98, abs=0.01)
    assert share((0.6, 1)) == pytest.approx(0.5)
    assert share((0.3, 1)) < 0.05


def test_among_others_with_other_answers_the_nearest_has_less() -> None:
    assert share((0.9, 1), (0.9, 2)) < 0.5 < share((0.9, 1), (0.9, 1)) < share((0.9, 1), (0.9, 1), (0.9, 1))


def test_those_behind_the_last_that_votes_change_nothing() -> None:
    voting = [(0.8, number) for number in range(NEIGHBOURS)]
    assert shares(voters(*voting, (0.79, 0), (0.79, 99))) == shares(voters(*voting))


def test_where_nobody_is_near_nobody_has_a_share() -> None:
    assert shares([]) == {}


@given(VOTERS)
def test_all_shares_are_less_than_one_together(near: list[tuple[float, int]]) -> None:
    found = shares(voters(*near))
    assert all(0 < each < 1 for each in found.values())
    assert sum(found.values()) < 1


@given(VOTERS.filter(bool), st.floats(-1, 1))
def test_one_more_for_the_same_answer_never_takes_from_its_share(near: list[tuple[float, int]], cosine: float) -> None:
    less = near[: NEIGHBOURS - 1]
    assert share(*less, (cosine, less[0][1])) >= share(*less) - 1e-12


@given(VOTERS.filter(bool), st.floats(-1, 1))
def test_one_more_for_another_never_adds_to_it(near: list[tuple[float, int]], cosine: float) -> None:
    less = near[: NEIGHBOURS - 1]
    assert share(*less, (cosine, 0)) <= share(*less) + 1e-12
