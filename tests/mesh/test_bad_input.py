"""What a caller does wrong is told clearly, before anything is spent."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from libs.errors import Reason, TokenwayError
from libs.keys import sha256_of
from libs.settings import schema
from services.mesh.client.router import RouterAddress, connected
from services.router.domain.ask import CacheMode
from services.router.transport.question import ask_from_proto
from tests.mesh.in_process import KEY, Mesh, default_mesh, events, organisations, question
from tokenway.common.v1 import generation_pb2
from tokenway.router.v1 import router_pb2

Sampling = generation_pb2.Sampling


async def refused(mesh: Mesh, request: router_pb2.GenerateRequest) -> TokenwayError:
    with pytest.raises(TokenwayError) as caught:
        await events(mesh, request)
    return caught.value


def sampled(**values: Any) -> router_pb2.GenerateRequest:
    return router_pb2.GenerateRequest(prompt="hello", sampling=Sampling(**values))


def tool(name: str, schema_text: str = "{}") -> generation_pb2.Tool:
    return generation_pb2.Tool(name=name, parameters_json_schema=schema_text)


BAD = {
    "neither prompt nor conversation": (router_pb2.GenerateRequest(), "request", "neither a prompt nor a conversation"),
    "empty prompt": (router_pb2.GenerateRequest(prompt=""), "request.prompt", "is empty: send at least one character"),
    "no messages": (
        router_pb2.GenerateRequest(conversation=generation_pb2.Conversation()),
        "request.conversation.messages",
        "is empty: send at least one message",
    ),
    "no role": (
        router_pb2.GenerateRequest(
            conversation=generation_pb2.Conversation(messages=[generation_pb2.Message(role=77)])  # type: ignore[arg-type]
        ),
        "request.conversation.messages[0].role",
        "is 77: give one of system, user, assistant, tool",
    ),
    "hot": (sampled(temperature=2.5), "request.sampling.temperature", "is 2.5: give at least 0 and at most 2"),
    "nan": (sampled(temperature=float("nan")), "request.sampling.temperature", "is nan: give at least 0 and at most 2"),
    "no nucleus": (sampled(top_p=0), "request.sampling.top_p", "is 0: give above 0 and at most 1"),
    "no tokens": (sampled(max_tokens=0), "request.sampling.max_tokens", "is 0: give at least 1"),
    "too many stops": (sampled(stop=["x"] * 17), "request.sampling.stop", "has 17 sequences: give at most 16"),
    "unknown model": (
        router_pb2.GenerateRequest(prompt="hello", model="gpt-9"),
        "request.model",
        "is 'gpt-9': give one of small, or nothing",
    ),
    "too large": (router_pb2.GenerateRequest(prompt="x" * (1 << 20)), "request", "send at most 1048576"),
    "bad tool": (
        router_pb2.GenerateRequest(prompt="hello", tools=[tool("no spaces")]),
        "request.tools[0].name",
        "is 'no spaces': give 1 to 64 letters",
    ),
    "bad schema": (
        router_pb2.GenerateRequest(prompt="hello", tools=[tool("ok", "{")]),
        "request.tools[0].parameters_json_schema",
        "is not JSON",
    ),
    "a text for a capability": (
        question("hello", requirements=router_pb2.Requirements(capabilities=["chat", "ask ann@x.com"])),
        "request.requirements.capabilities",
        "is 'ask ann@x.com': give ",
    ),
    "a text for a task": (
        question("hello", requirements=router_pb2.Requirements(task_type="x" * 65)),
        "request.requirements.task_type",
        "': give ",
    ),
    "negative latency": (
        question("hello", requirements=router_pb2.Requirements(max_latency=Duration(seconds=-1))),
        "request.requirements.max_latency",
        "is -1 s: give a positive duration",
    ),
    "what no model says of itself": (
        question("hello", requirements=router_pb2.Requirements(max_time_to_first_token=Duration(seconds=1))),
        "request.requirements.max_time_to_first_token",
        "is not served yet: leave it out",
    ),
    "a long label": (
        question("hello", labels={"doc": "x" * 65}),
        "request.labels",
        "has a key of 3 bytes with a value of 65: give a key of 1 to 64 bytes, and a value of at most as many",
    ),
    "an answer that may be kept for no time": (
        question("hello", cache=router_pb2.CacheControl(ttl=Duration())),
        "request.cache.ttl",
        "is 0 s: give a positive duration, or MODE_READ_ONLY",
    ),
}


async def test_every_bad_field_is_named_with_its_value_and_the_limit(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        for name, (request, field, description) in BAD.items():
            error = await refused(mesh, request)
            assert error.reason is Reason.INVALID_REQUEST, name
            (violation,) = error.fields
            assert violation.field == field, name
            assert description in violation.description, name
        assert await mesh.money() == dict.fromkeys(await mesh.money(), (0, 0)), "nothing was spent on any of them"


async def test_all_mistakes_of_a_request_are_named_at_once(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        error = await refused(mesh, sampled(temperature=-1, top_p=2, max_tokens=0))
    assert [each.field.rpartition(".")[2] for each in error.fields] == ["temperature", "top_p", "max_tokens"]


async def test_a_prompt_that_is_too_long_is_told_in_the_engines_own_count(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        error = await refused(mesh, question("word " * 5_000, model="small"))
        await mesh.settled()
    assert error.reason is Reason.CONTEXT_TOO_LONG
    assert error.metadata["context_window_tokens"] == "4096"
    assert error.metadata["input_tokens"] == "5000"


async def test_no_model_that_qualifies_is_told_with_each_ones_reason(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        wanted = router_pb2.Requirements(max_latency=Duration(nanos=1_000_000))
        error = await refused(mesh, question("hello", requirements=wanted))
    assert error.reason is Reason.NO_MODEL_QUALIFIES
    assert error.metadata == {"small": "its 99th percentile of 10 s exceeds 0.001 s"}


async def with_key(mesh: Mesh, key: str) -> TokenwayError:
    async with connected(RouterAddress(mesh.address, key)) as client:
        with pytest.raises(TokenwayError) as caught:
            await client.generate(question("hello"), timeout_seconds=5)
    return caught.value


async def test_keys_that_do_not_open_are_told_why(redis_url: str) -> None:
    acme, other = organisations()
    expired = schema.Key(id="old", sha256=sha256_of("tw_old"), expires_at="2020-01-01T00:00:00Z")  # type: ignore[arg-type]
    narrow = schema.Key(id="narrow", sha256=sha256_of("tw_narrow"), allowed_models=("large",))
    acme = acme.model_copy(update={"keys": (*acme.keys, expired, narrow)})
    async with default_mesh(redis_url, organisations=(acme, other)) as mesh:
        assert (await with_key(mesh, "tw_unknown")).reason is Reason.KEY_UNKNOWN
        assert (await with_key(mesh, "")).reason is Reason.KEY_MISSING
        old = await with_key(mesh, "tw_old")
        assert (await with_key(mesh, "tw_narrow")).reason is Reason.NO_MODEL_QUALIFIES
        async with connected(RouterAddress(mesh.address, "tw_narrow")) as client:
            with pytest.raises(TokenwayError) as not_allowed:
                await client.generate(question("hello", model="small"), timeout_seconds=5)
    assert old.reason is Reason.KEY_EXPIRED
    assert old.metadata == {"key_id": "old", "expired_at": "2020-01-01T00:00:00+00:00"}
    assert not_allowed.value.reason is Reason.MODEL_NOT_ALLOWED


async def test_a_call_without_any_metadata_is_unauthenticated(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, grpc.aio.insecure_channel(mesh.address) as channel:
        send: Any = channel.unary_unary("/tokenway.router.v1.RouterService/ListModels")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(b"")
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "authorization: Bearer KEY" in (caught.value.details() or "")


async def test_what_is_defined_and_not_built_says_so(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh, grpc.aio.insecure_channel(mesh.address) as channel:
        send: Any = channel.unary_unary("/tokenway.router.v1.RouterService/Embed")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await send(b"", metadata=(("authorization", f"Bearer {KEY}"),))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_one_organisations_answers_never_reach_another(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        await events(mesh, question("the same words"))
        async with connected(RouterAddress(mesh.address, "tw_key-of-another-organisation")) as other:
            answer = await other.generate(question("the same words"), timeout_seconds=5)
    assert answer.started.cache_verdict == router_pb2.CACHE_VERDICT_MISS


async def test_a_message_of_a_newer_version_is_answered_and_never_cached(redis_url: str) -> None:
    newer = router_pb2.GenerateRequest.FromString(question("hello").SerializeToString() + b"\xf8\x07\x01")
    async with default_mesh(redis_url) as mesh:
        verdicts = [(await events(mesh, newer))[0].started.cache_verdict for _ in range(2)]
    assert verdicts == [router_pb2.CACHE_VERDICT_BYPASSED] * 2


def test_a_newer_field_round_the_request_counts_too() -> None:
    within = router_pb2.StreamGenerateRequest(request=question("hello"))
    newer = router_pb2.StreamGenerateRequest.FromString(within.SerializeToString() + b"\xf8\x07\x01")
    assert ask_from_proto(newer.request, max_prompt_bytes=1_000, within=newer).cache_mode is CacheMode.OFF
    assert ask_from_proto(within.request, max_prompt_bytes=1_000, within=within).cache_mode is CacheMode.POLICY


async def test_an_answer_drawn_at_a_temperature_is_not_reused_unless_the_organisation_says_so(redis_url: str) -> None:
    async with default_mesh(redis_url) as mesh:
        verdicts = [(await events(mesh, question("hello", temperature=0.7)))[0].started.cache_verdict for _ in range(2)]
    assert verdicts == [router_pb2.CACHE_VERDICT_BYPASSED] * 2
