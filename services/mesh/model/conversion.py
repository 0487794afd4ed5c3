"""From a GGUF of the Llama family to a folder of Hugging Face's layout, weights in bfloat16, that vLLM loads.

vLLM reads no GGUF, and transformers' own reader is ten times slower and loses the tokenizer's step that
splits digits. The weights come out as that reader makes them.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGUFReader, dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

Weights = npt.NDArray[np.float32]

MODULES = {
    "attn_norm": "input_layernorm",
    "attn_k": "self_attn.k_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q": "self_attn.q_proj",
    "attn_v": "self_attn.v_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_up": "mlp.up_proj",
}
CONTROL_TOKEN = 3  # llama.cpp's LLAMA_TOKEN_TYPE_CONTROL
BFLOAT16_BYTES = 2


def convert(gguf: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Write the model into ``folder``, which exists; ``progress`` gets bytes written and their total."""
    reader = GGUFReader(gguf)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    _write_weights(reader.tensors, fields, folder / "model.safetensors", progress)
    tokenizer(fields).save(str(folder / "tokenizer.json"))
    for name, content in (
        ("config.json", model_config(fields)),
        ("generation_config.json", _special_ids(fields)),
        ("tokenizer_config.json", tokenizer_config(fields)),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


def hugging_face_name(name: str) -> str:
    """``blk.7.attn_q.weight`` → ``model.layers.7.self_attn.q_proj.weight``."""
    match name.split("."):
        case ["blk", layer, module, kind]:
            return f"model.layers.{layer}.{MODULES[module]}.{kind}"
        case ["token_embd", kind]:
            return f"model.embed_tokens.{kind}"
        case ["output_norm", kind]:
            return f"model.norm.{kind}"
    raise ValueError(f"a tensor that no Llama has: {name}")


def unpermute(weights: Weights, heads: int) -> Weights:
    """Undo llama.cpp's order of rows in the query and key projections.

    It interleaves the two halves of each head, for its own form of the rotary embedding.
    """
    rows, columns = weights.shape
    return weights.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def to_bfloat16(weights: Weights) -> npt.NDArray[np.uint16]:
    """The upper half of each float32, rounded to nearest and ties to even; numpy has no bfloat16."""
    bits = np.ascontiguousarray(weights).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def safetensors_header(shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """The head of a safetensors file whose bfloat16 tensors follow in the order of ``shapes``."""
    ends = [0]
    for shape in shapes.values():
        ends.append(ends[-1] + BFLOAT16_BYTES * int(np.prod(shape)))
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for (name, shape), offsets in zip(shapes.items(), pairwise(ends), strict=True):
        entries[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": list(offsets)}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors start at a multiple of 8
    return struct.pack("<Q", len(text)) + text


def model_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``config.json``."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "dtype": "bfloat16",
        "head_dim": fields["llama.rope.dimension_count"],
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "max_position_embeddings": fields["llama.context_length"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        # 1e-05, which the file keeps as a float32
        "rms_norm_eps": round(fields["llama.attention.layer_norm_rms_epsilon"], 12),
        "rope_theta": fields["llama.rope.freq_base"],
        "tie_word_embeddings": True,  # the file has no `output.weight`
        "vocab_size": fields["llama.vocab_size"],
        **_special_ids(fields),
    }


def tokenizer(fields: Mapping[str, Any]) -> Tokenizer:
    """``tokenizer.json``: byte-level BPE that takes every digit by itself: what ``smollm`` stands for."""
    if (kind := fields["tokenizer.ggml.pre"]) != "smollm":
        raise ValueError(f"the pre-tokenizer {kind} is not known here")
    words = fields["tokenizer.ggml.tokens"]
    vocabulary = {word: index for index, word in enumerate(words)}
    merges = [(left, right) for left, right in map(str.split, fields["tokenizer.ggml.merges"])]
    result = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    result.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    result.decoder = decoders.ByteLevel()
    result.add_special_tokens(
        [
            AddedToken(word, normalized=False, special=True)
            for word, kind in zip(words, fields["tokenizer.ggml.token_type"], strict=True)
            if kind == CONTROL_TOKEN
        ]
    )
    return result


def tokenizer_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``tokenizer_config.json``, with the chat template."""
    words = fields["tokenizer.ggml.tokens"]
    return {
        "add_prefix_space": False,
        "chat_template": fields["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": fields["llama.context_length"],
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": words[fields["tokenizer.ggml.bos_token_id"]],
        "eos_token": words[fields["tokenizer.ggml.eos_token_id"]],
        "pad_token": words[fields["tokenizer.ggml.padding_token_id"]],
        "unk_token": words[fields["tokenizer.ggml.unknown_token_id"]],
    }


def _special_ids(fields: Mapping[str, Any]) -> dict[str, int]:
    return {
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
    }


def _write_weights(
    tensors: list[Any], fields: Mapping[str, Any], path: Path, progress: Callable[[int, int], None]
) -> None:
    # GGUF counts dimensions from the innermost, everyone else from the outermost.
    shapes = {hugging_face_name(tensor.name): tuple(map(int, tensor.shape[::-1])) for tensor in tensors}
    total = BFLOAT16_BYTES * sum(int(tensor.n_elements) for tensor in tensors)
    done = 0
    with path.open("wb") as file:
        file.write(safetensors_header(shapes))
        for weights in _weights(tensors, fields):
            done += file.write(to_bfloat16(weights).tobytes())
            progress(done, total)


def _weights(tensors: list[Any], fields: Mapping[str, Any]) -> Iterator[Weights]:
    """One tensor at a time, so that memory holds one, not the model."""
    heads = {
        "attn_q": fields["llama.attention.head_count"],
        "attn_k": fields["llama.attention.head_count_kv"],
    }
    for tensor in tensors:
        weights: Weights = dequantize(tensor.data, tensor.tensor_type)
        module = tensor.name.split(".")[-2]
        yield unpermute(weights, heads[module]) if module in heads else weights
