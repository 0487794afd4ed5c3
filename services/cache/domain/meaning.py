"""By what the semantic tier knows a question."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.cache.domain.key import last_user_text, semantic_partition
from services.cache.domain.model import Question, Tier
from services.cache.domain.ports import Encoder, EncoderBusyError
from services.cache.domain.semantic_eligibility import semantic_bypass
from services.cache.domain.stats import SemanticResult

# Of fewer an encoder makes little that tells them apart.
_LEAST_TOKENS = 3
# Why there is none where exact answers alone are wanted.
_TIER = "tier"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What was asked last, as words and as a direction; and the partition, in which all else is the same."""

    asked: str
    partition: bytes
    vector: bytes = field(repr=False)


class Meanings:
    """Of questions that the semantic tier may look at."""

    def __init__(self, *, encoder: Encoder) -> None:
        self._encoder = encoder

    def refusal(self, question: Question, tier: Tier) -> str | None:
        """Why it has none; at once, so that a question may still turn out to have none. None where it may have one."""
        return semantic_bypass(question) if tier > Tier.EXACT else _TIER

    async def of(self, question: Question, tier: Tier) -> Meaning | SemanticResult:
        """Its meaning, or why it has none."""
        if self.refusal(question, tier) is not None:
            return SemanticResult.INELIGIBLE
        asked = last_user_text(question)
        try:
            embedding = await self._encoder.embed(asked)
        except EncoderBusyError:
            return SemanticResult.SHED
        if embedding.tokens < _LEAST_TOKENS:
            return SemanticResult.TOO_SHORT
        if not embedding.vector:
            return SemanticResult.NOT_EMBEDDED
        return Meaning(asked, semantic_partition(question).digest, embedding.vector)
