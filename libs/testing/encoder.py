"""An encoder that counts words, so that a test knows every cosine without a model."""

from __future__ import annotations

import hashlib
import math
import re
from array import array

from services.cache.domain.ports import Embedding, EncoderBusyError

_WORDS = re.compile(r"[\w']+")
_MOST_TOKENS = 256


class WordCounter:
    """An Encoder for tests: two texts are as near as the words that they share, case and order apart.

    Of "red car" and "red bus" half of the words are the same: cosine 0.5. While `busy` is set, every call is refused;
    `asked` has the texts that were embedded, in order.
    """

    fingerprint = "words"
    dimensions = 384

    def __init__(self) -> None:
        self.busy = False
        self.asked: list[str] = []

    async def embed(self, text: str) -> Embedding:
        if self.busy:
            raise EncoderBusyError
        self.asked.append(text)
        words = _WORDS.findall(text.lower())
        if not 0 < len(words) <= _MOST_TOKENS:
            return Embedding(b"", len(words))
        counts = array("f", bytes(4 * self.dimensions))
        for word in words:
            counts[self._place(word)] += 1
        length = math.hypot(*counts)
        return Embedding(array("f", (each / length for each in counts)).tobytes(), len(words))

    def _place(self, word: str) -> int:
        return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest()) % self.dimensions
