"""The configurations that are shipped are valid, and the JSON schema says what the reader says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from libs.settings.document import load
from libs.settings.json_schema import json_schema
from libs.settings.schema import Section, Settings
from libs.settings.wording import sections_of

EXAMPLE = Path("deploy/tokenway.example.yaml")
DEFAULT = Path("services/mesh/default.yaml")
SCHEMA = Path("deploy/tokenway.schema.json")


def test_the_example_has_the_four_tiers_of_the_reference() -> None:
    models = {each.name: each for each in load(EXAMPLE, environment={}).models}
    assert {
        name: (each.tier, each.context_window_tokens, each.p99_latency_seconds) for name, each in models.items()
    } == {
        "llama-3-7b": ("small", 4_096, 0.5),
        "mixtral-8x7b": ("medium", 32_000, 1.5),
        "llama-3-70b": ("large", 8_192, 3),
        "gpt-4-turbo": ("frontier", 128_000, 5),
    }
    per_thousand = {name: each.price.output_usd_per_million_tokens / 1_000 for name, each in models.items()}
    assert {name: str(price.normalize()) for name, price in per_thousand.items()} == {
        "llama-3-7b": "0.0002",
        "mixtral-8x7b": "0.002",
        "llama-3-70b": "0.01",
        "gpt-4-turbo": "0.03",
    }


def test_the_default_runs_the_small_model_on_a_cpu() -> None:
    (model,) = load(DEFAULT, environment={}).models
    assert (model.engine is not None and model.engine.kind, model.context_window_tokens) == ("vllm", 8_192)


@pytest.mark.parametrize("path", [EXAMPLE, DEFAULT], ids=str)
def test_the_json_schema_accepts_what_is_shipped(path: Path) -> None:
    # Editors know no dates: in YAML 1.2 a time is a text.
    tree = json.loads(json.dumps(yaml.safe_load(path.read_text()), default=str))
    jsonschema.validate(tree, json.loads(SCHEMA.read_text()))


def test_the_json_schema_is_of_this_version() -> None:
    assert SCHEMA.read_text() == json_schema(), "run: make generate"


def test_the_json_schema_refuses_unknown_fields_everywhere() -> None:
    definitions = json.loads(SCHEMA.read_text())["$defs"].values()
    assert [each["title"] for each in definitions if each.get("additionalProperties") is not False] == []


def fields_of(section: type[Section]) -> set[str]:
    below = (member for field in section.model_fields.values() for member in sections_of(field.annotation))
    return {*section.model_fields, *(name for member in below for name in fields_of(member))}


def test_the_example_explains_every_field() -> None:
    text = EXAMPLE.read_text()
    # Those of the scripted engine are for tests, the rest of vLLM's for machines without a GPU.
    hidden = {
        *("tokens_per_second", "first_token_seconds", "answer_tokens", "made_tokens_file", "allow_directives"),
        *("dtype", "enforce_eager", "kv_cache_memory_bytes", "block_size", "load_format"),
    }
    assert {name for name in fields_of(Settings) - hidden if f"{name}:" not in text} == set()
