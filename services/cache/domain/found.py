"""What a lookup has found, and the events in which it tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.cache.domain.eligibility import BypassReason
from services.cache.domain.flight import Follow, Lead
from services.cache.domain.key import AnswerKey
from services.cache.domain.model import StoredAnswer


class Kind(StrEnum):
    """Which tier found an answer."""

    EXACT = "exact"
    SEMANTIC = "semantic"


@dataclass(frozen=True, slots=True)
class Hit:
    """The answer, how old it is, and how like its question this one is: a cosine, 1 where it is the same."""

    answer: StoredAnswer
    age_seconds: float
    kind: Kind = Kind.EXACT
    similarity: float = 1.0
    # What the semantic tier demanded, a cosine or, where votes were counted, a share of them; 0 where it was not asked.
    threshold: float = 0.0
    # The answer's share of the votes of the questions nearby; 0 where they were not counted.
    votes: float = 0.0
    # Where the answer lies.
    key: AnswerKey | None = None


@dataclass(frozen=True, slots=True)
class Miss:
    """There is none."""


@dataclass(frozen=True, slots=True)
class Bypass:
    """This question may not be cached."""

    reason: BypassReason


@dataclass(frozen=True, slots=True)
class SemanticMiss:
    """Why the semantic tier gives no answer: "none", "guard", "threshold", "shed", "late" …"""

    reason: str
    # What it demanded, a cosine or a share of the votes; 0 where it did not come so far.
    threshold: float = 0.0
    # What the lexical guard has against the nearest answer, if it was that.
    objection: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict. While the semantic tier is looking another one follows; that one says what came of it. Whoever follows
    gets another where its leader is lost: what it had of the answer is then told anew, from the beginning.
    """

    verdict: Hit | Miss | Bypass | Lead | Follow
    semantic_pending: bool = False
    semantic: SemanticMiss | None = None
    # For what is generated now: see AnswerStore. 0: as what was found before has it.
    as_of: int = 0


@dataclass(frozen=True, slots=True)
class Publish:
    """To a leader: somebody follows."""


@dataclass(frozen=True, slots=True)
class SharedPieces:
    """To a follower: more of the answer, as its leader sent it."""

    message: bytes


@dataclass(frozen=True, slots=True)
class SharedEnd:
    """To a follower: the end of the answer, as its leader sent it."""

    message: bytes


LookupEvent = Found | Publish | SharedPieces | SharedEnd
