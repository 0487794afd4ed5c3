"""MiniLM by onnxruntime, in a thread of its own."""

from __future__ import annotations

import asyncio
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from libs import minilm
from libs.errors import Reason, TokenwayError
from services.cache.domain.ports import Embedding, EncoderBusyError

# A change of how a vector is made of a text, beside weights and tokenizer, needs another.
_FORM = "mean of the last layer, of length 1; 1"
_FINGERPRINT_HEX_DIGITS = 16
# How long a short question takes, about: until some were timed.
_FIRST_GUESS_SECONDS = 0.003
_WEIGHT_OF_THE_LAST = 0.1
_WARNINGS = 2


class OnnxEncoder:
    """An Encoder. A text waits `queue_seconds` at most for those before it: by what the last ones took.

    Texts are embedded one by one: what is quantized as it comes depends on its whole batch, so that a text would have a
    vector in each company.
    """

    dimensions = minilm.DIMENSIONS

    def __init__(self, folder: Path, *, queue_seconds: float = 0.04) -> None:
        self.fingerprint = _fingerprint(folder)
        self._network = MiniLm(folder)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._queue_seconds = queue_seconds
        self._seconds_each = _FIRST_GUESS_SECONDS
        self._waiting = 0

    async def embed(self, text: str) -> Embedding:
        if self._waiting * self._seconds_each > self._queue_seconds:
            raise EncoderBusyError
        self._waiting += 1
        try:
            embedding, seconds = await asyncio.wrap_future(self._pool.submit(self._timed, text))
        finally:
            self._waiting -= 1
        self._seconds_each += _WEIGHT_OF_THE_LAST * (seconds - self._seconds_each)
        return embedding

    def close(self) -> None:
        """Waits for the text that is being embedded; those that wait are cancelled."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _timed(self, text: str) -> tuple[Embedding, float]:
        began = time.perf_counter()
        return self._network.embed(text), time.perf_counter() - began


class MiniLm:
    """Tokenizer and graph. Blocks while it works."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / minilm.TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._marks = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._unknown = self._tokenizer.token_to_id("[UNK]")
        options = onnxruntime.SessionOptions()
        # More threads would spin for a millisecond of work, and take their cores from the event loops beside.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _WARNINGS
        # More would fuse what the graph leaves apart because the fused operator is slower.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        path = str(folder / minilm.MODEL)
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def embed(self, text: str) -> Embedding:
        # A lone surrogate is no text, and still must not fail here.
        ids = self._tokenizer.encode(text.encode("utf-8", "replace").decode()).ids
        tokens = len(ids) - self._marks
        # What the vocabulary lacks is one token, whatever it is: an emoji would be like any other.
        if not 0 < tokens <= minilm.MOST_TOKENS or self._unknown in ids:
            return Embedding(b"", tokens)
        [vector] = self._session.run(None, {"ids": np.array(ids, np.int64)})
        return Embedding(vector.tobytes(), tokens)


def _fingerprint(folder: Path) -> str:
    """Of the files, which must be those that thresholds and guard were measured with."""
    for defect in minilm.defects(folder):
        message = f"the semantic cache's encoder is not in {folder}: {defect}; run `make model`"
        raise TokenwayError(Reason.INVALID_REQUEST, message)
    parts = (*minilm.SHA256.values(), _FORM)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_FINGERPRINT_HEX_DIGITS]
