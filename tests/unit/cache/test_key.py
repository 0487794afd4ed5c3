"""What is made the same before the key is taken, and what is not; that all else differs is tests/property's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from libs.generation.question import Conversation, Message, Regex, Role, Sampling, Text, ToolResult
from services.cache.domain.canonical import canonical
from services.cache.domain.key import exact_key, semantic_partition
from services.cache.domain.model import Question, Scope
from tests.unit.cache.questions import asked, question

NFC, NFD = "caf\u00e9", "cafe\u0301"


def key_of(text: str) -> bytes:
    return exact_key(question(asked(text))).digest


@pytest.mark.parametrize(("one", "other"), [(NFC, NFD), ("a\nb", "a\r\nb")])
def test_the_same_words_in_another_form_are_the_same_question(one: str, other: str) -> None:
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Yes", "yes"), ("a", "a "), ("a", " a"), ("a b", "a  b"), ("a\nb", "a\rb"), ("ﬁ", "fi")]
)
def test_case_spaces_and_lookalikes_are_never_made_the_same(one: str, other: str) -> None:
    assert key_of(one) != key_of(other)


def test_a_raw_prompt_is_normalised_like_a_message() -> None:
    assert exact_key(question(replace(asked(), prompt=NFC))) == exact_key(question(replace(asked(), prompt=NFD)))


@pytest.mark.parametrize("fields", [{"sampling": "stop"}, {"response_format": "regex"}, {"part": "result"}])
def test_what_an_answer_is_held_against_is_taken_byte_by_byte(fields: dict[str, str]) -> None:
    def with_text(text: str) -> Question:
        if "sampling" in fields:
            return question(replace(asked(), sampling=Sampling(stop=(text,))))
        if "response_format" in fields:
            return question(asked(response_format=Regex(text)))
        return question(replace(asked(), prompt=Conversation((Message(Role.TOOL, (ToolResult("c", text),)),))))

    assert exact_key(with_text(NFC)) != exact_key(with_text(NFD))


def test_within_an_organisation_all_share() -> None:
    assert exact_key(question(key_id="a", user="x", team="t")) == exact_key(question(key_id="b", user="y"))


@pytest.mark.parametrize(("scope", "name"), [(Scope.TEAM, "team"), (Scope.USER, "user"), (Scope.KEY, "key_id")])
def test_a_narrower_scope_shares_with_nobody_else(scope: Scope, name: str) -> None:
    me: dict[str, Any] = {name: "me"}
    others: dict[str, Any] = {"team": "any", "user": "any", "key_id": "any", **me}
    you: dict[str, Any] = {name: "you"}
    mine = exact_key(question(scope=scope, **me))
    assert exact_key(question(scope=scope, **others)) == mine
    assert exact_key(question(scope=scope, **you)) != mine
    assert exact_key(question(**me)) != mine


def test_a_team_and_a_user_of_one_name_do_not_share() -> None:
    names: dict[str, Any] = {"team": "x", "user": "x", "key_id": "x"}
    keys = {exact_key(question(scope=scope, **names)) for scope in Scope}
    assert len(keys) == len(Scope)


def test_an_earlier_user_text_stays_in_the_partition() -> None:
    def chat(first: str, last: str) -> Question:
        turns = (Message(Role.USER, (Text(first),)), Message(Role.ASSISTANT, (Text("a"),)))
        return question(replace(asked(), prompt=Conversation((*turns, Message(Role.USER, (Text(last),))))))

    assert semantic_partition(chat("x", "y")) == semantic_partition(chat("x", "z"))
    assert semantic_partition(chat("x", "y")) != semantic_partition(chat("w", "y"))


def test_the_partition_of_a_raw_prompt_holds_all_but_the_prompt() -> None:
    def raw(prompt: str, model: str = "small") -> Question:
        return question(replace(asked(), prompt=prompt), model=model)

    assert semantic_partition(raw("x")) == semantic_partition(raw("y"))
    assert semantic_partition(raw("x")) != semantic_partition(raw("x", "large"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a",), ("a", "")),
        ((("a",), "b"), ("a", ("b",))),
        (1, "1"),
        (1, True),
        (1, 1.0),
        (0, None),
        (b"a", "a"),
        ("", ()),
        (Text("x"), ToolResult("x", "")),
        (0.1, 0.1 + 1e-17 + 2e-17),
    ],
)
def test_no_two_values_have_the_same_bytes(one: object, other: object) -> None:
    assert canonical(one) != canonical(other)


def test_the_two_zeros_are_one_value() -> None:
    assert canonical(0.0) == canonical(-0.0)


def test_what_has_no_canonical_form_is_refused_and_not_guessed() -> None:
    with pytest.raises(TypeError, match="list has no canonical form"):
        canonical(["a"])


def test_the_key_is_the_same_in_every_process_and_on_every_machine() -> None:
    # A field that is added to questions changes it, rightly: then take the new one.
    assert exact_key(question()).digest.hex()[:16] == "6f8337acd0125037"
