"""Whether two answers are the same: what labels are made of."""

from __future__ import annotations

import math
import re
import struct
import unicodedata

from services.cache.domain.model import StoredAnswer
from services.cache.domain.ports import Embedding, Encoder, EncoderBusyError, LexicalGuard

# Up to so many words an answer is compared word by word: "Paris" and "Lyon" are near each other for an encoder.
_SHORT_WORDS = 6
_NEAR = 0.90
# About as much as an encoder takes in at once; an answer says early what it says.
_COMPARED_CHARACTERS = 800
_WORDS = re.compile(r"\w+")
_NUMBERS = re.compile(r"\d+(?:[.,:]\d+)*")


class SameAnswer:
    """A Verifier: the same words where an answer is short; else the same numbers, and beginnings that an encoder finds
    near and the lexical guard does not object to.

    An answer that says the same otherwise may be another to it: so hits are thought wrong more often than they are.
    """

    # Of texts that differ in a number, a name, a negation: `python -m tests.bench cache-calibration` measures it.
    false_equal = 0.05

    def __init__(self, *, encoder: Encoder, guard: LexicalGuard) -> None:
        self._encoder = encoder
        self._guard = guard

    async def same(self, fresh: StoredAnswer, stored: StoredAnswer) -> bool | None:
        return await self.same_text("".join(fresh.whole.text), "".join(stored.whole.text))

    async def same_text(self, one: str, other: str) -> bool | None:
        """None where the encoder has no time, or can make nothing of one."""
        these, those = _words(one), _words(other)
        if these == those:
            return True
        if min(len(these), len(those)) <= _SHORT_WORDS or _numbers(one) != _numbers(other):
            return False
        beginnings = [each[:_COMPARED_CHARACTERS] for each in (one, other)]
        try:
            embeddings = [await self._encoder.embed(each) for each in beginnings]
        except EncoderBusyError:
            return None
        if not all(each.vector for each in embeddings):
            return None
        return _cosine(*embeddings) >= _NEAR and self._guard(*beginnings) is None


def _words(text: str) -> list[str]:
    return _WORDS.findall(unicodedata.normalize("NFKC", text).casefold())


def _numbers(text: str) -> set[str]:
    return set(_NUMBERS.findall(text))


def _cosine(one: Embedding, other: Embedding) -> float:
    form = f"={len(one.vector) // 4}f"
    these, those = struct.unpack(form, one.vector), struct.unpack(form, other.vector)
    return math.fsum(a * b for a, b in zip(these, those, strict=True))
