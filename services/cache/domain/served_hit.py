"""Which answer of the cache a request got: to be found when somebody says that it was wrong."""

from __future__ import annotations

from dataclasses import dataclass

from services.cache.domain.found import Kind
from services.cache.domain.key import AnswerKey


@dataclass(frozen=True, slots=True)
class ServedHit:
    """A hit. `similarity` is a cosine, 1 where the questions are the same; `votes` is 0 where they were not counted."""

    request_id: str
    # Who asked, by the id of the API key.
    key_id: str
    key: AnswerKey
    kind: Kind
    similarity: float
    votes: float
    # The request that made the answer: under the key there may be another by now.
    source_request_id: str
