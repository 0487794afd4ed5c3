"""The cache's answers in memory."""

from __future__ import annotations

from libs.clock import Clock
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import StoredAnswer
from services.cache.domain.ports import Everything, OfModel, Selection, WithTag


class InMemoryAnswers:
    """An AnswerStore for tests. `error` is raised by every call while it is set: the store is away."""

    def __init__(self, *, clock: Clock) -> None:
        self.error: Exception | None = None
        self._clock = clock
        self._answers: dict[AnswerKey, StoredAnswer] = {}

    async def get(self, key: AnswerKey) -> StoredAnswer | None:
        self._fail_if_away()
        answer = self._answers.get(key)
        return answer if answer is not None and self._lives(answer) else None

    async def put(self, key: AnswerKey, answer: StoredAnswer) -> None:
        self._fail_if_away()
        if self._lives(answer):
            self._answers[key] = answer

    async def drop(self, organisation: str, selection: Selection) -> int:
        self._fail_if_away()
        selected = [
            key
            for key, answer in self._answers.items()
            if key.organisation == organisation and _selects(selection, answer)
        ]
        return sum(self._lives(self._answers.pop(key)) for key in selected)

    def _lives(self, answer: StoredAnswer) -> bool:
        return answer.expires_at > self._clock.now()

    def _fail_if_away(self) -> None:
        if self.error is not None:
            raise self.error


def _selects(selection: Selection, answer: StoredAnswer) -> bool:
    match selection:
        case Everything():
            return True
        case OfModel(model):
            return answer.model == model
        case WithTag(tag):
            return tag in answer.tags
