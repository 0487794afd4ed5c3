"""How a stored answer is written: JSON with a checksum, so that damage is noticed and people can read it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from libs.money import Usage, UsageSource
from services.cache.domain.model import AnswerPart, StoredAnswer, TokenLogprob, TopLogprobs

# Raise it when the form changes: what another version wrote is then a miss, not a riddle.
VERSION = b"2"
# Under which names a Redis hash holds an entry. An entry of the index has more beside them: see index_entries.
FIELDS = ("v", "tag", "sum", "body")
_CHECKSUM_BYTES = 16


class UnreadableError(Exception):
    """What is stored is not an answer to the question: damaged, another version's, or another question's."""


def encode(answer: StoredAnswer, *, tag: bytes) -> dict[str, bytes]:
    """The fields of an entry. `tag` marks whose answer it is; `decode` demands the same."""
    body = json.dumps(answer, default=_plain, separators=(",", ":"), ensure_ascii=False).encode()
    return dict(zip(FIELDS, (VERSION, tag, _checksum(tag, body), body), strict=True))


def decode(fields: Mapping[str, bytes | None], *, tag: bytes) -> StoredAnswer:
    """The answer, exactly as it was encoded; UnreadableError says why not."""
    if fields["v"] != VERSION:
        raise UnreadableError("another version wrote it")
    body = fields["body"] or b""
    if fields["tag"] != tag:
        raise UnreadableError("it answers another question")
    if fields["sum"] != _checksum(tag, body):
        raise UnreadableError("it is damaged")
    try:
        return _answer(json.loads(body))
    except (KeyError, TypeError, ValueError) as error:
        # Whole, and still not ours: someone changed the form and forgot to raise the version.
        raise UnreadableError(f"it has another form: {error!r}") from error


def _plain(value: Any) -> Any:
    """Not by asdict, which copies each text and number on its way: an answer of many would keep the event loop."""
    return value.hex() if isinstance(value, bytes) else {name: getattr(value, name) for name in value.__slots__}


def _checksum(tag: bytes, body: bytes) -> bytes:
    return hashlib.blake2b(tag + body, digest_size=_CHECKSUM_BYTES).digest()


def _answer(body: dict[str, Any]) -> StoredAnswer:
    whole, usage = body.pop("whole"), body.pop("usage")
    return StoredAnswer(
        whole=AnswerPart(
            text=tuple(whole["text"]),
            token_counts=tuple(whole["token_counts"]),
            logprobs=tuple(_top_logprobs(each) for each in whole["logprobs"]),
            reasoning=tuple(whole["reasoning"]),
        ),
        usage=Usage(**{**usage, "source": UsageSource(usage["source"])}),
        tags=tuple(body.pop("tags")),
        partition=bytes.fromhex(body.pop("partition")),
        **body,
    )


def _top_logprobs(stored: dict[str, Any]) -> TopLogprobs:
    return TopLogprobs(
        chosen=TokenLogprob(**stored["chosen"]), top=tuple(TokenLogprob(**each) for each in stored["top"])
    )
