"""What the semantic tier demands of an answer to another question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.cache.domain.calibration import Measure
from services.cache.domain.lexical_guard.guard import CONTRADICTIONS


class Scored(Protocol):
    """An answer that might be given."""

    @property
    def similarity(self) -> float:
        """The cosine of its question."""
        ...

    @property
    def votes(self) -> float:
        """Its share of the votes of the questions nearby."""
        ...

    @property
    def objection(self) -> str | None:
        """What the lexical guard says against it."""
        ...


@dataclass(frozen=True, slots=True)
class Demand:
    """The least cosine, and the least share of the votes; above 1 where none is enough."""

    similarity: float = 0.0
    # 0: they are not counted.
    votes: float = 0.0

    @property
    def measure(self) -> Measure:
        """What labels are about: the rest is not learnt."""
        return Measure.VOTES if self.votes else Measure.COSINE

    @property
    def threshold(self) -> float:
        """Of what is learnt."""
        return self.votes or self.similarity

    @property
    def considered(self) -> int:
        """How many are looked at for one that the guard lets pass. Where a cosine is demanded the nearest alone: else
        the guard would only choose what is further off.
        """
        return 1 if self.similarity else 4

    def vetoes(self, objection: str | None) -> bool:
        """Where a cosine is demanded, whatever the guard objects. Where votes alone decide, a contradiction: that
        another noun is named is what they can tell.
        """
        return objection is not None if self.similarity else objection in CONTRADICTIONS

    def score(self, answer: Scored) -> float:
        """By the measure."""
        return answer.votes if self.votes else answer.similarity

    def learns_from(self, answer: Scored) -> bool:
        """Whether it could be a hit, whatever is learnt of the measure."""
        return not self.votes or answer.similarity >= self.similarity

    def met(self, answer: Scored) -> bool:
        """Whether it is near enough; the guard is asked apart."""
        return answer.similarity >= self.similarity and answer.votes >= self.votes
