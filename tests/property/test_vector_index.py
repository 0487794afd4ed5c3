"""The index does what a plain list would, whatever is put, taken out, and expires, at the cap and below it."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.cache.domain.key import AnswerKey
from services.cache.domain.ports import IndexEntry
from tests.contract.vector_indexes import TOLERANCE, in_faiss, in_memory, key, single

# Above FEW_ROWS, so that partitions change their form.
MAX_ENTRIES = 120
ORGANISATIONS = st.sampled_from(["acme", "globex", "initech"])
PARTITIONS = st.sampled_from(["p", "q"])
NAMES = st.integers(0, 150).map(str)
SECONDS = st.integers(1, 30)


class IndexMachine(RuleBasedStateMachine):
    """`plain` is the truth; the index may choose which of equals it evicts, and then the truth follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.tried = in_faiss(max_entries=MAX_ENTRIES)
        self.plain: dict[AnswerKey, IndexEntry] = {}

    @rule(name=NAMES, organisation=ORGANISATIONS, partition=PARTITIONS, seconds=SECONDS)
    def put(self, name: str, organisation: str, partition: str, seconds: int) -> None:
        self._put(self.tried.entry(name, organisation=organisation, partition=partition, ttl_seconds=seconds))

    @rule(first=st.integers(0, 150), many=st.integers(10, 130), organisation=ORGANISATIONS, seconds=SECONDS)
    def put_many(self, first: int, many: int, organisation: str, seconds: int) -> None:
        for number in range(first, first + many):
            self._put(self.tried.entry(str(number), organisation=organisation, ttl_seconds=seconds))

    @rule(name=NAMES, organisation=ORGANISATIONS)
    def remove(self, name: str, organisation: str) -> None:
        self.tried.index.remove(key(name, organisation))
        self.plain.pop(key(name, organisation), None)

    @precondition(lambda self: self.plain)
    @rule(draw=st.randoms(use_true_random=False), many=st.integers(1, 100))
    def remove_many(self, draw: object, many: int) -> None:
        keys = list(self.plain)
        draw.shuffle(keys)  # type: ignore[attr-defined] # a random.Random
        for each in keys[:many]:
            self.tried.index.remove(each)
            del self.plain[each]

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.tried.clock.advance(seconds)
        self._expire()

    @rule(asked=NAMES, organisation=ORGANISATIONS, partition=PARTITIONS, limit=st.sampled_from([1, 3, 200]))
    def nearest(self, asked: str, organisation: str, partition: str, limit: int) -> None:
        simple = in_memory()
        for each in self.plain.values():
            simple.index.put(IndexEntry(each.key, each.partition, each.vector, each.expires_at + 1e9))
        where = self.tried.entry("x", partition=partition).partition
        found = self.tried.index.nearest(organisation, where, single(asked), limit=limit)
        wanted = simple.index.nearest(organisation, where, single(asked), limit=limit)
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert abs(one.similarity - other.similarity) < TOLERANCE
        if limit >= len(self.plain):
            assert {each.key for each in found} == {each.key for each in wanted}

    @invariant()
    def it_holds_what_lives_and_no_more(self) -> None:
        for _ in range(2):  # whatever has expired is gone with these: a hundred with each
            self.tried.index.nearest("nobody", b"", single("x"), limit=1)
        assert len(self.tried.index) == len(self.plain) <= MAX_ENTRIES

    def _put(self, entry: IndexEntry) -> None:
        evicted = self.tried.index.put(entry)
        self.plain.pop(entry.key, None)
        self.plain[entry.key] = entry
        assert (evicted is not None) == (len(self.plain) > MAX_ENTRIES)
        if evicted is not None:
            self._check_fair(evicted)
            del self.plain[evicted]

    def _check_fair(self, evicted: AnswerKey) -> None:
        of = Counter(each.organisation for each in self.plain)
        assert of[evicted.organisation] == max(of.values())
        due = [each.expires_at for each in self.plain.values() if each.key.organisation == evicted.organisation]
        assert self.plain[evicted].expires_at == min(due)

    def _expire(self) -> None:
        now = self.tried.clock.now()
        self.plain = {name: each for name, each in self.plain.items() if each.expires_at > now}


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
