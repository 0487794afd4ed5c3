"""The cache's answers in memory."""

from __future__ import annotations

import struct
from array import array

from libs.clock import Clock
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import StoredAnswer
from services.cache.domain.ports import Everything, IndexEntry, OfModel, Selection, VectorIndex, WithTag


class InMemoryAnswers:
    """An AnswerStore for tests. `error` is raised by every call while it is set: the store is away.

    `index` is that of the only replica, and learns at once of what is put.
    """

    def __init__(self, *, clock: Clock, index: VectorIndex | None = None) -> None:
        self.error: Exception | None = None
        self._clock = clock
        self._index = index
        self._answers: dict[AnswerKey, StoredAnswer] = {}

    async def get(self, key: AnswerKey) -> StoredAnswer | None:
        self._fail_if_away()
        answer = self._answers.get(key)
        return answer if answer is not None and self._lives(answer) else None

    async def put(self, key: AnswerKey, answer: StoredAnswer, *, vector: bytes = b"") -> None:
        self._fail_if_away()
        if not self._lives(answer):
            return
        self._answers[key] = answer
        if vector and self._index is not None:
            halves = array("f", vector)
            packed = struct.pack(f"<{len(halves)}e", *halves)
            self._index.put(IndexEntry(key, answer.partition, packed, answer.expires_at))

    async def drop(self, organisation: str, selection: Selection) -> int:
        self._fail_if_away()
        selected = [
            key
            for key, answer in self._answers.items()
            if key.organisation == organisation and _selects(selection, answer)
        ]
        if self._index is not None:
            for each in selected:
                self._index.remove(each)
        return sum(self._lives(self._answers.pop(key)) for key in selected)

    async def evict(self, key: AnswerKey) -> bool:
        self._fail_if_away()
        answer = self._answers.pop(key, None)
        return answer is not None and self._lives(answer)

    async def count(self, organisation: str) -> int:
        self._fail_if_away()
        return sum(key.organisation == organisation and self._lives(each) for key, each in self._answers.items())

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
