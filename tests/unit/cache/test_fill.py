"""Only whole answers are stored, as they were made."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.errors import Reason, TokenwayError
from libs.testing.answers import InMemoryAnswers
from libs.testing.clock import ManualClock
from services.cache.domain.draft import FillEvent, NotUnderstood
from services.cache.domain.fill import Fill
from services.cache.domain.key import exact_key
from services.cache.domain.model import AnswerPart, StoredAnswer, TokenLogprob, TopLogprobs
from services.cache.domain.stats import FillResult, Stats
from tests.unit.cache.questions import CUT, STOP, USAGE, asked, order, part, question, streamed

MAX_BYTES = 200


class Filled:
    """A Fill, and what it left behind."""

    def __init__(self, *, chance: float = 0.5) -> None:
        self.clock = ManualClock()
        self.answers = InMemoryAnswers(clock=self.clock)
        self.stats = Stats()
        self.fill = Fill(
            answers=self.answers,
            clock=self.clock,
            stats=self.stats,
            chance=lambda: chance,
            max_answer_bytes=MAX_BYTES,
        )

    async def with_(self, *events: FillEvent) -> FillResult:
        return await self.fill.store(streamed(*events))

    async def stored(self) -> StoredAnswer | None:
        return await self.answers.get(exact_key(question()))


@pytest.fixture
def filled() -> Filled:
    return Filled()


async def test_an_answer_is_stored_with_all_its_parts_joined(filled: Filled) -> None:
    logprobs = (TopLogprobs(TokenLogprob("b", -1.0), ()),)
    thought = AnswerPart(text=("",), token_counts=(2,), reasoning=("hm",))
    said = AnswerPart(text=("b",), token_counts=(1,), logprobs=logprobs)
    assert await filled.with_(order(tags=("doc=1",)), thought, part("a"), said, STOP) is FillResult.STORED
    assert await filled.stored() == StoredAnswer(
        whole=AnswerPart(("", "a", "b"), (2, 1, 1), logprobs, ("hm",)),
        usage=USAGE,
        model="small",
        model_revision="1",
        tags=("doc=1",),
        created_at=filled.clock.now(),
        expires_at=filled.clock.now() + 60,
        source_request_id="req-1",
    )


@pytest.mark.parametrize(
    ("events", "result"),
    [
        ((part("a"),), FillResult.UNFINISHED),
        ((), FillResult.UNFINISHED),
        ((part("a"), CUT), FillResult.FINISH_REASON),
        ((part("a"), AnswerPart(calls_tools=True), STOP), FillResult.TOOL_CALLS),
        ((part("a" * MAX_BYTES), STOP), FillResult.TOO_LARGE),
        ((*[part("a")] * MAX_BYTES, STOP), FillResult.TOO_LARGE),
        ((AnswerPart(reasoning=("a" * (MAX_BYTES + 1),)), STOP), FillResult.TOO_LARGE),
        ((part("a"), NotUnderstood(), STOP), FillResult.UNKNOWN_FIELDS),
    ],
)
async def test_what_must_not_be_given_again_is_not_stored(
    filled: Filled, events: tuple[FillEvent, ...], result: FillResult
) -> None:
    assert await filled.with_(order(), *events) is result
    assert await filled.stored() is None
    assert filled.stats.counts("acme").fills == {result: 1}


async def test_a_question_that_may_not_be_cached_has_no_answer_stored(filled: Filled) -> None:
    sampled = question(asked(temperature=1))
    assert await filled.with_(order(sampled), part("a"), STOP) is FillResult.TEMPERATURE
    assert await filled.answers.get(exact_key(sampled)) is None


async def test_an_answer_of_just_the_allowed_size_is_stored(filled: Filled) -> None:
    assert await filled.with_(order(), part("a" * (MAX_BYTES - 16)), STOP) is FillResult.STORED


async def test_an_empty_answer_is_an_answer(filled: Filled) -> None:
    assert await filled.with_(order(), STOP) is FillResult.STORED


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ((), "the first is no header"),
        ((part("a"), STOP), "the first is no header"),
        ((order(), order()), "is a second header"),
        ((order(), part("a"), STOP, part("b")), "comes after the end"),
        ((order(), part("a"), STOP, STOP), "comes after the end"),
    ],
)
async def test_events_in_another_order_are_refused_and_nothing_is_stored(
    filled: Filled, events: tuple[FillEvent, ...], message: str
) -> None:
    with pytest.raises(TokenwayError, match=message) as caught:
        await filled.with_(*events)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert await filled.stored() is None


async def test_a_stream_that_breaks_stores_nothing_and_is_counted(filled: Filled) -> None:
    async def broken() -> AsyncIterator[FillEvent]:
        yield order()
        yield part("a")
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await filled.fill.store(broken())
    assert await filled.stored() is None
    assert filled.stats.counts().fills == {FillResult.FAILED: 1}


async def test_a_store_that_is_away_is_counted(filled: Filled) -> None:
    filled.answers.error = TokenwayError(Reason.SERVICE_UNAVAILABLE, "away")
    with pytest.raises(TokenwayError, match="away"):
        await filled.with_(order(), STOP)
    assert filled.stats.counts().fills == {FillResult.FAILED: 1}


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 54), (0.5, 60), (1.0, 66)])
async def test_expiry_is_spread_by_a_tenth_to_either_side(chance: float, seconds: float) -> None:
    filled = Filled(chance=chance)
    await filled.with_(order(ttl_seconds=60), STOP)
    stored = await filled.stored()
    assert stored is not None
    assert stored.expires_at - filled.clock.now() == pytest.approx(seconds)
