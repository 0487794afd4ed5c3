"""However a text is cut, the same is found in it; what is held is little, and only what may still become a match."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.router.domain.guards.policy import Action, Direction, GuardPolicy, Pii
from services.router.domain.guards.rule import MAX_HELD_CHARACTERS, Rule, Shape
from services.router.domain.guards.rules import rules_of
from services.router.domain.guards.scan import Scan
from services.router.domain.guards.scanner import Scanner
from tests.unit.router.guards.labelled import labelled
from tests.unit.router.guards.scanning import RULES, SCANNER, at_once, by_hand, streamed

TEXTS = sorted({each.text for each in labelled()})
# Content and what stands beside it: adjacent, overlapping, broken off, more than one at a time.
AWKWARD = (
    "a@b.co,c@d.co;e@f.co",
    "a@b.co.",
    "a@b.co.uk.",
    "a@b.co..uk",
    "a@b.c@d.co",
    "write to first.last+tag@mail.sub.example.co.uk-and more",
    "4111111111111111 4111 1111 1111 1111 123 4111-1111-1111-1111",
    "4111 1111 1111 1111 1111 1111 1111 1111",
    "+1 415 555 2671+1 415 555 2671",
    "(415) 555-2671(415) 555-2671",
    "1.2.3.4.5 1.2.3.4, 1.2.3.400",
    "fe80::1ff:fe23:4567:890a%eth0",
    "DE89 3704 0044 0532 0130 00 AND MORE WORDS HERE",
    "project falcon, Project-Falcon! projects falcon",
    "aab aaabbb aaaaaaab ORD-123-456-789 ORD-123-456",
    "sk-" + "aB3" * 40 + " and sk-" + "x" * 40,
    "tw_" + "q7_" * 20 + ".",
    "é@ü.de \U0001f469\u200d\U0001f467 a\u0301b@c.de \U0001d7dc1111",
    "x" * 100 + "@example.com",
    "a@" + "b" * 70 + ".com",
    "action@" + "0123456789abcdef" * 3,
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A\n\n" + "aB3+/" * 30 + "\n"
    "-----END RSA PRIVATE KEY----- and this",
    "-----BEGIN PRIVATE KEY-----\n" + "MIIE" * 30 + "== then nothing ends it",
    "-----BEGIN PRIVATE KEY----- is how one begins",
)


@pytest.mark.parametrize("text", AWKWARD)
def test_a_whole_text_is_searched_as_by_hand(text: str) -> None:
    assert at_once(text) == by_hand(text)


def test_the_labelled_texts_are_searched_as_by_hand() -> None:
    assert [at_once(each) for each in TEXTS] == [by_hand(each) for each in TEXTS]


@pytest.mark.parametrize("text", AWKWARD)
def test_one_cut_anywhere_changes_nothing(text: str) -> None:
    whole = at_once(text)
    assert {streamed((text[:at], text[at:])) for at in range(len(text) + 1)} == {whole}


@pytest.mark.parametrize("text", AWKWARD)
def test_two_cuts_anywhere_change_nothing(text: str) -> None:
    text, whole = text[:80], at_once(text[:80])
    for first in range(0, len(text), 2):
        for second in range(first, len(text), 3):
            assert streamed((text[:first], text[first:second], text[second:])) == whole


def test_a_cut_anywhere_in_a_labelled_text_changes_nothing() -> None:
    for text in TEXTS:
        whole = at_once(text)
        for at in range(len(text) + 1):
            assert streamed((text[:at], text[at:])) == whole, (text, at)


def test_letter_by_letter_the_same_is_found() -> None:
    assert [streamed(each) for each in TEXTS] == [at_once(each) for each in TEXTS]


@pytest.mark.parametrize("kind", Pii)
def test_each_kind_alone_finds_the_same_letter_by_letter(kind: Pii) -> None:
    """Nobody else holds then what it looks back at."""
    scanner = Scanner(rules_of(GuardPolicy(output={kind: Action.BLOCK}), Direction.OUTPUT))
    texts = [*TEXTS, *AWKWARD]
    assert [streamed(each, scanner) for each in texts] == [at_once(each, scanner) for each in texts]


ALPHABET = "ab4019 .-@:+(/_AZ\u00e9\u0660\n<>k"
FRAGMENTS = (
    "a@b.co",
    "4111 1111 1111 1111",
    "415-555-2671",
    "123-45-6789",
    "1.2.3.4",
    "aabb",
    "sk-a1B2c3D4e5F6g7H8i9J0",
    ".",
    " ",
)


@given(st.lists(st.one_of(st.text(ALPHABET, max_size=12), st.sampled_from(FRAGMENTS)), max_size=12), st.randoms())
def test_any_text_cut_anyhow(parts: list[str], random: random.Random) -> None:
    text = "".join(parts)
    cuts = sorted(random.choices(range(len(text) + 1), k=5))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert streamed(pieces) == streamed(parts) == at_once(text) == by_hand(text)


@given(st.text(ALPHABET, max_size=200))
@settings(max_examples=50)
def test_no_more_is_held_than_the_longest_match(text: str) -> None:
    scan = Scan(SCANNER)
    for each in text:
        scan.feed(each)
        assert scan.held_characters <= MAX_HELD_CHARACTERS


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("Hello", "Hello"),
        ("Hello,", ""),
        ("Hello, world", "world"),
        ("Hello, world ", ""),
        ("it costs 42", "42"),
        ("it costs 42 €", ""),
        ("card 4111 1111", "4111 1111"),
        ("card 4111 1111 x", "x"),
        ("my key is sk-a1B2c3D4e5F6g7H8i9J0 and", "and"),
        ("project", "project"),
        ("project ", "project "),
        ("project x", "x"),
    ],
)
def test_only_what_may_become_a_match_is_held(text: str, held: str) -> None:
    scan = Scan(SCANNER)
    scan.feed(text)
    assert scan.held_characters == len(held)


def test_what_is_certain_goes_out_before_it_ends() -> None:
    scan = Scan(SCANNER)
    found = scan.feed("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "a" * 500)
    assert [each.rule.name for each in found if each.rule] == ["pii.api_key"] * 2
    assert scan.held_characters == 0


@pytest.mark.parametrize(
    "text", ["9" * 50_000, "a" * 50_000, "1.2." * 12_500, "+1 2345678 " * 2_000, "a@b." * 10_000, "(" * 50_000]
)
def test_time_grows_with_the_length_alone(text: str) -> None:
    def seconds(length: int) -> float:
        began = time.process_time()
        at_once(text[:length])
        return time.process_time() - began

    half, whole = (min(seconds(length) for _ in range(3)) for length in (len(text) // 2, len(text)))
    assert whole < 4 * half + 0.05


def test_a_check_that_is_asked_too_much_is_out_of_time_like_a_pattern() -> None:
    def slow(text: str) -> int:
        ends_at = time.thread_time() + 0.02
        while time.thread_time() < ends_at:
            pass
        return 0

    scanner = Scanner([Rule("slow", "SLOW", Action.REDACT, Shape(body="a", check=slow))])
    assert at_once("aa", scanner) == "aa"
    with pytest.raises(TimeoutError):
        at_once("a" * 200, scanner)


def test_every_body_is_as_short_as_is_promised() -> None:
    from re import _parser  # type: ignore[attr-defined] # typeshed does not know it

    longest = {rule.name: _parser.parse(rule.shape.body).getwidth()[1] for rule in RULES}
    assert max(longest.values()) <= MAX_HELD_CHARACTERS, longest
