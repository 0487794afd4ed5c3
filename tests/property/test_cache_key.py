"""Two questions that differ in anything that can change the answer never share a key."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings

from libs.errors import TokenwayError
from services.cache.domain.key import AnswerKey, exact_key, semantic_partition
from services.cache.domain.model import Question
from services.cache.transport.convert import question_of
from tests.property.questions import CHANGES_NO_ANSWER, Change, changes, full_question, questions, reachable_fields
from tokenway.cache.v1 import cache_pb2
from tokenway.common.v1 import generation_pb2

FULL = full_question()
# What FULL leaves out since it excludes something that is in it; each is put in by itself.
OTHER_ONEOFS = {
    "prompt": generation_pb2.GenerationInput(prompt="Once upon"),
    "json_object": generation_pb2.GenerationInput(
        prompt="x", response_format=generation_pb2.ResponseFormat(json_object=True)
    ),
    "regex": generation_pb2.GenerationInput(prompt="x", response_format=generation_pb2.ResponseFormat(regex="a+")),
    "grammar": generation_pb2.GenerationInput(
        prompt="x", response_format=generation_pb2.ResponseFormat(grammar="root ::= 'a'")
    ),
}


def domain(question: cache_pb2.Question) -> Question:
    """As the service sees it."""
    message = cache_pb2.LookupRequest()
    message.question.CopyFrom(question)
    return question_of(message)


def key(question: cache_pb2.Question) -> AnswerKey | None:
    """None for a question that is refused, which finds nothing."""
    try:
        return exact_key(domain(question))
    except TokenwayError:
        return None


def with_input(asked: generation_pb2.GenerationInput) -> cache_pb2.Question:
    question = cache_pb2.Question()
    question.CopyFrom(FULL)
    question.input.CopyFrom(asked)
    return question


@pytest.mark.parametrize("change", list(changes(FULL)), ids=lambda change: change.path)
def test_a_change_of_any_field_changes_the_key(change: Change) -> None:
    path = change.path.split(" ")[0]
    same = key(change.message) == key(FULL)
    assert same == (path in CHANGES_NO_ANSWER)


@pytest.mark.parametrize("name", OTHER_ONEOFS)
def test_so_does_a_change_of_what_excludes_another(name: str) -> None:
    question = with_input(OTHER_ONEOFS[name])
    keys = [key(question), key(FULL), *(key(change.message) for change in changes(question))]
    assert len(set(keys)) >= 5
    assert keys.count(keys[0]) == 1 + len([c for c in changes(question) if c.path.split(" ")[0] in CHANGES_NO_ANSWER])


def test_no_field_of_a_question_was_forgotten_here() -> None:
    tried = {change.field for change in changes(FULL)}
    for asked in OTHER_ONEOFS.values():
        tried |= {change.field for change in changes(with_input(asked))}
    only_hold_a_message = {
        field
        for field in reachable_fields(cache_pb2.Question.DESCRIPTOR) - tried
        if field.split(".")[-1] in ("conversation", "image", "tool_call", "tool_result")
    }
    assert reachable_fields(cache_pb2.Question.DESCRIPTOR) - tried == only_hold_a_message


@settings(max_examples=400)
@given(questions)
def test_generated_questions_that_differ_in_one_place_share_no_key(question: cache_pb2.Question) -> None:
    own = key(question)
    # About thirty changes a question: 10,000 pairs in all.
    for change in changes(question):
        if change.path.split(" ")[0] not in CHANGES_NO_ANSWER:
            assert key(change.message) != own, change.path


@settings(max_examples=200)
@given(questions, questions)
def test_any_two_questions_share_a_key_only_if_they_are_the_same(
    one: cache_pb2.Question, other: cache_pb2.Question
) -> None:
    assert (key(one) == key(other)) == (_plain(domain(one)) == _plain(domain(other)))


@settings(max_examples=100)
@given(questions)
def test_a_key_is_the_same_for_the_same_question_and_never_a_partition(question: cache_pb2.Question) -> None:
    copy = cache_pb2.Question.FromString(question.SerializeToString(deterministic=True))
    assert key(question) == key(copy)
    assert exact_key(domain(question)).digest != semantic_partition(domain(question)).digest


@pytest.mark.parametrize(
    "change", [change for change in changes(FULL) if key(change.message)], ids=lambda change: change.path
)
def test_only_the_last_user_text_leaves_the_partition_alone(change: Change) -> None:
    path = change.path.split(" ")[0]
    same = semantic_partition(domain(change.message)) == semantic_partition(domain(FULL))
    last_text = ("input.conversation.messages[4].parts", "input.conversation.messages[4].parts[0].text")
    assert same == (path in CHANGES_NO_ANSWER or path in last_text)


def _plain(question: Question) -> Question:
    """Without what may differ within a key."""
    asked = question.input
    if isinstance(asked.prompt, str):
        asked = replace(asked, prompt=unicodedata.normalize("NFC", asked.prompt))
    principal = replace(question.principal, key_id="", user="", team="")
    return replace(question, principal=principal, input=asked, reuse_sampled=False)
