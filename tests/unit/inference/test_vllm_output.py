"""From vLLM's outputs to events; plain objects stand for vLLM's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from libs.errors import Reason, TokenwayError
from libs.money import Usage, UsageSource
from services.inference.adapters.vllm_output import VllmAnswer
from services.inference.domain.answer import Delta, Event, Finished, FinishReason, Started

TIMES = SimpleNamespace(queued_ts=100.0, scheduled_ts=100.25, first_token_ts=100.75)


def output(text: str, tokens: int, *, reason: str | None = None, cached: int | None = 0, times: Any = TIMES) -> Any:
    completion = SimpleNamespace(text=text, token_ids=list(range(tokens)), logprobs=None, finish_reason=reason)
    return SimpleNamespace(prompt_token_ids=[1, 2, 3], num_cached_tokens=cached, outputs=[completion], metrics=times)


def events(*outputs: Any) -> list[Event]:
    answer = VllmAnswer(model="tiny", top_logprobs=0)
    return [event for each in outputs for event in answer.events(each)]


def test_outputs_become_one_answer() -> None:
    assert events(output("a", 1, cached=2), output("bc", 2), output("d", 1, reason="stop")) == [
        Started(3, 2, queue_seconds=0.25, prefill_seconds=0.5),
        Delta(("a",), (1,)),
        Delta(("bc",), (2,)),
        Delta(("d",), (1,)),
        Finished(FinishReason.STOP, Usage(3, 2, 4, UsageSource.ENGINE)),
    ]


def test_tokens_count_while_their_text_is_held_back() -> None:
    assert events(output("", 1), output("é", 1, reason="length"))[1:3] == [Delta(("",), (1,)), Delta(("é",), (1,))]


def test_an_output_that_brings_nothing_makes_no_delta() -> None:
    assert [type(event) for event in events(output("a", 1), output("", 0, reason="stop"))] == [Started, Delta, Finished]


@pytest.mark.parametrize("times", [None, SimpleNamespace(queued_ts=0.0, scheduled_ts=0.0, first_token_ts=0.0)])
def test_phases_that_vllm_does_not_tell_stay_unknown(times: Any) -> None:
    assert events(output("a", 1, cached=None, times=times))[0] == Started(3, 0)


@pytest.mark.parametrize("reason", ["abort", "error", "something new"])
def test_an_answer_that_vllm_gives_up_is_no_answer(reason: str) -> None:
    with pytest.raises(TokenwayError) as broken:
        events(output("a", 1), output("", 0, reason=reason))
    assert broken.value.reason is Reason.STREAM_BROKEN


def test_likeliest_tokens_are_ranked_and_the_chosen_one_stands_apart() -> None:
    def candidate(token: str | None, logprob: float, rank: int) -> Any:
        return SimpleNamespace(decoded_token=token, logprob=logprob, rank=rank)

    wanted = output("x", 1)
    # The third likeliest was drawn; vLLM adds it to the two that were asked for.
    wanted.outputs[0].logprobs = [{8: candidate("b", -1.0, 2), 0: candidate("x", -5.0, 3), 9: candidate(None, -0.5, 1)}]
    delta = list(VllmAnswer(model="tiny", top_logprobs=2).events(wanted))[1]
    assert isinstance(delta, Delta)
    (logprobs,) = delta.logprobs
    assert (logprobs.chosen.token, logprobs.chosen.logprob) == ("x", -5.0)
    assert [(each.token, each.logprob) for each in logprobs.top] == [("", -0.5), ("b", -1.0)]
