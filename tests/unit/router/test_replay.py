"""A replay is the stored answer again, field by field, in several parts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.adapters.replay import replay
from tokenway.common.v1.generation_pb2 import Delta, TokenLogprob, TopLogprobs


def logprob(number: int) -> TopLogprobs:
    return TopLogprobs(chosen=TokenLogprob(token=str(number), logprob=-float(number)))


def joined(parts: Iterable[Delta]) -> Delta:
    whole = Delta()
    for each in parts:
        whole.MergeFrom(each)
    return whole


@st.composite
def answers(draw: st.DrawFn) -> Delta:
    """Any answer, also one whose counts tally with nothing."""
    pieces = draw(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.integers(0, 3)), max_size=200))
    return Delta(
        text=[text for text, _ in pieces],
        token_counts=[count for _, count in pieces],
        logprobs=map(logprob, range(draw(st.integers(0, 300)))),
        reasoning=map(str, range(draw(st.integers(0, 50)))),
    )


@given(answers())
def test_the_parts_joined_are_the_answer(whole: Delta) -> None:
    assert joined(replay(whole)) == whole


@given(answers())
def test_texts_and_counts_stay_together(whole: Delta) -> None:
    assert all(len(each.text) == len(each.token_counts) for each in replay(whole))


@pytest.mark.parametrize(("pieces", "parts"), [(0, 1), (1, 1), (2, 2), (7, 7), (8, 4), (20, 4), (512, 16)])
def test_an_answer_streams_in_several_parts_but_not_in_one_a_token(pieces: int, parts: int) -> None:
    assert len(list(replay(Delta(text=["a"] * pieces, token_counts=[1] * pieces)))) == parts


def test_logprobs_go_with_the_tokens_that_they_are_about() -> None:
    whole = Delta(text=["a", "b", "c"], token_counts=[1, 2, 1], logprobs=map(logprob, range(4)))
    assert [[each.chosen.token for each in p.logprobs] for p in replay(whole)] == [["0"], ["1", "2"], ["3"]]


def test_reasoning_goes_before_the_text_that_follows_it() -> None:
    whole = Delta(text=["", "", "a"], token_counts=[1, 1, 1], reasoning=["hm", "so"])
    assert [list(each.reasoning) for each in replay(whole)] == [["hm"], ["so"], []]


def test_reasoning_that_nothing_counts_goes_first() -> None:
    whole = Delta(text=["a", "b"], token_counts=[1, 1], reasoning=["hm", "so"])
    assert [list(each.reasoning) for each in replay(whole)] == [["hm", "so"], []]
