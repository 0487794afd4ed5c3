"""A guarded answer: what is redacted, restored or ended, what is held meanwhile, and what is left if it breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from libs.errors import Reason, TokenwayError
from libs.rpc.delta import ProtoDelta
from libs.testing.clock import ManualClock
from services.router.domain.answer import CacheVerdict, Delta, FinishReason, Started
from services.router.domain.guards.answer_guard import OutputGuard
from services.router.domain.guards.policy import TIME_LIMIT, Direction, GuardPolicy, Pattern, Pii
from tests.unit.router.guards.watching import BLOCK, IBAN, POLICY, REDACT, Watcher, asked, guard
from tokenway.common.v1 import generation_pb2 as pb

STARTED = Started("request", "small", "why", CacheVerdict.MISS)
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


def text(*pieces: str, tokens: int = 1) -> pb.Delta:
    return pb.Delta(text=pieces, token_counts=[tokens] * len(pieces))


def reasoning(*pieces: str) -> pb.Delta:
    return pb.Delta(reasoning=pieces, token_counts=[1] * len(pieces), text=[""] * len(pieces))


def call(index: int, arguments: str, *, name: str = "", id: str = "") -> pb.Delta:  # noqa: A002 # the field's name
    piece = pb.ToolCallDelta(index=index, arguments_json=arguments, name=name, id=id)
    return pb.Delta(tool_calls=[piece], text=[""], token_counts=[1])


def split(whole: str, size: int = 1) -> list[pb.Delta]:
    return [text(whole[at : at + size]) for at in range(0, len(whole), size)]


async def answer_guard(
    asked_for: str = "ann@x.com",
    policy: GuardPolicy = POLICY,
    watcher: Watcher | None = None,
    clock: ManualClock | None = None,
) -> OutputGuard:
    return (await guard(policy, watcher=watcher, clock=clock).question(asked(asked_for))).answer


async def stream(
    deltas: Iterable[pb.Delta | BaseException | asyncio.Event], closed: list[bool] | None = None
) -> AsyncGenerator[Started | Delta]:
    try:
        yield STARTED
        for each in deltas:
            if isinstance(each, BaseException):
                raise each
            if isinstance(each, asyncio.Event):
                await each.wait()
            else:
                yield ProtoDelta.of(each)
    finally:
        if closed is not None:
            closed.append(True)


async def got(deltas: Iterable[pb.Delta], guarding: OutputGuard | None = None) -> list[pb.Delta]:
    """What the caller gets after Started, delta by delta."""
    guarding = guarding or await answer_guard()
    async with aclosing(guarding.guarded(stream(deltas))) as pieces:
        started, *rest = [each async for each in pieces]
    assert started is STARTED
    assert all(isinstance(each, ProtoDelta) for each in rest)
    return [each.message for each in rest if isinstance(each, ProtoDelta)]


def joined(deltas: Sequence[pb.Delta]) -> pb.Delta:
    whole = pb.Delta()
    for each in deltas:
        whole.MergeFrom(each)
    return whole


def said(deltas: Sequence[pb.Delta]) -> str:
    return "".join(joined(deltas).text)


def arguments(deltas: Sequence[pb.Delta], index: int) -> str:
    return "".join(each.arguments_json for each in joined(deltas).tool_calls if each.index == index)


async def test_a_harmless_answer_arrives_as_it_is_and_only_its_last_word_waits() -> None:
    found = await got([text("The "), text("capital"), text(" is"), text(" Paris"), text(".")])
    assert [list(each.text) for each in found] == [["The "], [""], ["capital "], ["is "], [""], ["Paris."]]


async def test_tokens_are_counted_as_the_engine_made_them_whatever_is_held() -> None:
    deltas = [text("write to ", tokens=3), text("b", "ob@", tokens=2), text("x.com", tokens=1), text(" now", tokens=4)]
    found = await got(deltas)
    assert list(joined(found).token_counts) == [3, 2, 2, 1, 4, 0]
    assert all(len(each.text) == len(each.token_counts) for each in found)
    assert said(found) == "write to <EMAIL_2> now"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_what_comes_out_does_not_depend_on_the_pieces(size: int) -> None:
    whole = f"mail bob@x.com, key {JWT}, <EMAIL_1> is you; 4111 1111 1111 1111 and bob@x.com <EMAIL_9>"
    found = await got(split(whole, size))
    assert said(found) == "mail <EMAIL_2>, key <API_KEY_1>, ann@x.com is you; <CARD_1> and <EMAIL_2> <EMAIL_9>"


async def test_what_was_redacted_in_the_question_comes_back_in_every_channel() -> None:
    deltas = [
        reasoning("so <EM", "AIL_1> it is"),
        call(0, '{"to": "<EMAI', name="send", id="c1"),
        call(1, '{"cc": "\\u003cEMAIL_1\\u003e"'),
        call(0, 'L_1>"}'),
        call(1, "}"),
        text("I wrote to <EMAIL_1>"),
    ]
    found = await got(deltas)
    assert said(found) == "I wrote to ann@x.com"
    assert "".join(joined(found).reasoning) == "so ann@x.com it is"
    assert arguments(found, 0) == '{"to": "ann@x.com"}'
    assert arguments(found, 1) == '{"cc": "ann@x.com"}'
    assert [(each.id, each.name) for each in joined(found).tool_calls if each.id] == [("c1", "send")]


async def test_what_comes_back_into_json_is_escaped() -> None:
    policy = replace(POLICY, patterns=(Pattern("odd", 'say "[a-z]{1,9}"', input=REDACT),), output={})
    guarding = await answer_guard('please say "hello"', policy)
    assert arguments(await got([call(0, '{"x": "<PATTERN_ODD_1>"}')], guarding), 0) == r'{"x": "say \"hello\""}'


async def test_without_restore_the_placeholder_stays() -> None:
    guarding = await answer_guard(policy=replace(POLICY, restore=False))
    assert said(await got([text("<EMAIL_1>")], guarding)) == "<EMAIL_1>"


async def test_a_restored_content_is_not_looked_for_again() -> None:
    guarding = await answer_guard("ann@x.com")
    assert said(await got([text("<EMAIL_1> and "), text("ann@x.com")], guarding)) == "ann@x.com and <EMAIL_1>"
    assert guarding.acted, "the model said the address itself, which the policy redacts"


async def test_what_the_answer_itself_redacts_does_not_come_back_by_its_placeholder() -> None:
    found = await got([text("it is bob@x.com, so "), text("<EMAIL_2> and <EMAIL_1>")])
    assert said(found) == "it is <EMAIL_2>, so <EMAIL_2> and ann@x.com"


async def test_restoring_alone_leaves_the_answer_what_it_was() -> None:
    guarding = await answer_guard()
    await got([text("<EMAIL_1>")], guarding)
    assert (guarding.acted, guarding.ended_by) == (False, None)


@pytest.mark.parametrize(
    "written",
    [r'{"to": "bob\u0040x.com"}', r'{"to": "b\u006fb@x\u002ecom"}', r'{"to": "\nbob@x.com"}', '{"to": "bob@x.com"}'],
)
async def test_an_escape_gets_no_address_past_wherever_it_is_cut(written: str) -> None:
    expected = written[: written.index("b") if r"\n" not in written else written.index("bob")] + '<EMAIL_2>"}'
    for at in range(len(written)):
        found = await got([call(0, written[:at]), call(0, written[at:])])
        assert arguments(found, 0) == expected, at


async def test_a_number_in_json_stays_a_value() -> None:
    assert arguments(await got([call(0, '{"n": 4111111111111111}')]), 0) == '{"n": "<CARD_1>"}'


async def test_channels_are_texts_of_their_own() -> None:
    found = await got([reasoning("bob@"), text("x.com"), call(0, "bob"), call(1, "@x.com"), reasoning("x.com")])
    assert "".join(joined(found).reasoning) == "<EMAIL_2>"
    assert said(found) == "x.com"
    assert (arguments(found, 0), arguments(found, 1)) == ("bob", "@x.com")


@pytest.mark.parametrize("at", range(len(IBAN) + 1))
async def test_a_block_ends_the_answer_before_the_content_and_closes_what_it_reads(at: int) -> None:
    closed: list[bool] = []
    watcher = Watcher()
    guarding = await answer_guard(watcher=watcher)
    parts = ("pay ", IBAN[:at], IBAN[at:], " ;")
    deltas: list[pb.Delta | BaseException] = [*map(text, parts), AssertionError("it is read on")]
    async with aclosing(guarding.guarded(stream(deltas, closed))) as pieces:
        found = [each.message async for each in pieces if isinstance(each, ProtoDelta)]
    assert said(found) == "pay "
    assert (guarding.ended_by, guarding.acted, closed) == (FinishReason.CONTENT_FILTER, True, [True])
    assert watcher.verdicts[-1] == (Direction.OUTPUT, "pii.iban", BLOCK)


async def test_a_block_may_fall_with_the_last_character() -> None:
    guarding = await answer_guard()
    assert said(await got([text(f"pay {IBAN}")], guarding)) == "pay "
    assert guarding.ended_by is FinishReason.CONTENT_FILTER


async def test_what_is_held_when_the_engine_fails_is_never_given_away() -> None:
    guarding = await answer_guard()
    deltas: list[pb.Delta | BaseException] = [text("write to bob@x.c"), TokenwayError(Reason.STREAM_BROKEN, "broke")]
    async with aclosing(guarding.guarded(stream(deltas))) as pieces:
        await anext(pieces)
        delta = await anext(pieces)
        with pytest.raises(TokenwayError):
            await anext(pieces)
    assert isinstance(delta, ProtoDelta)
    assert list(delta.message.text) == ["write to "]


async def test_a_caller_that_leaves_closes_everything() -> None:
    closed: list[bool] = []
    watcher = Watcher()
    guarding = await answer_guard(watcher=watcher)
    pieces = guarding.guarded(stream([text("bob@x"), text(".com")], closed))
    await anext(pieces)
    await anext(pieces)
    await pieces.aclose()
    assert closed == [True]
    assert watcher.closed == [Direction.INPUT, Direction.OUTPUT]
    assert len(watcher.holds) == 1


async def test_a_cancellation_while_text_is_held_gives_nothing_away() -> None:
    gate, found = asyncio.Event(), list[str]()
    guarding = await answer_guard()

    async def read() -> None:
        async with aclosing(guarding.guarded(stream([text("to bob@x.com"), gate]))) as pieces:
            async for each in pieces:
                found.extend(each.message.text if isinstance(each, ProtoDelta) else [])

    reading = asyncio.create_task(read())
    for _ in range(5):
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert found == ["to "]


async def test_how_long_and_how_much_was_held_is_told_once() -> None:
    watcher, clock = Watcher(), ManualClock()
    guarding = await answer_guard(watcher=watcher, clock=clock)
    async with aclosing(guarding.guarded(stream([text("a"), text("bcd"), text(" e"), text(", f ")]))) as pieces:
        async for _ in pieces:
            clock.advance(1)
    assert watcher.holds == [(2, 4)]


async def test_a_pattern_that_explodes_ends_the_answer() -> None:
    watcher = Watcher()
    policy = GuardPolicy(patterns=(Pattern("explosive", "(?:a{0,2}){0,31}b"),))
    guarding = await answer_guard("hello", policy, watcher)
    assert said(await got([text("fine, "), text("a" * 64 + " ")], guarding)) == "fine, "
    assert guarding.ended_by is FinishReason.CONTENT_FILTER
    assert watcher.verdicts[-1] == (Direction.OUTPUT, TIME_LIMIT, BLOCK)


async def test_the_least_policy_holds_the_least() -> None:
    guarding = await answer_guard("hello", GuardPolicy(output={Pii.CARD: REDACT}))
    found = await got([text("Hello"), text(" wor"), text("ld 4"), text("2 times")], guarding)
    assert [list(each.text) for each in found] == [["Hello"], [" wor"], ["ld "], ["42 times"]]
