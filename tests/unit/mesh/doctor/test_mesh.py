"""The mesh that would start. The one that runs is in tests/mesh_cli/test_doctor.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.settings.schema import Settings
from services.mesh.doctor.finding import Finding, Verdict
from services.mesh.doctor.mesh import Mesh
from services.mesh.state_directory import RunningMesh, StateDirectory
from tests.unit.mesh.doctor.found import about, all_of
from tests.unit.settings.documents import written


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    state = StateDirectory(tmp_path)
    state.api_key()
    return state


async def found(state: StateDirectory, settings: Settings | None, *, running: bool = False) -> list[Finding]:
    mesh = RunningMesh(router="127.0.0.1:1", tls=False) if running else None
    return await all_of(Mesh(state=state, running=mesh, settings=settings))


@pytest.mark.parametrize(("redis", "first"), [("embedded", "valkey, budget"), ("redis://h", "budget")])
async def test_what_would_start_is_named(state: StateDirectory, redis: str, first: str) -> None:
    (said,) = await found(state, written(f"stores: {{redis_url: '{redis}'}}\n"))
    assert said.says.endswith(f"`tokenway up` would start {first}, cache, inference-small-0, router")


async def test_why_none_would_start_is_said(state: StateDirectory) -> None:
    (said,) = await found(state, None)
    assert "the configuration is refused" in said.says


async def test_what_does_not_answer_is_wrong(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.mesh.doctor.mesh._ANSWER_SECONDS", 0.5)
    state.configuration_file.write_text(
        "services: {cache: {listen: '127.0.0.1:1'}, budget: {listen: 'unix:/none'}}\n"
        "models: [{name: small, tier: small, capabilities: [all], context_window_tokens: 4096, p99_latency_seconds: 1,"
        " price: {input_usd_per_million_tokens: 1, output_usd_per_million_tokens: 1}, endpoints: ['127.0.0.1:0']}]\n"
        "organisations: [{name: acme}]\n"
    )
    said = await found(state, written(), running=True)
    assert {each.subject: each.verdict for each in said} == {
        "router": Verdict.WRONG,
        "budget": Verdict.WRONG,
        "cache": Verdict.WRONG,
        "small-0": Verdict.SKIPPED,
        "models": Verdict.WRONG,
    }
    assert about(said, "models").cure == f"tail {state.logs}/router.log"
