"""Configurations for tests: a small valid one, and ways to spoil it."""

from __future__ import annotations

from libs.settings.document import SettingsError, read
from libs.settings.schema import Settings

VALID = """\
models:
  - name: small
    tier: small
    capabilities: [all]
    context_window_tokens: 4096
    p99_latency_seconds: 1
    price: {input_usd_per_million_tokens: 0.2, output_usd_per_million_tokens: 0.2}
    endpoints: ["127.0.0.1:50061"]
    engine: {kind: scripted}
organisations:
  - name: acme
"""


def written(text: str = "", *, environment: dict[str, str] | None = None) -> Settings:
    """The settings of a valid document and more of its text."""
    return read(VALID + text, name="mesh.yaml", environment=environment or {})


def refusal(text: str, *, environment: dict[str, str] | None = None) -> str:
    """What the reader says against a whole document."""
    try:
        read(text, name="mesh.yaml", environment=environment or {})
    except SettingsError as error:
        return str(error)
    raise AssertionError("the document was accepted")


def spoilt(old: str, new: str) -> str:
    """What the reader says against the valid document with one passage replaced."""
    assert VALID.count(old) == 1, old
    return refusal(VALID.replace(old, new))


def added(text: str) -> str:
    """What the reader says against the valid document and more of its text."""
    return refusal(VALID + text)
