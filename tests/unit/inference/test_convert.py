"""Messages to the domain and back: nothing is lost, and nothing is guessed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import TokenwayError
from libs.generation.question import Conversation, Message, Question, Role, Sampling, Text
from libs.money import Usage, UsageSource
from libs.settings.schema import Price
from services.inference.domain.answer import (
    Delta,
    Finished,
    FinishReason,
    Started,
    TokenLogprob,
    ToolCallDelta,
    TopLogprobs,
)
from services.inference.domain.load import Load
from services.inference.domain.model import EngineRequest
from services.inference.domain.ports import EngineInfo
from services.inference.domain.watch import Report
from services.inference.transport.convert import (
    event_to_proto,
    model_to_proto,
    report_to_proto,
    request_from_proto,
    request_to_proto,
)
from tests.unit.inference.test_config import SETTINGS
from tokenway.common.v1 import generation_pb2, money_pb2
from tokenway.inference.v1 import inference_pb2 as pb

INT32 = st.integers(-(2**31), 2**31 - 1)
CONVERSATION = Conversation((Message(Role.USER, (Text("Hello"),)),))
REQUESTS = st.builds(
    EngineRequest,
    request_id=st.text(),
    model=st.text(),
    question=st.builds(
        Question,
        prompt=st.text() | st.just(CONVERSATION),
        sampling=st.builds(Sampling, seed=st.none() | st.integers(-(2**63), 2**63 - 1), stop=st.just(("a", "b"))),
    ),
    priority=INT32,
    attempt=st.integers(1, 2**32 - 1),
    adapter=st.text(),
)


@given(REQUESTS)
def test_a_request_comes_back_as_it_was(request: EngineRequest) -> None:
    wire = request_to_proto(request).SerializeToString()
    assert request_from_proto(pb.GenerateRequest.FromString(wire)) == request


def test_a_caller_that_counts_no_attempts_makes_its_first() -> None:
    message = pb.GenerateRequest(input=generation_pb2.GenerationInput(prompt="Hello"))
    assert request_from_proto(message).attempt == 1


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.GenerateRequest(), "input"),
        (
            pb.GenerateRequest(
                input=generation_pb2.GenerationInput(
                    conversation=generation_pb2.Conversation(messages=[generation_pb2.Message()])
                )
            ),
            "input.conversation.messages[0].role",
        ),
    ],
)
def test_what_has_no_meaning_is_refused_by_its_place(message: pb.GenerateRequest, field: str) -> None:
    with pytest.raises(TokenwayError) as refused:
        request_from_proto(message)
    assert [each.field for each in refused.value.fields] == [field]


def test_a_start_says_how_long_the_prompt_was() -> None:
    message = event_to_proto(Started(7, 4, queue_seconds=1.0, prefill_seconds=1.0))
    assert message == pb.GenerateResponse(started=pb.Started(input_tokens=7, cached_input_tokens=4))


def test_a_delta_says_all_that_it_holds() -> None:
    top = TopLogprobs(TokenLogprob("a", -0.5), (TokenLogprob("a", -0.5), TokenLogprob("b", -1.0)))
    delta = Delta(("a", ""), (1, 2), (top,), ("hm",), (ToolCallDelta(0, "c1", "find", "{"),))
    message = event_to_proto(delta).delta
    assert list(message.text) == ["a", ""]
    assert list(message.token_counts) == [1, 2]
    assert list(message.reasoning) == ["hm"]
    (logprobs,), (call,) = message.logprobs, message.tool_calls
    assert (logprobs.chosen.token, logprobs.chosen.logprob) == ("a", -0.5)
    assert [(each.token, each.logprob) for each in logprobs.top] == [("a", -0.5), ("b", -1.0)]
    assert (call.index, call.id, call.name, call.arguments_json) == (0, "c1", "find", "{")


def test_deltas_joined_as_bytes_are_the_delta_of_both() -> None:
    first, second = (event_to_proto(Delta((text,), (1,))).delta for text in "ab")
    joined = generation_pb2.Delta.FromString(first.SerializeToString() + second.SerializeToString())
    assert joined == event_to_proto(Delta(("a", "b"), (1, 1))).delta


@pytest.mark.parametrize("reason", FinishReason)
def test_every_reason_has_its_number(reason: FinishReason) -> None:
    finished = event_to_proto(Finished(reason, Usage(7, 4, 3, UsageSource.ENGINE))).finished
    assert generation_pb2.FinishReason.Name(finished.finish_reason) == f"FINISH_REASON_{reason.name}"
    assert finished.usage == money_pb2.Usage(
        input_tokens=7, cached_input_tokens=4, output_tokens=3, source=money_pb2.USAGE_SOURCE_ENGINE
    )


def test_a_report_says_the_load() -> None:
    message = report_to_proto(Report(Load(running=3, waiting=2, kv_cache_usage=0.5), draining=True))
    assert (message.running, message.waiting, message.kv_cache_usage, message.draining) == (3, 2, 0.5, True)
    assert message.age.ToNanoseconds() == 0
    assert message.HasField("age")


def test_a_model_says_what_is_configured_and_what_the_engine_can() -> None:
    described = SETTINGS.models[0].model_copy(
        update={
            "price": Price(
                input_usd_per_million_tokens=Decimal("0.15"),
                cached_input_usd_per_million_tokens=Decimal("0.05"),
                output_usd_per_million_tokens=Decimal("0.6"),
                version="2",
            )
        }
    )
    message = model_to_proto(described, EngineInfo("vllm", "0.32.0", 2_048, 32), available=True)
    assert message.model.name == "scripted"
    assert message.model.p99_latency.ToMilliseconds() == 2_000
    assert message.model.price == money_pb2.Price(
        input_micro_usd_per_million_tokens=150_000,
        cached_input_micro_usd_per_million_tokens=50_000,
        output_micro_usd_per_million_tokens=600_000,
        version="2",
    )
    assert message.model.available
    assert (message.engine, message.engine_version) == ("vllm", "0.32.0")
    assert (message.max_model_tokens, message.max_sequences) == (2_048, 32)


def test_cached_input_costs_what_input_costs_unless_the_file_says_otherwise() -> None:
    message = model_to_proto(SETTINGS.models[0], EngineInfo("vllm", "0", 1, 1), available=False)
    assert message.model.price.cached_input_micro_usd_per_million_tokens == 1_000_000
    assert not message.model.available
