"""What every AnswerStore must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.testing.valkey import RedisServer
from services.cache.domain.selection import Everything, OfModel, Selection, WithTag
from tests.contract.answer_stores import MANY, Tried, in_memory, in_redis, key

# Names that try to end the hash tag early, to look like another's index, or to be a pattern.
ODD_NAMES = ["acme}", "{acme}", "acme}:all", "acme:model:small", "*", "a b", "ä", "acme%7D"]


@pytest.fixture(params=["in_memory", "valkey_server", "redis_server"])
async def tried(request: pytest.FixtureRequest) -> AsyncIterator[Tried]:
    """A test that is marked so has another cap."""
    cap = request.node.get_closest_marker("max_answers")
    max_answers = cap.args[0] if cap else MANY
    if request.param == "in_memory":
        yield in_memory(max_answers=max_answers)
        return
    server = request.getfixturevalue(request.param)
    assert isinstance(server, RedisServer)
    server.flush()
    async with in_redis(server.url, max_answers=max_answers) as store:
        yield store


async def test_an_answer_comes_back_exactly_as_it_was_put(tried: Tried) -> None:
    answer = tried.answer("Zoë 🎈\r\n\x00", tags=("doc=7", "page=2"))
    await tried.answers.put(key("q"), answer)
    assert await tried.answers.get(key("q")) == answer


async def test_where_nothing_was_put_there_is_nothing(tried: Tried) -> None:
    await tried.answers.put(key("q"), tried.answer())
    assert await tried.answers.get(key("another")) is None


async def test_the_same_digest_of_another_organisation_finds_nothing(tried: Tried) -> None:
    await tried.answers.put(key("q", "acme"), tried.answer())
    for name in ("globex", *ODD_NAMES):
        assert await tried.answers.get(key("q", name)) is None


async def test_the_last_put_stands(tried: Tried) -> None:
    await tried.answers.put(key("q"), tried.answer("old"))
    await tried.answers.put(key("q"), new := tried.answer("new"))
    assert await tried.answers.get(key("q")) == new


async def test_of_many_puts_at_once_one_stands_whole(tried: Tried) -> None:
    answers = [tried.answer(text * 50) for text in ("aa", "bbbb", "c")]
    await asyncio.gather(*(tried.answers.put(key("q"), answer) for answer in answers * 10))
    assert await tried.answers.get(key("q")) in answers


async def test_an_answer_ends_when_it_expires(tried: Tried) -> None:
    await tried.answers.put(key("q"), tried.answer(ttl_seconds=60))
    tried.clock.advance(59.9)
    assert await tried.answers.get(key("q"))
    tried.clock.advance(0.1)
    assert await tried.answers.get(key("q")) is None


async def test_being_read_does_not_let_it_live_longer(tried: Tried) -> None:
    await tried.answers.put(key("q"), tried.answer(ttl_seconds=60))
    for _ in range(7):
        tried.clock.advance(9)
        await tried.answers.get(key("q"))
    assert await tried.answers.get(key("q")) is None


async def test_what_has_expired_already_is_not_stored(tried: Tried) -> None:
    await tried.answers.put(key("q"), tried.answer(ttl_seconds=0))
    assert await tried.answers.get(key("q")) is None


async def test_to_join_a_family_changes_no_answer_and_makes_none(tried: Tried) -> None:
    await tried.answers.put(key("q"), answer := tried.answer())
    for name in ("q", "absent"):
        await tried.answers.join(key(name), bytes(16))
    assert await tried.answers.get(key("q")) == answer
    assert await tried.answers.get(key("absent")) is None
    assert await tried.answers.count("acme") == 1


async def test_all_of_an_organisation_can_be_dropped(tried: Tried) -> None:
    for name in "abc":
        await tried.answers.put(key(name), tried.answer())
    assert await tried.answers.drop("acme", Everything()) == 3
    assert [await tried.answers.get(key(name)) for name in "abc"] == [None] * 3


async def test_dropping_again_drops_nothing(tried: Tried) -> None:
    await tried.answers.put(key("q"), tried.answer())
    assert [await tried.answers.drop("acme", Everything()) for _ in range(2)] == [1, 0]


async def test_a_model_s_answers_can_be_dropped_alone(tried: Tried) -> None:
    await tried.answers.put(key("s"), tried.answer(model="small"))
    await tried.answers.put(key("l"), tried.answer(model="large"))
    assert await tried.answers.drop("acme", OfModel("small")) == 1
    assert await tried.answers.get(key("s")) is None
    assert await tried.answers.get(key("l"))


async def test_one_revision_of_a_model_can_be_dropped_alone(tried: Tried) -> None:
    await tried.answers.put(key("old"), tried.answer(revision="1"))
    await tried.answers.put(key("new"), tried.answer(revision="2"))
    await tried.answers.put(key("unnamed"), tried.answer(revision=""))
    await tried.answers.put(key("alike"), tried.answer(model="small:1", revision=""))
    assert await tried.answers.drop("acme", OfModel("small", "1")) == 1
    assert await tried.answers.get(key("old")) is None
    assert await tried.answers.drop("acme", OfModel("small")) == 2
    assert await tried.answers.get(key("alike"))


async def test_answers_with_a_tag_can_be_dropped_alone(tried: Tried) -> None:
    await tried.answers.put(key("both"), tried.answer(tags=("doc=1", "doc=2")))
    await tried.answers.put(key("one"), tried.answer(tags=("doc=1",)))
    await tried.answers.put(key("none"), tried.answer())
    assert await tried.answers.drop("acme", WithTag("doc=2")) == 1
    assert await tried.answers.get(key("both")) is None
    assert await tried.answers.drop("acme", WithTag("doc=1")) == 1
    assert await tried.answers.get(key("none"))


async def test_a_tag_is_no_model_and_no_pattern(tried: Tried) -> None:
    await tried.answers.put(key("q"), tried.answer(model="m", tags=("t=1",)))
    for selection in (OfModel("t=1"), WithTag("m"), WithTag("*"), OfModel("*"), WithTag("t=")):
        assert await tried.answers.drop("acme", selection) == 0


@pytest.mark.parametrize("other", ["globex", *ODD_NAMES])
async def test_dropping_touches_no_other_organisation(tried: Tried, other: str) -> None:
    await tried.answers.put(key("q", other), tried.answer(tags=("t=1",)))
    for selection in (Everything(), OfModel("small"), WithTag("t=1")):
        assert await tried.answers.drop("acme", selection) == 0
    assert await tried.answers.get(key("q", other))
    assert await tried.answers.drop(other, Everything()) == 1


async def test_no_name_reaches_into_another_organisation_s_indexes(tried: Tried) -> None:
    await tried.answers.put(key("q"), tried.answer(model="x}:all"))
    assert await tried.answers.drop("acme}:model:x", Everything()) == 0
    assert await tried.answers.drop("acme", OfModel("x}:all")) == 1


async def test_an_expired_answer_is_not_counted_as_dropped(tried: Tried) -> None:
    await tried.answers.put(key("short"), tried.answer(ttl_seconds=1))
    tried.clock.advance(2)
    await tried.answers.put(key("long"), tried.answer())
    assert await tried.answers.drop("acme", Everything()) == 1


async def test_more_can_be_dropped_than_goes_in_one_step(tried: Tried) -> None:
    names = [str(number) for number in range(1_001)]
    for name in names:
        await tried.answers.put(key(name), tried.answer("x"))
    assert await tried.answers.drop("acme", Everything()) == len(names)
    assert await tried.answers.get(key("1000")) is None


@pytest.mark.parametrize(
    "selection", [Everything(), OfModel("small"), OfModel("small", "1"), WithTag("doc=1"), None], ids=str
)
async def test_what_was_asked_for_before_a_drop_of_it_is_not_stored(tried: Tried, selection: Selection | None) -> None:
    answer, before = tried.answer(tags=("doc=1", "doc=2")), await tried.answers.as_of("acme")
    if selection is None:
        await tried.answers.evict(key("q"))
    else:
        await tried.answers.drop("acme", selection)
    for as_of in (before, 0):
        assert not await tried.answers.put(key("q"), answer, as_of=as_of)
    assert await tried.answers.get(key("q")) is None
    assert await tried.answers.put(key("q"), answer, as_of=await tried.answers.as_of("acme"))
    assert await tried.answers.get(key("q")) == answer


async def test_what_a_drop_was_not_about_is_stored_whenever_it_was_asked_for(tried: Tried) -> None:
    before = await tried.answers.as_of("acme")
    for selection in (
        OfModel("large"),
        OfModel("small", "2"),
        WithTag("doc=2"),
        WithTag("all"),
        WithTag("model:small"),
    ):
        await tried.answers.drop("acme", selection)
    await tried.answers.evict(key("another"))
    await tried.answers.drop("globex", Everything())
    for as_of in (before, 0):
        assert await tried.answers.put(key("q"), tried.answer(tags=("doc=1",)), as_of=as_of)


async def test_each_drop_can_be_told_from_the_one_before_it(tried: Tried) -> None:
    numbers = [await tried.answers.as_of("acme")]
    for _ in range(3):
        await tried.answers.drop("acme", Everything())
        numbers.append(await tried.answers.as_of("acme"))
    assert 0 < numbers[0] < numbers[1] < numbers[2] < numbers[3]


async def test_one_answer_is_evicted_and_no_other(tried: Tried) -> None:
    for name in ("q", "other"):
        await tried.answers.put(key(name), tried.answer(tags=("doc=7",)))
    await tried.answers.put(key("q", "globex"), tried.answer())

    assert [await tried.answers.evict(key("q")), await tried.answers.evict(key("q"))] == [True, False]
    assert await tried.answers.get(key("q")) is None
    assert await tried.answers.get(key("other")) is not None
    assert await tried.answers.get(key("q", "globex")) is not None
    assert await tried.answers.drop("acme", WithTag("doc=7")) == 1


async def test_answers_are_counted_until_they_expire(tried: Tried) -> None:
    await tried.answers.put(key("q"), tried.answer(ttl_seconds=60))
    await tried.answers.put(key("soon"), tried.answer(ttl_seconds=10))
    await tried.answers.put(key("gone"), tried.answer())
    await tried.answers.evict(key("gone"))

    assert [await tried.answers.count(each) for each in ("acme", "globex")] == [2, 0]
    tried.clock.advance(20)
    assert await tried.answers.count("acme") == 1


async def names_left(tried: Tried, organisation: str, names: str) -> str:
    return "".join([each for each in names if await tried.answers.get(key(each, organisation))])


@pytest.mark.max_answers(5)
@pytest.mark.parametrize("other", ["globex", *ODD_NAMES])
async def test_beyond_the_cap_who_has_the_most_loses_what_would_expire_next(tried: Tried, other: str) -> None:
    for name in "ab":
        await tried.answers.put(key(name, other), tried.answer(ttl_seconds=10))
    for name, ttl_seconds in (("c", 90), ("d", 80), ("e", 70), ("f", 60), ("g", 100)):
        await tried.answers.put(key(name), tried.answer(ttl_seconds=ttl_seconds))
    assert await names_left(tried, "acme", "cdefg") == "cdg"
    assert await names_left(tried, other, "ab") == "ab"
    assert await tried.answers.drop("acme", Everything()) == 3


@pytest.mark.max_answers(3)
async def test_what_has_expired_takes_no_room(tried: Tried) -> None:
    for name in "abc":
        await tried.answers.put(key(name, "globex"), tried.answer(ttl_seconds=10))
    tried.clock.advance(11)
    for name in "def":
        await tried.answers.put(key(name), tried.answer())
    assert await names_left(tried, "acme", "def") == "def"


@pytest.mark.max_answers(3)
async def test_what_made_room_may_be_stored_again(tried: Tried) -> None:
    before = await tried.answers.as_of("acme")
    for name in "abcd":
        await tried.answers.put(key(name), tried.answer())
    [gone] = set("abcd") - set(await names_left(tried, "acme", "abcd"))
    assert await tried.answers.put(key(gone), tried.answer(ttl_seconds=90), as_of=before)
    assert await names_left(tried, "acme", gone) == gone


async def test_an_answer_that_was_dropped_by_its_tag_is_not_counted(tried: Tried) -> None:
    await tried.answers.put(key("q"), tried.answer(tags=("doc=1",)))
    await tried.answers.drop("acme", WithTag("doc=1"))
    assert await tried.answers.count("acme") == 0
