"""A second run of an answer goes on where the first stopped only if it is the same, token by token."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import Reason, TokenwayError
from libs.rpc.delta import ProtoDelta
from services.router.domain.delivered import Delivered
from tokenway.common.v1.generation_pb2 import Delta, TokenLogprob, ToolCallDelta, TopLogprobs


def delta(*texts: str, **fields: object) -> ProtoDelta:
    return ProtoDelta.of(Delta(text=texts, token_counts=[1] * len(texts), **fields))  # type: ignore[arg-type]


def told(delivered: Delivered, *deltas: ProtoDelta) -> Delta:
    """What a run has that is new, joined."""
    run, whole = delivered.run(), Delta()
    for each in deltas:
        new = run.new_of(each)
        if new is not None:
            assert isinstance(new, ProtoDelta)
            whole.MergeFrom(new.message)
    run.end()
    return whole


def had(*deltas: ProtoDelta) -> Delivered:
    delivered = Delivered()
    for each in deltas:
        delivered.add(each)
    return delivered


@given(
    st.lists(st.sampled_from(["a", "b", "", "ä"]), max_size=12),
    st.integers(0, 12),
    st.lists(st.integers(0, 12), max_size=4),
)
def test_however_both_runs_are_cut_into_deltas_the_rest_comes_once(words: list[str], at: int, cuts: list[int]) -> None:
    places = sorted({0, len(words), *(each for each in cuts if each <= len(words))})
    runs = [delta(*words[begin:end]) for begin, end in pairwise(places)]
    assert list(told(had(delta(*words[:at])), *runs).text) == words[at:]


def test_reasoning_tool_calls_and_likeliest_tokens_go_with_their_pieces() -> None:
    call = ToolCallDelta(index=0, name="f", arguments_json="{")
    rest = ToolCallDelta(index=0, arguments_json="}")
    likely = [TopLogprobs(chosen=TokenLogprob(token=each)) for each in ("x", "y")]
    first = delta("x", reasoning=["hm"], tool_calls=[call], logprobs=likely[:1])
    again = delta("x", "y", reasoning=["hm", "so"], tool_calls=[call, rest], logprobs=likely)
    new = told(had(first), again)
    assert (list(new.text), list(new.reasoning), list(new.tool_calls), list(new.logprobs)) == (
        ["y"],
        ["so"],
        [rest],
        likely[1:],
    )


@pytest.mark.parametrize(
    "again",
    [
        [delta("a", "X", "c")],
        [delta("ab", "c")],
        [ProtoDelta.of(Delta(text=["a", "b"], token_counts=[1, 2]))],
        [delta("a"), delta("b", reasoning=["other"])],
        [delta("a", "b")],
        [],
    ],
    ids=["another token", "another piece", "another count", "other reasoning", "without its reasoning", "nothing"],
)
def test_another_answer_is_no_rest_of_this_one(again: list[ProtoDelta]) -> None:
    delivered = had(delta("a", "b", reasoning=["hm"]))
    with pytest.raises(TokenwayError) as caught:
        told(delivered, *again)
    assert caught.value.reason is Reason.STREAM_BROKEN
    assert caught.value.retry_after_seconds


def test_the_first_run_is_all_new() -> None:
    assert list(told(Delivered(), delta("a"), delta("b")).text) == ["a", "b"]
