"""From the weights of MiniLM to a graph for onnxruntime that embeds one text, with weights of 8 bits.

The graph is written node by node, so that its bits depend on the weights alone: not on torch, nor on the version of an
exporter or a quantizer. For one text there is no padding, so there is no mask. Words have a scale a row. What enters a
matrix is made 8 bits as it comes, with one scale, and weights 7 with one a column (a CPU without VNNI adds pairs in 16
bits, which 8 times 8 would overflow). Of what enters the two matrices of a feed-forward half a few numbers are far
larger than all others, in whatever text, and the one scale would be theirs: they are divided, their weights multiplied.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

Weights = npt.NDArray[np.float32]

LAYERS, HEADS = 6, 12
# 256 tokens and the two marks round them; the weights would have 512.
POSITIONS = 258
EPSILON = 1e-12
# Of 384 and of 1,536 numbers of a token: up to 30 where no other is above 12 (`make bench-cache` prints it).
LOUD, LOUD_INNER = (99, 223), ((856,), (607,), (1004, 218), (358,), (), ())
_LOUDER = np.float32(4)
_OPSET, _IR_VERSION = 18, 8
_FUSED = "com.microsoft"
_LENGTH_BYTES = 8


def convert(safetensors: Path, model: Path) -> None:
    """Write the graph: in, the ids of a text's tokens, ``[n]`` int64; out, its embedding, ``[384]`` float32."""
    model.write_bytes(graph(read(safetensors)).SerializeToString())


def read(path: Path) -> dict[str, Weights]:
    """The float32 tensors of a safetensors file, by name."""
    content = path.read_bytes()
    start = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    tensors = {}
    for name, entry in json.loads(content[_LENGTH_BYTES:start]).items():
        if entry.get("dtype") == "F32":
            first, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(content[start + first : start + end], "<f4").reshape(entry["shape"])
    return tensors


def rows_of_8_bits(weights: Weights, *, most: int) -> tuple[npt.NDArray[np.int8], Weights]:
    """Whole numbers from -most to most, and a scale a row that makes them the weights again, nearly."""
    scales = np.abs(weights).max(axis=1, keepdims=True) / np.float32(most)
    return np.rint(weights / scales).astype(np.int8), scales


def graph(weights: Mapping[str, Weights], *, exact: bool = False) -> Any:
    """The model; ``exact`` leaves every weight as it is: what the other is measured against."""
    made = _Graph(weights, exact=exact)
    made.embed()
    for layer in range(LAYERS):
        made.attend(f"encoder.layer.{layer}.")
        made.feed_forward(f"encoder.layer.{layer}.", loud_inner=LOUD_INNER[layer])
    made.pool()
    return made.model()


class _Graph:
    """Each step takes ``x``, ``[1, n, 384]`` or what is said, and puts another there."""

    def __init__(self, weights: Mapping[str, Weights], *, exact: bool) -> None:
        self._weights = weights
        self._exact = exact
        self._nodes: list[Any] = []
        self._constants: dict[str, npt.NDArray[Any]] = {}
        self._x = "ids"

    def embed(self) -> None:
        """Words, positions and the one kind of sentence there is, added and normed."""
        of = "embeddings."
        places = self._weights[of + "position_embeddings.weight"][:POSITIONS]
        places = places + self._weights[of + "token_type_embeddings.weight"][0]
        length = self._node("Shape", "ids")
        place = self._node("Slice", self._constant("places", places), self._constant("from", np.array([0])), length)
        summed = self._node("Add", self._words(of + "word_embeddings.weight"), place)
        normed = self._node("LayerNormalization", summed, *self._norm(of + "LayerNorm"), epsilon=EPSILON)
        self._x = self._node("Unsqueeze", normed, self._constant("batch", np.array([0])))

    def attend(self, of: str) -> None:
        """Every token looks at every other."""
        parts = [f"{of}attention.self.{each}." for each in ("query", "key", "value")]
        weights = np.concatenate([self._weights[each + "weight"] for each in parts])
        bias = self._constant(of + "bias", np.concatenate([self._weights[each + "bias"] for each in parts]))
        attended = self._attention(of, weights, bias)
        projected = self._product(attended, of + "attention.output.dense")
        self._add_and_norm(projected, of + "attention.output.LayerNorm")

    def feed_forward(self, of: str, *, loud_inner: Sequence[int]) -> None:
        """Each token by itself."""
        inner = self._product(self._x, of + "intermediate.dense", loud=LOUD)
        active = self._fused("Gelu", inner)
        self._add_and_norm(self._product(active, of + "output.dense", loud=loud_inner), of + "output.LayerNorm")

    def pool(self) -> None:
        """The mean of all tokens, of length 1."""
        mean = self._node("ReduceMean", self._x, self._constant("tokens", np.array([0, 1])), keepdims=0)
        self._node("LpNormalization", mean, name="embedding", axis=-1, p=2)

    def model(self) -> Any:
        """All of it. What onnx would put in by itself, which changes with its version, is said."""
        ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])
        embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [384])
        constants = [numpy_helper.from_array(each, name) for name, each in self._constants.items()]
        made = helper.make_graph(self._nodes, "all-MiniLM-L6-v2", [ids], [embedding], constants)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
        return helper.make_model(made, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="tokenway")

    def _words(self, name: str) -> str:
        if self._exact:
            return self._node("Gather", self._kept(name), "ids")
        numbers, scales = rows_of_8_bits(self._weights[name], most=127)
        chosen = self._node("Gather", self._constant(name, numbers), "ids")
        scale = self._node("Gather", self._constant(name + ".scales", scales), "ids")
        return self._node("Mul", self._node("Cast", chosen, to=TensorProto.FLOAT), scale)

    def _attention(self, of: str, weights: Weights, bias: str) -> str:
        if self._exact:
            return self._fused("Attention", self._x, self._constant(of + "qkv", weights.T), bias, num_heads=HEADS)
        numbers, scales = self._columns(of + "qkv", weights)
        zeros = self._constant(of + "zeros", np.zeros(len(weights), np.int8))
        x, scale, zero = (f"{of}x.{each}" for each in ("8", "scale", "zero"))
        self._nodes.append(helper.make_node("DynamicQuantizeLinear", [self._x], [x, scale, zero]))
        return self._fused("QAttention", x, numbers, bias, scale, scales, "", zero, zeros, num_heads=HEADS)

    def _product(self, x: str, of: str, *, loud: Sequence[int] = ()) -> str:
        name, bias = of + ".weight", self._kept(of + ".bias")
        weights = self._weights[name]
        if self._exact:
            return self._node("Add", self._node("MatMul", x, self._constant(name, weights.T)), bias)
        if loud:
            louder = np.ones(weights.shape[1], np.float32)
            louder[list(loud)] = _LOUDER
            x, weights = self._node("Mul", x, self._constant(of + ".quieter", 1 / louder)), weights * louder
        return self._fused("DynamicQuantizeMatMul", x, *self._columns(name, weights), "", bias)

    def _columns(self, name: str, weights: Weights) -> tuple[str, str]:
        numbers, scales = rows_of_8_bits(weights, most=63)
        return self._constant(name, numbers.T), self._constant(name + ".scales", scales[:, 0])

    def _add_and_norm(self, x: str, of: str) -> None:
        # Not SkipLayerNormalization, which does both and takes four times as long for so few tokens.
        summed = self._node("Add", x, self._x)
        self._x = self._node("LayerNormalization", summed, *self._norm(of), epsilon=EPSILON)

    def _norm(self, of: str) -> tuple[str, str]:
        return self._kept(of + ".weight"), self._kept(of + ".bias")

    def _kept(self, name: str) -> str:
        return self._constant(name, self._weights[name])

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        self._constants[name] = np.ascontiguousarray(value)
        return name

    def _fused(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self._node(operator, *inputs, domain=_FUSED, **attributes)

    def _node(self, operator: str, *inputs: str, name: str = "", domain: str = "", **attributes: Any) -> str:
        output = name or f"{operator}.{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output
