"""What the cache needs from outside, and what it may rely on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.cache.domain.key import AnswerKey
from services.cache.domain.model import StoredAnswer


@dataclass(frozen=True, slots=True)
class Everything:
    """All answers of an organisation."""


@dataclass(frozen=True, slots=True)
class OfModel:
    """Those that a model gave."""

    model: str


@dataclass(frozen=True, slots=True)
class WithTag:
    """Those that were stored with this tag."""

    tag: str


Selection = Everything | OfModel | WithTag


class AnswerStore(Protocol):
    """Whole answers by key, until they expire. The truth: every replica of the cache sees the same.

    An answer is there wholly or not at all, whoever dies meanwhile. Nothing of one organisation is ever seen or touched
    for another. Any call may raise SERVICE_UNAVAILABLE, soon: then nothing is known, and the next call may work.
    """

    async def get(self, key: AnswerKey) -> StoredAnswer | None:
        """The answer under the key, as it was put; None when there is none, it has expired, or it cannot be trusted.

        What is not marked with the same key, or was damaged, or was written by another version, is not trusted. Reading
        changes nothing: an answer that is asked for often expires no later.
        """
        ...

    async def put(self, key: AnswerKey, answer: StoredAnswer) -> None:
        """Stores it until `answer.expires_at`, in place of what was there. Of two at once, one stands, whole."""
        ...

    async def drop(self, organisation: str, selection: Selection) -> int:
        """Drops those of the organisation that are selected, and says how many. What is put meanwhile may stay or go.

        An answer that replaced one with the tag may be dropped with it: it is generated anew, which is never wrong.
        """
        ...
