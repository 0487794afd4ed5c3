"""Server-sent events, however the bytes were cut."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.adapters.openai_events import MalformedError, ServerSentEvents

WHOLE = 'data: {"a": "é"}\n\n: comment\nevent: x\nid: 7\ndata:one\ndata: two\n\ndata\n\n\n\ndata: [DONE]\n\n'
EVENTS = ['{"a": "é"}', "one\ntwo", "", "[DONE]"]


def events(*pieces: bytes) -> list[str]:
    parser = ServerSentEvents()
    found = [each for piece in pieces for each in parser.feed(piece)]
    return [*found, *parser.close()]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["", "byte order mark"])
def test_every_cut_in_two_gives_the_same_events(line_end: str, start: str) -> None:
    sent = (start + WHOLE.replace("\n", line_end)).encode()
    for cut in range(len(sent) + 1):
        assert events(sent[:cut], sent[cut:]) == EVENTS


def test_byte_by_byte_gives_the_same_events() -> None:
    sent = WHOLE.replace("\n", "\r\n").encode()
    assert events(*(sent[at : at + 1] for at in range(len(sent)))) == EVENTS


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)), st.data())
def test_what_is_sent_is_what_comes(sent: list[str], data: st.DataObject) -> None:
    raw = "".join(f"data: {each}\n\n" for each in sent).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert events(*pieces) == sent


@given(st.lists(st.binary()))
def test_noise_is_malformed_or_nothing_worse(pieces: list[bytes]) -> None:
    with suppress(MalformedError):
        assert all(isinstance(each, str) for each in events(*pieces))


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    parser = ServerSentEvents()
    assert list(parser.feed(b"data: 1\n")) == []
    assert list(parser.feed(b"\ndata: 2")) == ["1"]


def test_half_a_line_at_the_end_is_no_event() -> None:
    assert events(b"data: 1\n\ndata: [DONE") == ["1"]


def test_a_whole_line_at_the_end_is_one_also_without_the_blank_line() -> None:
    assert events(b"data: [DONE]\n") == ["[DONE]"]


@pytest.mark.parametrize("piece", [b"x", b"data: x\n"], ids=["one line", "many lines"])
def test_an_event_without_end_is_given_up(piece: bytes) -> None:
    parser = ServerSentEvents(max_event_bytes=100)
    with pytest.raises(MalformedError, match="more than 100 bytes"):
        list(chain.from_iterable(parser.feed(piece) for _ in range(101)))
