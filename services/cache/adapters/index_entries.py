"""How an entry of the index is written: beside its answer, and in the stream from which replicas learn.

In an answer's hash, and as a change in the stream `tw:cache:changes`:

tag    organisation, a zero, the key's digest: whose it is
part   its semantic partition
enc    the fingerprint of the encoder
vec    the embedding of what was asked, two bytes a number
exp    when it expires, in seconds since 1970
fam    the family of those whose answers were found the same; absent: of none yet

Or, as a change alone: tag and fam, where that is found later; or org, and in `gone` the digests of answers that were
dropped, one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from services.cache.domain.key import AnswerKey
from services.cache.domain.model import StoredAnswer
from services.cache.domain.ports import IndexEntry

CHANGES = "tw:cache:changes"
_PUT = ("tag", "part", "enc", "vec", "exp")
FIELDS = (*_PUT, "fam")
_DIGEST_BYTES = 32
_FAMILY_BYTES = 16
_ROUNDED_OFF = 0.01


def tag_of(key: AnswerKey) -> bytes:
    """Marks an entry as this key's, wherever it may have been copied or restored to."""
    return key.organisation.encode() + b"\0" + key.digest


def fields_of(key: AnswerKey, answer: StoredAnswer, vector: bytes, *, encoder: str) -> dict[str, bytes]:
    """`vector` is as the encoder gave it: four bytes a number."""
    halved = np.frombuffer(vector, np.float32).astype("<f2").tobytes()
    values = (tag_of(key), answer.partition, encoder.encode(), halved, repr(answer.expires_at).encode())
    return dict(zip(_PUT, values, strict=True))


def drop_of(organisation: str, digests: Sequence[bytes]) -> dict[str, bytes]:
    """Answers that are there no more."""
    return {"org": organisation.encode(), "gone": b"".join(digests)}


def entry_of(values: Sequence[bytes | None], *, encoder: str, dimensions: int) -> IndexEntry | None:
    """What FIELDS say; None for an answer that was put without a vector, with another encoder's, or a damaged one.

    A vector that is longer than 1 would seem near to whatever is asked, and one with no numbers near enough.
    """
    tag, partition, fingerprint, vector, expires_at, family = values
    if tag is None or partition is None or vector is None or expires_at is None:
        return None
    if fingerprint != encoder.encode() or len(vector) != 2 * dimensions or not _is_of_length_1(vector):
        return None
    key = _key_of(tag)
    try:
        return IndexEntry(key, partition, vector, float(expires_at), _family(family) or b"") if key else None
    except ValueError:
        return None  # somebody else's writing


def joined_in(change: Mapping[bytes, bytes]) -> tuple[AnswerKey, bytes] | None:
    """Whose answer a change says is the same as which family's; None where it says something else."""
    key, family = _key_of(change.get(b"tag", b"")), _family(change.get(b"fam"))
    return (key, family) if key and family else None


def _key_of(tag: bytes) -> AnswerKey | None:
    organisation, _, digest = tag.partition(b"\0")
    try:
        return AnswerKey(organisation.decode(), digest)
    except UnicodeDecodeError:
        return None


def _family(stored: bytes | None) -> bytes | None:
    """None for what is none."""
    return stored if stored is not None and len(stored) == _FAMILY_BYTES else None


def _is_of_length_1(vector: bytes) -> bool:
    return abs(float(np.linalg.norm(np.frombuffer(vector, "<f2").astype(np.float32))) - 1) < _ROUNDED_OFF


def dropped_in(change: Mapping[bytes, bytes]) -> list[AnswerKey]:
    """Which answers a change says are gone; none where it is not of our writing."""
    try:
        organisation, gone = change.get(b"org", b"").decode(), change.get(b"gone", b"")
    except UnicodeDecodeError:
        return []
    return [
        AnswerKey(organisation, gone[start : start + _DIGEST_BYTES]) for start in range(0, len(gone), _DIGEST_BYTES)
    ]
