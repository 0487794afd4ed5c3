"""A delta is counted, and cut only between its pieces."""

from __future__ import annotations

import pytest

from libs.generation.channel import REASONING, TEXT, Channel, tool_arguments
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


def test_a_rewritten_delta_has_the_same_tokens_and_pieces() -> None:
    message = Delta(text=["a", "b"], token_counts=[2, 1], reasoning=["c"])
    message.logprobs.add(chosen=TokenLogprob(token="a"))
    message.tool_calls.add(index=1, id="i", name="f", arguments_json="d")
    seen: list[tuple[Channel, str]] = []

    def rewrite(channel: Channel, piece: str) -> str:
        seen.append((channel, piece))
        return piece.upper() if piece != "b" else ""

    rewritten = ProtoDelta.of(message).rewritten(rewrite)
    assert seen == [(TEXT, "a"), (TEXT, "b"), (REASONING, "c"), (tool_arguments(1), "d")]
    expected = Delta(text=["A", ""], token_counts=[2, 1], reasoning=["C"])
    expected.tool_calls.add(index=1, id="i", name="f", arguments_json="D")
    assert (rewritten.message, rewritten.tokens) == (expected, 3)
    assert message.text == ["a", "b"], "the engine's own is what the cache gets"


def test_a_delta_without_tokens_holds_the_pieces_alone() -> None:
    given = ProtoDelta.of(Delta(text=["x"], token_counts=[7]))
    found = given.without_tokens({TEXT: "a", REASONING: "b", tool_arguments(2): "c"})
    expected = Delta(text=["a"], token_counts=[0], reasoning=["b"])
    expected.tool_calls.add(index=2, arguments_json="c")
    assert (found.message, found.tokens) == (expected, 0)


def test_cached_input_is_a_part_of_the_input() -> None:
    assert usage_from_proto(Usage(input_tokens=3, cached_input_tokens=9)).cached_input_tokens == 3
