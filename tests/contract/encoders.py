"""Every implementation of the Encoder port."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager

from libs import minilm
from services.cache.adapters.onnx_encoder import OnnxEncoder
from services.cache.domain.ports import Embedding


@contextmanager
def onnx_encoder(*, queue_seconds: float = 60) -> Iterator[OnnxEncoder]:
    """The real one. Its queue is as long as a busy machine may need it; tests of the queue give their own."""
    with OnnxEncoder(minilm.encoder_folder(), queue_seconds=queue_seconds) as encoder:
        yield encoder


def cosine(one: Embedding, other: Embedding) -> float:
    return sum(this * that for this, that in zip(array("f", one.vector), array("f", other.vector), strict=True))
