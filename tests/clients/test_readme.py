"""What README.md shows of the clients is what the tests run."""

from __future__ import annotations

import re
from textwrap import indent

import pytest

from tests.clients.examples import CLIENTS

README = CLIENTS.parents[1] / "README.md"
SHOWN = {"python": "python/ask.py", "js": "node/ask.js", "ruby": "ruby/ask.rb", "cpp": "cpp/ask.cc"}


@pytest.mark.parametrize(("language", "file"), SHOWN.items())
def test_the_lines_in_the_readme_are_the_example_s_own(language: str, file: str) -> None:
    section = re.search(r"^## Clients\n(.*?)^## ", README.read_text(), re.DOTALL | re.MULTILINE)
    assert section
    (shown,) = re.findall(rf"```{language}\n(.*?)```", section[1], re.DOTALL)
    text = (CLIENTS / file).read_text()
    assert any(indent(shown, depth) in text for depth in ("", "  ", "    "))
