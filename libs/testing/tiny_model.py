"""A model small enough to be made by a test: two layers of random weights, a token a byte. It knows nothing."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

_HIDDEN = 64
_HEADS = 2  # of size 32: the CPU kernels know no smaller
_LAYERS = 2
_SPECIAL = ("<|begin|>", "<|end|>")
_ROLES = "{% for message in messages %}<|begin|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
_TURN = "{% if add_generation_prompt %}<|begin|>assistant\n{% endif %}"


def make_tiny_model(folder: Path, *, max_tokens: int = 2_048, seed: int = 1) -> Path:
    """Writes a Hugging Face folder that vLLM loads, and returns it. The same seed makes the same weights.

    At temperature 0 its answers are letters and spaces and never end by themselves.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(_weights(tokenizer, np.random.default_rng(seed)), folder / "model.safetensors", {"format": "pt"})
    for name, content in (
        ("config.json", _config(tokenizer, max_tokens)),
        ("tokenizer_config.json", _tokenizer_config(max_tokens)),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    return folder


def _tokenizer() -> Tokenizer:
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(bytes_)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(each, normalized=False, special=True) for each in _SPECIAL])
    return tokenizer


def _weights(tokenizer: Tokenizer, random: np.random.Generator) -> dict[str, np.ndarray]:
    def matrix(rows: int, columns: int) -> np.ndarray:
        return random.standard_normal((rows, columns), dtype=np.float32) / np.float32(np.sqrt(columns))

    size = tokenizer.get_vocab_size()
    ones = np.ones(_HIDDEN, dtype=np.float32)
    weights = {"model.embed_tokens.weight": matrix(size, _HIDDEN) * 8, "model.norm.weight": ones}
    for layer in range(_LAYERS):
        at = f"model.layers.{layer}"
        weights |= {f"{at}.self_attn.{each}_proj.weight": matrix(_HIDDEN, _HIDDEN) for each in "qkvo"}
        weights |= {f"{at}.mlp.{each}_proj.weight": matrix(2 * _HIDDEN, _HIDDEN) for each in ("gate", "up")}
        weights |= {f"{at}.mlp.down_proj.weight": matrix(_HIDDEN, 2 * _HIDDEN)}
        weights |= {f"{at}.{each}_layernorm.weight": ones for each in ("input", "post_attention")}
    # A row of zeros is never the largest of so many.
    head = np.zeros((size, _HIDDEN), dtype=np.float32)
    letters = [tokenizer.encode(each).ids[0] for each in string.ascii_letters + " "]
    head[letters] = matrix(len(letters), _HIDDEN) * 4
    return weights | {"lm_head.weight": head}


def _config(tokenizer: Tokenizer, max_tokens: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": _HIDDEN,
        "intermediate_size": 2 * _HIDDEN,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "head_dim": _HIDDEN // _HEADS,
        "num_hidden_layers": _LAYERS,
        "max_position_embeddings": max_tokens,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
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
