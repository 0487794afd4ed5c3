"""The cache's answers in memory."""

from __future__ import annotations

import struct
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection

from libs.clock import Clock
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import StoredAnswer
from services.cache.domain.ports import IndexEntry, VectorIndex
from services.cache.domain.selection import Everything, OfModel, Selection, WithTag, selections_of

_HOUR_MICROSECONDS = 3_600 * 1_000_000


class InMemoryAnswers:
    """An AnswerStore for tests. `error` is raised by every call while it is set: the store is away.

    `index` is that of the only replica, and learns at once of what is put. `max_answers` is the cap over all
    organisations.
    """

    def __init__(self, *, clock: Clock, index: VectorIndex | None = None, max_answers: int = 100_000) -> None:
        self.error: Exception | None = None
        self._clock = clock
        self._index = index
        self._max_answers = max_answers
        self._answers: dict[AnswerKey, StoredAnswer] = {}
        # By organisation, what was dropped and when, in microseconds; a number more where two are at once.
        self._drops: defaultdict[str, dict[Selection | AnswerKey, int]] = defaultdict(dict)

    async def get(self, key: AnswerKey) -> StoredAnswer | None:
        self._fail_if_away()
        answer = self._answers.get(key)
        return answer if answer is not None and self._lives(answer) else None

    async def as_of(self, organisation: str) -> int:
        self._fail_if_away()
        return max(self._drops[organisation].values(), default=1)

    async def put(self, key: AnswerKey, answer: StoredAnswer, *, as_of: int = 0, vector: bytes = b"") -> bool:
        self._fail_if_away()
        selections = selections_of(answer.model, answer.model_revision, answer.tags)
        if self.dropped(key, selections, as_of=as_of or self._now() - _HOUR_MICROSECONDS):
            return False
        if not self._lives(answer):
            return True
        self._answers[key] = answer
        self._make_room()
        if vector and self._index is not None:
            halves = array("f", vector)
            packed = struct.pack(f"<{len(halves)}e", *halves)
            self._index.put(IndexEntry(key, answer.partition, packed, answer.expires_at))
        return True

    def _make_room(self) -> None:
        living = Counter(key.organisation for key, answer in self._answers.items() if self._lives(answer))
        if living.total() > self._max_answers:
            most = living.most_common(1)[0][0]
            its = {key: each.expires_at for key, each in self._answers.items() if key.organisation == most}
            del self._answers[min((each for each in its if self._lives(self._answers[each])), key=its.__getitem__)]

    def dropped(self, key: AnswerKey, selections: Collection[Selection], *, as_of: int) -> bool:
        """Whether any of these was, or this answer."""
        return any(self._drops[key.organisation].get(each, 0) > as_of for each in (key, *selections))

    async def drop(self, organisation: str, selection: Selection) -> int:
        self._fail_if_away()
        self._note(organisation, selection)
        selected = [
            key
            for key, answer in self._answers.items()
            if key.organisation == organisation and _selects(selection, answer)
        ]
        if self._index is not None:
            for each in selected:
                self._index.remove(each)
        return sum(self._lives(self._answers.pop(key)) for key in selected)

    async def join(self, key: AnswerKey, family: bytes) -> None:
        self._fail_if_away()
        if key in self._answers and self._index is not None:
            self._index.join(key, family)

    async def evict(self, key: AnswerKey) -> bool:
        self._fail_if_away()
        self._note(key.organisation, key)
        answer = self._answers.pop(key, None)
        return answer is not None and self._lives(answer)

    async def count(self, organisation: str) -> int:
        self._fail_if_away()
        return sum(key.organisation == organisation and self._lives(each) for key, each in self._answers.items())

    def _note(self, organisation: str, what: Selection | AnswerKey) -> None:
        drops = self._drops[organisation]
        drops[what] = max(self._now(), max(drops.values(), default=1) + 1)

    def _now(self) -> int:
        return int(self._clock.now() * 1e6)

    def _lives(self, answer: StoredAnswer) -> bool:
        return answer.expires_at > self._clock.now()

    def _fail_if_away(self) -> None:
        if self.error is not None:
            raise self.error


def _selects(selection: Selection, answer: StoredAnswer) -> bool:
    match selection:
        case Everything():
            return True
        case OfModel(model, revision):
            return answer.model == model and revision in ("", answer.model_revision)
        case WithTag(tag):
            return tag in answer.tags
