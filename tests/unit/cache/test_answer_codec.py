"""What is read back is what was written, or nothing."""

from __future__ import annotations

import json

import pytest

from services.cache.adapters import answer_codec
from services.cache.adapters.answer_codec import FIELDS, UnreadableError
from tests.contract.answer_stores import in_memory

TAG = b"acme\0digest"


def test_an_answer_is_read_back_as_it_was_written() -> None:
    answer = in_memory().answer("é\ud7ff", tags=("doc=1",))
    assert answer_codec.decode(answer_codec.encode(answer, tag=TAG), tag=TAG) == answer


def test_an_entry_has_the_agreed_fields() -> None:
    assert tuple(answer_codec.encode(in_memory().answer(), tag=TAG)) == FIELDS


@pytest.mark.parametrize(
    "change", [{"added_later": 1}, {"usage": {}}, {"whole": None}, {"usage": {"source": "GUESSED"}}]
)
def test_a_form_that_changed_without_its_version_is_not_read(change: dict[str, object]) -> None:
    entry = answer_codec.encode(in_memory().answer(), tag=TAG)
    body = json.dumps({**json.loads(entry["body"]), **change}).encode()
    entry |= {"body": body, "sum": answer_codec._checksum(TAG, body)}
    with pytest.raises(UnreadableError, match="it has another form"):
        answer_codec.decode(entry, tag=TAG)
