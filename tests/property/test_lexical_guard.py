"""What holds of the guard whatever is said."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cache.domain.code import looks_like_code
from services.cache.domain.lexical_guard.guard import Objection, objection
from services.cache.domain.lexical_guard.quantities import quantities
from services.cache.domain.lexical_guard.said import read
from services.cache.domain.semantic_eligibility import MOST_CHARACTERS
from tests.unit.cache.test_lexical_guard import OBJECTIONS, PARAPHRASES

_SENTENCES = sorted(
    {each for pair in PARAPHRASES for each in pair} | {each for _, *pair in OBJECTIONS for each in pair}
)
_WORDS = sorted({word for sentence in _SENTENCES for word in sentence.split()})
# Sentences, mixtures of their words, and anything at all.
TEXTS = st.sampled_from(_SENTENCES) | st.lists(st.sampled_from(_WORDS), max_size=12).map(" ".join) | st.text()


@given(TEXTS, TEXTS)
def test_it_does_not_matter_which_of_two_was_asked(one: str, other: str) -> None:
    assert (objection(one, other) is None) == (objection(other, one) is None)


@given(TEXTS)
def test_a_text_is_never_objected_to_beside_itself(text: str) -> None:
    assert objection(text, text) is None


@given(TEXTS, st.sampled_from(["", " ", "  \n"]), st.sampled_from(["", "?", " !", "..."]))
def test_spaces_and_an_end_of_the_sentence_change_nothing(text: str, before: str, after: str) -> None:
    assert objection(text, f"{before}{text}{after}") is None


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_two_numbers_are_the_same_only_if_they_are(one: int, other: int) -> None:
    expected = None if one == other else Objection.NUMBERS
    assert objection(f"is {one} enough", f"is {other:,} enough") is expected


@given(st.integers(0, 999_999))
def test_a_number_in_words_is_the_number(number: int) -> None:
    assert [each.value for each in quantities(read(f"exactly {spelled(number)} apples"))] == [str(number)]


def spelled(number: int) -> str:
    """In English words."""
    ones = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    small = [*ones.split(), "seventeen", "eighteen", "nineteen"]
    tens = "twenty thirty forty fifty sixty seventy eighty ninety"
    if number < 20:
        return small[number]
    if number < 100:
        return "-".join([tens.split()[number // 10 - 2], *([small[number % 10]] if number % 10 else [])])
    unit, name = (100, "hundred") if number < 1_000 else (1_000, "thousand")
    rest = f" and {spelled(number % unit)}" if number % unit else ""
    return f"{spelled(number // unit)} {name}{rest}"


# Each asks a rule, or a pattern, to begin anew at every place.
_REPEATED = [
    "one two from-to not Oslo's 5% ",
    "turn it on and off ",
    "\n",
    " ",
    "hi ",
    "f0",
    "a.",
    "select from ",
    "and one ",
    "a: ",
    "def x\n",
    "'",
]


@pytest.mark.parametrize("repeated", _REPEATED)
def test_a_text_of_the_greatest_length_costs_milliseconds(repeated: str) -> None:
    text = f"a{repeated * MOST_CHARACTERS}"[: MOST_CHARACTERS - 1] + "b"
    began = time.process_time()
    looks_like_code(text)
    objection(text, text + " indeed")
    # Linear work takes 15 ms here, quadratic a second.
    assert time.process_time() - began < 0.3
