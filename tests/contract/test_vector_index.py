"""What every VectorIndex must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.contract.vector_indexes import TOLERANCE, TriedIndex, in_faiss, in_memory, key, single

Make = Callable[..., TriedIndex]


@pytest.fixture(params=[in_memory, in_faiss])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


@pytest.fixture
def tried(make: Make) -> TriedIndex:
    return make()


def test_the_nearest_comes_first_with_its_cosine(tried: TriedIndex) -> None:
    for name, asked in (("far", "q~0.5"), ("same", "q"), ("near", "q~0.9"), ("opposite", "q~-0.9")):
        tried.put(name, asked=asked)
    assert tried.names("q") == ["same", "near", "far", "opposite"]
    near = tried.index.nearest("acme", tried.entry("x").partition, single("q"), limit=10)
    assert [each.similarity for each in near] == pytest.approx([1, 0.9, 0.5, -0.9], abs=TOLERANCE)


def test_no_more_come_than_were_asked_for(tried: TriedIndex) -> None:
    for number in range(5):
        tried.put(str(number), asked=f"q~0.{9 - number}")
    assert tried.names("q", limit=2) == ["0", "1"]


def test_another_partition_s_and_another_organisation_s_are_never_found(tried: TriedIndex) -> None:
    tried.put("own", asked="q~0.1")
    tried.put("other", asked="q", partition="another")
    tried.put("foreign", asked="q", organisation="globex")
    assert tried.names("q") == ["own"]
    assert tried.names("q", organisation="initech") == tried.names("q", partition="empty") == []


def test_each_is_of_its_own_family_until_it_joins_another(tried: TriedIndex) -> None:
    for name in ("one", "two", "three"):
        tried.put(name, asked=name)
    families = [tried.entry(each).own_family for each in ("one", "gone")]
    tried.index.join(key("two"), families[0])
    tried.index.join(key("three"), families[1])
    assert tried.family("one") == tried.family("two") == families[0]
    assert tried.family("three") == families[1]
    tried.index.remove(key("one"))
    assert tried.family("two") == families[0]


def test_who_is_put_anew_is_of_the_family_that_it_comes_with(tried: TriedIndex) -> None:
    tried.put("one", asked="a")
    other = tried.entry("other").own_family
    tried.index.join(key("one"), other)
    tried.put("one", asked="a")
    assert tried.family("one", asked="a") == tried.entry("one").own_family
    tried.index.put(replace(tried.entry("one", asked="a"), family=other))
    assert tried.family("one", asked="a") == other


def test_whose_family_it_was_is_of_another_when_it_is_put_anew(tried: TriedIndex) -> None:
    tried.put("one", asked="a")
    tried.put("two", asked="b")
    tried.index.join(key("two"), tried.family("one", asked="a"))
    tried.clock.advance(1)
    tried.put("one", asked="a")
    assert tried.family("one", asked="a") != tried.family("two", asked="b")


def test_who_is_not_there_joins_nothing(tried: TriedIndex) -> None:
    tried.put("one", asked="a")
    for absent in (key("two"), key("one", "globex")):
        tried.index.join(absent, tried.entry("other").own_family)
    assert (tried.family("one", asked="a"), len(tried.index)) == (tried.entry("one").own_family, 1)


def test_the_same_digest_in_two_organisations_is_two_entries(tried: TriedIndex) -> None:
    tried.put("one", asked="a")
    tried.put("one", asked="b", organisation="globex")
    tried.index.remove(key("one"))
    assert (tried.names("a"), tried.names("b", organisation="globex")) == ([], ["one"])


def test_an_entry_that_is_put_again_is_there_once_and_where_it_was_put_last(tried: TriedIndex) -> None:
    tried.put("one", asked="a", partition="old")
    tried.put("one", asked="b", ttl_seconds=1_000)
    assert (tried.names("a", partition="old"), tried.names("b"), len(tried.index)) == ([], ["one"], 1)
    tried.clock.advance(999)
    assert tried.names("b") == ["one"]


def test_what_is_removed_is_gone_and_the_others_stay(tried: TriedIndex) -> None:
    for name in "abcd":
        tried.put(name)
    for name in ("b", "d", "d", "never there"):
        tried.index.remove(key(name))
    assert (set(tried.names("a")), len(tried.index)) == ({"a", "c"}, 2)
    assert tried.names("c", limit=1) == ["c"]


def test_an_entry_is_found_until_it_expires_and_no_longer(tried: TriedIndex) -> None:
    tried.put("short", ttl_seconds=10)
    tried.put("long", ttl_seconds=20)
    tried.clock.advance(9.9)
    assert tried.names("short", limit=1) == ["short"]
    tried.clock.advance(0.1)
    assert tried.names("short") == ["long"]
    tried.clock.advance(10)
    assert tried.names("short") == []


def test_what_has_expired_already_is_not_taken_in_and_takes_the_old_one_away(tried: TriedIndex) -> None:
    tried.put("one")
    tried.put("one", ttl_seconds=0)
    assert (tried.names("one"), len(tried.index)) == ([], 0)


def test_forgetting_all_leaves_nothing_and_goes_on(tried: TriedIndex) -> None:
    tried.put("a")
    tried.put("b", organisation="globex")
    tried.index.clear()
    assert (tried.names("a"), len(tried.index)) == ([], 0)
    tried.put("a")
    assert tried.names("a") == ["a"]


def test_at_the_cap_the_largest_organisation_loses_what_would_expire_next(make: Make) -> None:
    tried = make(max_entries=5)
    tried.put("mine", organisation="globex", ttl_seconds=1)
    for number in (3, 1, 2, 4):
        assert tried.put(str(number), ttl_seconds=10 * number) is None
    assert tried.put("new", ttl_seconds=100) == key("1")
    assert tried.put("its", organisation="globex") == key("2")
    assert (len(tried.index), set(tried.names("q"))) == (5, {"3", "4", "new"})
    assert set(tried.names("q", organisation="globex")) == {"mine", "its"}


def test_the_one_that_is_put_may_be_the_one_that_goes(make: Make) -> None:
    tried = make(max_entries=2)
    tried.put("a")
    tried.put("b")
    assert tried.put("c", ttl_seconds=1) == key("c")
    assert set(tried.names("a")) == {"a", "b"}


def test_nothing_that_lives_makes_room_while_there_is_something_expired(make: Make) -> None:
    tried = make(max_entries=3)
    tried.put("old", organisation="globex", ttl_seconds=1)
    tried.put("a")
    tried.put("b")
    tried.clock.advance(1)
    assert tried.put("c") is None
    assert set(tried.names("a")) == {"a", "b", "c"}


def test_an_entry_that_is_put_again_at_the_cap_costs_nobody_a_place(make: Make) -> None:
    tried = make(max_entries=2)
    tried.put("a")
    tried.put("b")
    assert tried.put("a", asked="c") is None
    assert set(tried.names("a")) == {"a", "b"}


def many_expired(tried: TriedIndex) -> TriedIndex:
    """All but one of 351 have expired."""
    for number in range(350):
        tried.put(str(number), asked="q", ttl_seconds=1)
    tried.put("long", asked="q~0.5", ttl_seconds=10)
    tried.clock.advance(1)
    return tried


def test_where_many_expire_at_once_none_is_found_and_the_others_soon_are(tried: TriedIndex) -> None:
    many_expired(tried)
    for _ in range(4):
        assert set(tried.names("q", limit=4)) <= {"long"}
    assert tried.names("q") == ["long"]


def test_no_call_takes_out_all_of_many_that_expire_at_once() -> None:
    tried = many_expired(in_faiss())
    lengths = [len(tried.index) for _ in range(4) if tried.names("q") is not None]
    assert lengths == [251, 151, 51, 1]
