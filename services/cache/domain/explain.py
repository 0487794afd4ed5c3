"""Says what the cache makes of a question, without answering it."""

from __future__ import annotations

from dataclasses import dataclass

from services.cache.domain.eligibility import BypassReason, bypass_reason
from services.cache.domain.key import AnswerKey, exact_key, semantic_partition
from services.cache.domain.model import Question, Tier
from services.cache.domain.ports import AnswerStore
from services.cache.domain.semantic import Semantic, Surroundings

_NEIGHBOURS = 5
# No organisation of this mesh has a semantic tier.
_OFF = Surroundings("off")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why not, if not; the keys; whether an answer is there, and what is near the question."""

    bypass_reason: BypassReason | None
    key: AnswerKey
    partition: AnswerKey
    stored: bool
    surroundings: Surroundings


class Explain:
    """Reads only, and counts as no lookup."""

    def __init__(self, *, answers: AnswerStore, semantic: Semantic | None = None) -> None:
        self._answers = answers
        self._semantic = semantic

    async def explain(self, question: Question, tier: Tier = Tier.EXACT) -> Explanation:
        """SERVICE_UNAVAILABLE when the store is away."""
        key = exact_key(question)
        reason = bypass_reason(question)
        # What may not be cached is not looked for either: nothing would ever find it.
        stored = reason is None and await self._answers.get(key) is not None
        return Explanation(reason, key, semantic_partition(question), stored, await self._near(question, tier, reason))

    async def _near(self, question: Question, tier: Tier, reason: BypassReason | None) -> Surroundings:
        if reason is not None:
            return Surroundings(reason)
        return await self._semantic.near(question, tier, limit=_NEIGHBOURS) if self._semantic else _OFF
