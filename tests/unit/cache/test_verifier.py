"""When two answers are the same."""

from __future__ import annotations

import pytest

from libs.testing.encoder import WordCounter
from services.cache.domain.lexical_guard.guard import objection
from services.cache.domain.verifier import SameAnswer
from tests.contract.answer_stores import in_memory

LONG = (
    "You can return what you bought within 30 days, unopened, and the money comes back to the card that you paid with"
)


async def same(one: str, other: str) -> bool | None:
    return await SameAnswer(encoder=WordCounter(), guard=objection).same_text(one, other)


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("Paris.", "paris", True),
        ("Paris.", "Lyon.", False),
        ("It is Paris.", "It is Lyon.", False),
        (LONG, LONG.upper() + "!", True),
        (LONG, LONG + " at once", True),
        (LONG, LONG.replace("30", "14"), False),
        (LONG, LONG.replace("can", "can not"), False),
        (LONG, "Nothing of that kind is possible with us, and we are sorry for it, but please do ask us again", False),
        (LONG, "Within 30 days.", False),
        ("", "", True),
    ],
)
async def test_answers_are_the_same_or_not(one: str, other: str, verdict: bool) -> None:
    assert await same(one, other) is verdict
    assert await same(other, one) is verdict


async def test_a_busy_encoder_leaves_it_open() -> None:
    encoder = WordCounter()
    encoder.busy = True
    assert await SameAnswer(encoder=encoder, guard=objection).same_text(LONG, LONG + " at once") is None


async def test_a_text_that_the_encoder_cannot_take_leaves_it_open() -> None:
    one = " ".join("ab" for _ in range(300))
    assert await same(one, one + " c") is None


async def test_what_is_compared_is_the_text_of_the_answers() -> None:
    tried = in_memory()
    verifier = SameAnswer(encoder=WordCounter(), guard=objection)
    assert await verifier.same(tried.answer("Paris."), tried.answer("Paris."))
    assert not await verifier.same(tried.answer("Paris."), tried.answer("Lyon."))


async def test_numbers_are_compared_to_the_end_of_answers_of_any_length() -> None:
    verifier = SameAnswer(encoder=WordCounter(), guard=lambda asked, stored: None)
    long = " ".join([LONG] * 12)
    assert await verifier.same_text(f"{long} That is 30", f"{long} that was 30")
    assert not await verifier.same_text(f"{long} That is 30", f"{long} that is 31")
