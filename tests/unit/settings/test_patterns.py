"""A guard's own pattern is one that a stream can be searched for; every other is refused at its line, and says why."""

from __future__ import annotations

import re

import pytest

from libs.settings.patterns import checked
from libs.settings.schema import GuardKinds
from services.router.domain.guards.policy import Pii
from tests.unit.settings.documents import added, written

GUARDS = """\
    guards:
      patterns:
        - name: falcon
          regex: {}
"""


@pytest.mark.parametrize(
    "pattern",
    [
        "falcon",
        r"\b(?i:project[ -]falcon)\b",
        r"\b(?:falcon|eagle)\b",
        "[A-Z]{3}-[0-9]{1,8}",
        r"a\\b",
        "(?:ab){1,32}",
        "x{64}",
        "ünïcode",
        r"\{e}",
        r"a{,3}b",
    ],
)
def test_what_is_bounded_and_looks_at_itself_alone_is_accepted(pattern: str) -> None:
    assert checked(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("(", "is not a regular expression"),
        ("[z-a]", "is not a regular expression"),
        ("a{99999999999999999999}", "is not a regular expression"),
        ("a+", "may match more than 64 characters"),
        ("a.*b", "may match more than 64 characters"),
        ("x{65}", "may match more than 64 characters"),
        ("(?:ab){1,33}", "may match more than 64 characters"),
        ("a{2,}", "may match more than 64 characters"),
        ("", "may match nothing"),
        ("a?", "may match nothing"),
        (r"\b", "may match nothing"),
        ("a|", "may match nothing"),
        ("a(?=b)", "looks around"),
        ("(?<!a)b", "looks around"),
        ("x(?:a|b(?!c))", "looks around"),
        (r"(a)\1", "refers back"),
        ("(a)?(?(1)b|c)", "depends on a group"),
        ("^a", "has an anchor"),
        ("a$", "has an anchor"),
        (r"a\bb", "has an anchor"),
        (r"\bfoo|bar\b", "has an anchor"),
        ("(?i)a", "write (?i:…)"),
        ("(?:foo){e<=1}", "has a brace"),
        ("[[:alpha:]]", "is not a regular expression"),
        ("[{]a", "has a brace"),
        (r"\\{e}", "has a brace"),
    ],
)
def test_what_a_stream_cannot_be_searched_for_is_refused(pattern: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        checked(pattern)


def test_the_mistake_is_at_its_line() -> None:
    assert added(GUARDS.format("secret.*")) == (
        "mesh.yaml:15:18: organisations[0].guards.patterns[0].regex: may match more than 64 characters: "
        "bound what repeats, as in {1,20}"
    )


def test_two_patterns_of_one_name_are_a_mistake() -> None:
    twice = GUARDS.format("a") + "        - name: falcon\n          regex: b\n"
    assert "the name 'falcon' is taken by organisations[0].guards.patterns[0].name" in added(twice)


def test_a_misspelt_kind_is_a_mistake() -> None:
    assert "did you mean email?" in added("    guards:\n      input: {emial: redact}\n")


def test_off_is_a_word_like_the_others() -> None:
    guards = (
        written("    guards:\n      input: {email: off, card: block}\n      restore: true\n").organisations[0].guards
    )
    assert guards is not None
    assert (guards.input.email, guards.input.card, guards.output.card, guards.restore) == ("off", "block", "off", True)


def test_the_file_knows_every_kind() -> None:
    assert set(GuardKinds.model_fields) == set(Pii)
