"""A model's folder: whether what the engine will read is there, and whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
_LENGTH_BYTES = 8
_LONGEST_HEADER_BYTES = 100_000_000


def size_bytes(folder: Path) -> int:
    """Of all weights; 0 where there are none."""
    try:
        return sum(each.stat().st_size for each in folder.glob("*.safetensors"))
    except OSError:
        return 0


def defects(folder: Path) -> Iterator[str]:
    """What is missing or cut off; nothing where the folder is whole."""
    if not folder.is_dir():
        yield f"there is no folder {folder}"
        return
    yield from _config_defects(folder / "config.json")
    if not any((folder / each).is_file() for each in _TOKENIZERS):
        yield f"{folder} has no tokenizer.json"
    shards = _shards(folder)
    if not shards and not any(folder.glob("*.bin")):
        yield f"{folder} has no *.safetensors"
    for shard in shards:
        if defect := _shard_defect(shard):
            yield defect


def _config_defects(path: Path) -> Iterator[str]:
    try:
        if not isinstance(json.loads(path.read_text()), dict):
            yield f"{path} is no object"
    except OSError as error:
        yield f"{path} cannot be read: {error.strerror}"
    except ValueError:
        yield f"{path} is not JSON"


def _shards(folder: Path) -> list[Path]:
    """Those that the index names, else those that are there."""
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        return [folder / each for each in sorted(set(index["weight_map"].values()))]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return sorted(folder.glob("*.safetensors"))


def _shard_defect(path: Path) -> str:
    """The header of a safetensors file says where its last tensor ends: a download that broke off is shorter."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if length > min(size, _LONGEST_HEADER_BYTES):
                return f"{path} is no safetensors file, or cut off"
            header = json.loads(file.read(length))
        ends = (tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__")
        expected = _LENGTH_BYTES + length + max(ends, default=0)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except (ValueError, KeyError, AttributeError, TypeError, IndexError):
        return f"{path} is no safetensors file, or cut off"
    return "" if size == expected else f"{path} has {size:,} bytes, and should have {expected:,}"
