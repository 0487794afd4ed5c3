"""Says what the cache makes of a question, without answering it."""

from __future__ import annotations

from dataclasses import dataclass

from services.cache.domain.eligibility import BypassReason, bypass_reason
from services.cache.domain.key import AnswerKey, exact_key, semantic_partition
from services.cache.domain.model import Question
from services.cache.domain.ports import AnswerStore


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why not, if not; the keys; and whether an answer is there."""

    bypass_reason: BypassReason | None
    key: AnswerKey
    partition: AnswerKey
    stored: bool


class Explain:
    """Reads only, and counts as no lookup."""

    def __init__(self, *, answers: AnswerStore) -> None:
        self._answers = answers

    async def explain(self, question: Question) -> Explanation:
        """SERVICE_UNAVAILABLE when the store is away."""
        key = exact_key(question)
        reason = bypass_reason(question)
        # What may not be cached is not looked for either: nothing would ever find it.
        stored = reason is None and await self._answers.get(key) is not None
        return Explanation(reason, key, semantic_partition(question), stored)
