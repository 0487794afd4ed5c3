"""What a caller sent, as an Ask: read, checked and with every default resolved. Every broken rule is named at once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from libs.errors import FieldViolation, invalid_request
from libs.generation.rules import broken_rules
from libs.rpc.generation import discard_unknown_fields, question_from_proto
from libs.settings.schema import ALLOWED, NAME
from services.router.domain.ask import Ask, CacheMode, CacheTier, Requirements
from tokenway.common.v1 import generation_pb2
from tokenway.router.v1 import router_pb2 as pb

_MODES = {
    pb.CacheControl.MODE_UNSPECIFIED: CacheMode.POLICY,
    pb.CacheControl.MODE_OFF: CacheMode.OFF,
    pb.CacheControl.MODE_READ_ONLY: CacheMode.READ_ONLY,
    pb.CacheControl.MODE_REFRESH: CacheMode.REFRESH,
}
_TIERS = {pb.CacheControl.TIER_UNSPECIFIED: CacheTier.CALIBRATED, **{each.value: each for each in CacheTier}}
# In the engine a lower number is sooner.
_PRIORITIES = {
    pb.PRIORITY_UNSPECIFIED: 0,
    pb.PRIORITY_HIGH: -1,
    pb.PRIORITY_NORMAL: 0,
    pb.PRIORITY_LOW: 1,
}
_MAX_LABELS = 16
_MAX_LABEL_BYTES = 64


def ask_from_proto(message: pb.GenerateRequest, *, max_prompt_bytes: int, within: Message | None = None) -> Ask:
    """INVALID_REQUEST names every field that breaks a rule. A message of a newer version is never cached.

    `within` is the message that holds it, if one does: a newer field there counts too.
    """
    newer = discard_unknown_fields(within or message)
    question = question_from_proto(_input(message), place="request")
    broken = (*broken_rules(question, place="request"), *_broken(message, max_prompt_bytes))
    if broken:
        raise invalid_request(*broken)
    return Ask(
        question=question,
        model=message.model,
        requirements=_requirements(message.requirements),
        cache_mode=CacheMode.OFF if newer else _MODES[message.cache.mode],
        cache_tier=_TIERS[message.cache.tier],
        cache_ttl_seconds=_seconds(message.cache.ttl) if message.cache.HasField("ttl") else None,
        priority=_PRIORITIES[message.priority],
        labels=dict(message.labels),
    )


def _input(message: pb.GenerateRequest) -> generation_pb2.GenerationInput:
    question = generation_pb2.GenerationInput(
        sampling=message.sampling,
        response_format=message.response_format,
        tools=message.tools,
        tool_choice=message.tool_choice,
    )
    match message.WhichOneof("input"):
        case "prompt":
            question.prompt = message.prompt
        case "conversation":
            question.conversation.CopyFrom(message.conversation)
    return question


def _requirements(message: pb.Requirements) -> Requirements:
    capabilities = {*message.capabilities, message.task_type} - {""}
    return Requirements(
        capabilities=frozenset(capabilities),
        max_latency_seconds=_seconds(message.max_latency) if message.HasField("max_latency") else None,
        max_cost_micro_usd_per_1k_tokens=(
            message.max_cost_micro_usd_per_1k_tokens if message.HasField("max_cost_micro_usd_per_1k_tokens") else None
        ),
        context_tokens=message.required_context_tokens if message.HasField("required_context_tokens") else None,
    )


def _broken(message: pb.GenerateRequest, max_prompt_bytes: int) -> Iterator[FieldViolation]:
    size = message.ByteSize()
    if size > max_prompt_bytes:
        yield FieldViolation("request", f"has {size} bytes: send at most {max_prompt_bytes}")
    if message.cache.mode not in _MODES:
        yield FieldViolation("request.cache.mode", f"is {message.cache.mode}, which is no mode: see CacheControl.Mode")
    if message.cache.tier not in _TIERS:
        yield FieldViolation("request.cache.tier", f"is {message.cache.tier}, which is no tier: see CacheControl.Tier")
    if message.priority not in _PRIORITIES:
        yield FieldViolation("request.priority", f"is {message.priority}, which is no priority: see Priority")
    for name, duration in (
        ("requirements.max_latency", message.requirements.max_latency),
        ("cache.ttl", message.cache.ttl),
    ):
        if not math.isfinite(_seconds(duration)) or _seconds(duration) < 0:
            yield FieldViolation(f"request.{name}", f"is {_seconds(duration):g} s: give a positive duration")
    if message.requirements.HasField("max_time_to_first_token"):
        # Passed over, it would be a promise that nobody keeps.
        yield FieldViolation(
            "request.requirements.max_time_to_first_token", "is not served yet: leave it out, or give max_latency"
        )
    if message.cache.HasField("ttl") and _seconds(message.cache.ttl) == 0:
        yield FieldViolation("request.cache.ttl", "is 0 s: give a positive duration, or MODE_READ_ONLY to keep nothing")
    yield from _broken_capabilities(message.requirements)
    yield from _broken_labels(message)


def _broken_capabilities(message: pb.Requirements) -> Iterator[FieldViolation]:
    """Traces name those that a model lacks, so none may be a text."""
    named = (("task_type", message.task_type), *(("capabilities", each) for each in message.capabilities))
    for field, name in named:
        if name and not re.fullmatch(NAME, name):
            yield FieldViolation(f"request.requirements.{field}", f"is {name[:64]!r}: give {ALLOWED[NAME]}")


def _broken_labels(message: pb.GenerateRequest) -> Iterator[FieldViolation]:
    if len(message.labels) > _MAX_LABELS:
        yield FieldViolation("request.labels", f"has {len(message.labels)} labels: give at most {_MAX_LABELS}")
    for key_bytes, value_bytes in ((len(key.encode()), len(value.encode())) for key, value in message.labels.items()):
        if not 1 <= key_bytes <= _MAX_LABEL_BYTES or value_bytes > _MAX_LABEL_BYTES:
            yield FieldViolation(
                "request.labels",
                f"has a key of {key_bytes} bytes with a value of {value_bytes}: give a key of 1 to {_MAX_LABEL_BYTES}"
                " bytes, and a value of at most as many",
            )
            return


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
