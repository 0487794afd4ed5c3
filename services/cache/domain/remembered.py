"""An encoder that is not asked twice for the same."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

from services.cache.domain.ports import Embedding, Encoder

_HASH_BYTES = 16


class RememberedEmbeddings:
    """An Encoder before another. What was embedded lately costs nothing; all who ask for a text at once wait for one.

    Texts are kept as hashes, never as they are. `most` embeddings are remembered, 1.7 KB each with MiniLM's.
    """

    def __init__(self, encoder: Encoder, *, most: int = 2_048) -> None:
        self._encoder = encoder
        self._most = most
        self._known: OrderedDict[bytes, Embedding] = OrderedDict()
        self._coming: dict[bytes, asyncio.Task[Embedding]] = {}

    @property
    def fingerprint(self) -> str:
        return self._encoder.fingerprint

    @property
    def dimensions(self) -> int:
        return self._encoder.dimensions

    async def embed(self, text: str) -> Embedding:
        hashed = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()
        if (known := self._known.get(hashed)) is not None:
            self._known.move_to_end(hashed)
            return known
        coming = self._coming.get(hashed)
        if coming is None:
            coming = self._coming[hashed] = asyncio.create_task(self._encoder.embed(text), name="embed")
            coming.add_done_callback(lambda ended: self._ended(hashed, ended))
        # Whoever leaves does not take it from the others; and the text may soon be asked again.
        return await asyncio.shield(coming)

    def _ended(self, hashed: bytes, ended: asyncio.Task[Embedding]) -> None:
        del self._coming[hashed]
        # Asked for here too, so that an error for which nobody waits any more is not logged as lost.
        if ended.cancelled() or ended.exception() is not None:
            return
        self._known[hashed] = ended.result()
        if len(self._known) > self._most:
            self._known.popitem(last=False)
