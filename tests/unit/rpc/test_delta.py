"""A delta is counted, and cut only between its pieces."""

from __future__ import annotations

import pytest

from libs.rpc.delta import ProtoDelta
from libs.rpc.money import usage_from_proto
from tokenway.common.v1.generation_pb2 import Delta, TokenLogprob, ToolCallDelta, TopLogprobs
from tokenway.common.v1.money_pb2 import Usage


def delta(*counts: int) -> ProtoDelta:
    return ProtoDelta.of(Delta(text=[f"<{each}>" for each in counts], token_counts=counts))


@pytest.mark.parametrize(
    ("tokens", "expected"), [(0, None), (1, ["<1>"]), (3, ["<1>"]), (4, ["<1>", "<3>"]), (9, ["<1>", "<3>", "<2>"])]
)
def test_the_pieces_that_fit_are_kept(tokens: int, expected: list[str] | None) -> None:
    part = delta(1, 3, 2).first(tokens)
    assert (None if part is None else list(part.message.text)) == expected


def test_likeliest_tokens_are_cut_with_their_pieces() -> None:
    logprobs = [TopLogprobs(chosen=TokenLogprob(token=str(each))) for each in range(3)]
    part = ProtoDelta.of(Delta(text=["a", "b"], token_counts=[2, 1], logprobs=logprobs)).first(2)
    assert part is not None
    assert [each.chosen.token for each in part.message.logprobs] == ["0", "1"]


def test_a_piece_without_a_count_is_never_free() -> None:
    uncounted = ProtoDelta.of(Delta(text=["a", "b"], token_counts=[5]))
    assert uncounted.tokens == 6
    assert uncounted.first(5) is None


def test_a_tool_call_is_delivered_whole_or_not() -> None:
    call = ProtoDelta.of(Delta(text=["a", "b"], token_counts=[1, 1], tool_calls=[ToolCallDelta(name="f")]))
    assert call.first(1) is None


def test_cached_input_is_a_part_of_the_input() -> None:
    assert usage_from_proto(Usage(input_tokens=3, cached_input_tokens=9)).cached_input_tokens == 3
