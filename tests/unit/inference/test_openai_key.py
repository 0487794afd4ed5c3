"""Where our key at a provider comes from; what is found there is never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.errors import TokenwayError
from libs.settings.schema import OpenAiEngine
from services.inference.adapters.openai_key import authorization


def engine(**key: str) -> OpenAiEngine:
    return OpenAiEngine(kind="openai", base_url="https://api.example.com/v1", model="m", **key)  # type: ignore[arg-type]


def test_the_key_is_in_the_variable() -> None:
    assert authorization(engine(api_key_env="KEY"), {"KEY": "sk-1"}) == {"Authorization": "Bearer sk-1"}


def test_the_key_is_in_the_file_and_its_line_end_is_not(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("sk-1\n")
    assert authorization(engine(api_key_file=str(path)), {}) == {"Authorization": "Bearer sk-1"}


def test_without_a_name_no_key_is_sent() -> None:
    assert authorization(engine(), {"OPENAI_API_KEY": "sk-1"}) == {}


@pytest.mark.parametrize("found", ["", "  \n", "sk-1 canary", "sk-1\ncanary", "sk-1\u20ac"])
def test_what_is_no_key_is_refused_with_its_place_and_without_itself(found: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(found)
    for settings, place in ((engine(api_key_file=str(path)), str(path)), (engine(api_key_env="KEY"), "variable KEY")):
        with pytest.raises(TokenwayError, match="INVALID_REQUEST") as refused:
            authorization(settings, {"KEY": found})
        assert place in refused.value.message
        assert "sk-1" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenwayError, match=r"nothing cannot be read \(FileNotFoundError\)"):
        authorization(engine(api_key_file=str(tmp_path / "nothing")), {})
