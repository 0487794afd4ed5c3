"""`tokenway demo`, with the real model: what a newcomer sees."""

from __future__ import annotations

import importlib.util
import re
import signal
from pathlib import Path

import pytest

from services.mesh.model.smollm2 import default_model_path
from tests.mesh_cli.command import Tokenway

pytestmark = [pytest.mark.processes, pytest.mark.vllm, pytest.mark.timeout(300)]


@pytest.fixture
def folder(tokenway: Tokenway, tmp_path: Path) -> Path:
    """Where the demo makes its scratch folder."""
    if importlib.util.find_spec("vllm") is None or not default_model_path().is_dir():
        pytest.skip("vLLM or the default model is not here; run: make model")
    folder = tmp_path / "scratch"
    folder.mkdir()
    tokenway.environment["TMPDIR"] = str(folder)
    return folder


def test_the_demo_shows_the_whole_mesh_and_leaves_nothing(tokenway: Tokenway, folder: Path) -> None:
    demo = tokenway.start("demo")
    output = demo.output.read()
    assert demo.process.wait(60) == 0, demo.errors
    assert demo.errors == ""
    assert output.count("The capital of France is Paris.") == 2
    assert re.search(r"^smollm2-135m · 37 \+ \d+ tokens · \$0\.0\d+ · first token \d+ ms · ", output, re.MULTILINE)
    assert re.search(r"^from the cache, \d s old · smollm2-135m · no tokens made · \$0 · ", output, re.MULTILINE)
    assert re.search(r"^BUDGET_EXCEEDED: .*; again in .*; request [0-9a-f]{32}$", output, re.MULTILINE)
    assert re.search(r"^scope key demo · window day · limit \$0\.000129 · used \$0\.0000\d+ ", output, re.MULTILINE)
    assert re.search(r"─ llm_request  \[tokenway-inference\]", output)
    assert "\x1b" not in output
    # torch's compiler keeps what it made for the next process, and that is its business.
    assert [each.name for each in folder.iterdir() if not each.name.startswith("torchinductor_")] == []


def test_an_interrupted_demo_leaves_nothing(tokenway: Tokenway, folder: Path) -> None:
    demo = tokenway.start("demo")
    while "cache serves" not in demo.line():
        pass
    assert demo.end(signal.SIGINT) == 130
    assert demo.errors == "interrupted\n"
    assert list(folder.iterdir()) == []
