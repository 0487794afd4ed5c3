"""What JSON says and how it is written: read in pieces, and written again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.guards.forms import Json, is_json

TEXTS = (
    r'{"to": "ann\u0040example.com", "n": 4111111111111111}',
    r'"a\\\"b\u00e9\ud83d\ude00\n"',
    r"{\u004 broken \x escapes \ ",
    '["ünïcödé", "\\/"]',
)


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_only_read_is_written_as_it_was(text: str) -> None:
    for at in range(len(text) + 1):
        form = Json()
        said = form.read(text[:at]) + form.read(text[at:], last=True)
        assert form.written(said) == text


@pytest.mark.parametrize("text", TEXTS)
def test_it_says_the_same_however_it_is_cut(text: str) -> None:
    whole = Json().read(text, last=True)
    for at in range(len(text) + 1):
        form = Json()
        assert form.read(text[:at]) + form.read(text[at:], last=True) == whole


@given(st.text().filter(lambda text: text.isprintable() and all(ord(each) < 0x10000 for each in text)))
def test_it_says_what_json_says(text: str) -> None:
    for ascii_alone in (True, False):
        assert Json().read(json.dumps(text, ensure_ascii=ascii_alone), last=True)[1:-1] == text


def test_an_escape_is_read_once_it_is_whole() -> None:
    form = Json()
    assert [form.read(each) for each in ("a\\", "u", "00", "40", "b")] == ["a", "", "", "@", "b"]


def test_half_a_surrogate_pair_is_no_surrogate() -> None:
    assert Json().read(r'"\ud800"', last=True) == '"\ufffd"'


def test_what_replaces_a_part_of_a_string_is_escaped() -> None:
    form = Json()
    form.written(form.read('"')[:1])
    said = form.read("x")
    assert form.replaced(said, 'a "b"\n') == r"a \"b\"\n"


def test_what_replaces_a_number_is_a_string() -> None:
    form = Json()
    said = form.read('{"n":4111}', last=True)
    assert form.written(said[:5]) + form.replaced("4111", "<CARD_1>") + form.written("}") == '{"n":"<CARD_1>"}'


@pytest.mark.parametrize(("text", "expected"), [('{"a":1}', True), (" [1]", True), ("1", False), ("{oops", False)])
def test_objects_and_lists_are_json(text: str, *, expected: bool) -> None:
    assert is_json(text) is expected
