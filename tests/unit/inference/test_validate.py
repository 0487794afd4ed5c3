"""What an inference service accepts, beyond the rules that all services share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.errors import Reason, TokenwayError
from libs.generation.question import Question, Sampling
from services.inference.domain.model import EngineRequest
from services.inference.domain.validate import fit, validate, validate_question

GOOD = EngineRequest("r", "tiny", Question("Hello"))


def broken_fields(request: EngineRequest) -> dict[str, str]:
    with pytest.raises(TokenwayError) as refused:
        validate(request, model="tiny")
    assert refused.value.reason is Reason.INVALID_REQUEST
    return {each.field: each.description for each in refused.value.fields}


def test_a_good_request_passes() -> None:
    validate(GOOD, model="tiny")


def test_everything_that_is_wrong_is_told_at_once_with_value_and_limit() -> None:
    sampling = Sampling(temperature=3.5, top_p=0, max_tokens=0, stop=("", "x" * 300))
    request = EngineRequest("r", "huge", Question("", sampling), adapter="mine")
    assert broken_fields(request) == {
        "model": "is 'huge', and 'tiny' runs here: ask a replica of the model",
        "adapter": "is 'mine', and no adapters are loaded here: leave it empty",
        "input.prompt": "is empty: send at least one character",
        "input.sampling.temperature": "is 3.5: give at least 0 and at most 2",
        "input.sampling.top_p": "is 0: give above 0 and at most 1",
        "input.sampling.max_tokens": "is 0: give at least 1",
        "input.sampling.stop[0]": "has 0 bytes: give at least 1 and at most 256",
        "input.sampling.stop[1]": "has 300 bytes: give at least 1 and at most 256",
    }


def test_a_request_without_a_model_is_for_nobody() -> None:
    assert list(broken_fields(replace(GOOD, model=""))) == ["model"]


def test_a_question_alone_is_held_to_the_same_rules() -> None:
    with pytest.raises(TokenwayError, match=r"input\.prompt: is empty"):
        validate_question(Question(""))
    validate_question(Question("Hello"))


@pytest.mark.parametrize(
    ("input_tokens", "max_tokens", "room"),
    [(10, 5, 5), (10, 90, 90), (10, 91, 90), (10, 2**32, 90), (99, 5, 1)],
)
def test_the_answer_gets_what_room_there_is(input_tokens: int, max_tokens: int, room: int) -> None:
    assert fit(input_tokens=input_tokens, max_tokens=max_tokens, max_model_tokens=100) == room


@pytest.mark.parametrize("input_tokens", [100, 9_001])
def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers(input_tokens: int) -> None:
    with pytest.raises(TokenwayError) as refused:
        fit(input_tokens=input_tokens, max_tokens=1, max_model_tokens=100)
    assert refused.value.reason is Reason.CONTEXT_TOO_LONG
    assert refused.value.metadata == {"input_tokens": str(input_tokens), "context_window_tokens": "100"}
    assert refused.value.message.endswith("shorten the prompt to at most 99")
