"""Models for tests: one small enough to be made on the spot, and one that has the shape of a large one alone."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

_SPECIAL = ("<|begin|>", "<|end|>")
_ROLES = "{% for message in messages %}<|begin|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
_TURN = "{% if add_generation_prompt %}<|begin|>assistant\n{% endif %}"


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a Llama: what decides how much work a token is."""

    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    layers: int
    # Tokens beyond bytes and special ones are words that no prompt becomes, and that answers are made of.
    vocabulary: int = 0
    rope_theta: float = 10_000.0


# Heads of size 32: the CPU kernels know no smaller.
TINY = Shape(hidden=64, intermediate=128, heads=2, key_value_heads=2, layers=2)
# https://huggingface.co/meta-llama/Meta-Llama-3-8B/blob/main/config.json
LLAMA_8B = Shape(
    hidden=4_096,
    intermediate=14_336,
    heads=32,
    key_value_heads=8,
    layers=32,
    vocabulary=128_256,
    rope_theta=500_000.0,
)


def make_tiny_model(folder: Path, *, max_tokens: int = 2_048, seed: int = 1) -> Path:
    """Writes a Hugging Face folder that vLLM loads, and returns it: two layers of random weights, a token a byte.

    It knows nothing. The same seed makes the same weights. At temperature 0 its answers are letters and spaces and
    never end by themselves.
    """
    tokenizer = make_weightless_model(folder, shape=TINY, max_tokens=max_tokens)
    save_file(_weights(tokenizer, np.random.default_rng(seed)), folder / "model.safetensors", {"format": "pt"})
    return folder


def make_weightless_model(folder: Path, *, shape: Shape, max_tokens: int) -> Tokenizer:
    """Writes all but weights, for `load_format: dummy`: as fast as a real one of that shape. Its answers are noise."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(shape.vocabulary)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, content in (
        ("config.json", _config(tokenizer, shape, max_tokens)),
        ("tokenizer_config.json", _tokenizer_config(max_tokens)),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    return tokenizer


def _tokenizer(vocabulary: int) -> Tokenizer:
    words = sorted(pre_tokenizers.ByteLevel.alphabet())
    words += [f"Ġw{number}" for number in range(vocabulary - len(words) - len(_SPECIAL))]
    tokenizer = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(each, normalized=False, special=True) for each in _SPECIAL])
    return tokenizer


def _weights(tokenizer: Tokenizer, random: np.random.Generator) -> dict[str, np.ndarray]:
    def matrix(rows: int, columns: int) -> np.ndarray:
        return random.standard_normal((rows, columns), dtype=np.float32) / np.float32(np.sqrt(columns))

    size, hidden, wide = tokenizer.get_vocab_size(), TINY.hidden, TINY.intermediate
    ones = np.ones(hidden, dtype=np.float32)
    weights = {"model.embed_tokens.weight": matrix(size, hidden) * 8, "model.norm.weight": ones}
    for layer in range(TINY.layers):
        at = f"model.layers.{layer}"
        weights |= {f"{at}.self_attn.{each}_proj.weight": matrix(hidden, hidden) for each in "qkvo"}
        weights |= {f"{at}.mlp.{each}_proj.weight": matrix(wide, hidden) for each in ("gate", "up")}
        weights |= {f"{at}.mlp.down_proj.weight": matrix(hidden, wide)}
        weights |= {f"{at}.{each}_layernorm.weight": ones for each in ("input", "post_attention")}
    # A row of zeros is never the largest of so many.
    head = np.zeros((size, hidden), dtype=np.float32)
    letters = [tokenizer.encode(each).ids[0] for each in string.ascii_letters + " "]
    head[letters] = matrix(len(letters), hidden) * 4
    return weights | {"lm_head.weight": head}


def _config(tokenizer: Tokenizer, shape: Shape, max_tokens: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.hidden // shape.heads,
        "num_hidden_layers": shape.layers,
        "max_position_embeddings": max_tokens,
        "rms_norm_eps": 1e-5,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": False,
        "vocab_size": tokenizer.get_vocab_size(),
        "bos_token_id": tokenizer.token_to_id(_SPECIAL[0]),
        "eos_token_id": tokenizer.token_to_id(_SPECIAL[1]),
        "dtype": "bfloat16",
    }


def _tokenizer_config(max_tokens: int) -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": _SPECIAL[0],
        "eos_token": _SPECIAL[1],
        "model_max_length": max_tokens,
        "clean_up_tokenization_spaces": False,
        "chat_template": _ROLES + _TURN,
    }
