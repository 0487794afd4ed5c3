"""The supervisor, with a real Valkey and real processes that behave as they are told to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from libs.settings.schema import Settings
from services.mesh.errors import InterruptedMeshError, MeshError, ServiceFailedError
from services.mesh.state_directory import RunningMesh, StateDirectory
from services.mesh.supervisor import health
from services.mesh.supervisor.interruption import Interruption
from services.mesh.supervisor.plan import Plan, Sockets
from services.mesh.supervisor.process import Program
from services.mesh.supervisor.supervisor import Supervisor
from tests.unit.mesh.processes import descendants
from tests.unit.settings.documents import written

pytestmark = pytest.mark.processes

FAKE = Path(__file__).with_name("fake_service.py")


@dataclass
class Stage:
    """A supervisor of fake services, and what became of them."""

    state: StateDirectory
    behaviours: dict[str, str] = field(default_factory=dict)
    settings: Settings = field(default_factory=written)
    interruption: Interruption = field(default_factory=Interruption)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    served: list[str] = field(default_factory=list)
    start_seconds: float = 20

    @property
    def record(self) -> list[str]:
        path = self.state.root / "record"
        return path.read_text().split("\n")[:-1] if path.exists() else []

    async def run(self, body: Callable[[RunningMesh], Awaitable[Any]]) -> Any:
        supervisor = Supervisor(
            settings=self.settings,
            state=self.state,
            default_model=Path("/models/default"),
            interruption=self.interruption,
            environment=self.environment,
            report=self.served.append,
            start_seconds=self.start_seconds,
            planner=self.plan,
        )
        before = {each.pid for each in descendants(os.getpid())}
        try:
            return await supervisor.run(body)
        finally:
            left = [each for each in descendants(os.getpid()) if each.pid not in before]
            assert left == [], "nothing may be left behind"

    def plan(self, settings: Settings, *, sockets: Sockets, configuration_file: Path, owner_sha256: str) -> Plan:
        programs = tuple(self.program(name, sockets) for name in ("budget", "cache"))
        return Plan(settings=settings, backing=programs, router=self.program("router", sockets))

    def program(self, name: str, sockets: Sockets) -> Program:
        arguments = (self.behaviours.get(name, "works"), name, f"unix:{sockets.folder}/{name}.sock")
        command = (sys.executable, str(FAKE), *arguments, str(self.state.root / "record"))
        return Program(name, command, rpc_service="tokenway.fake.v1.FakeService")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(StateDirectory(tmp_path / "state"))


async def nothing(mesh: RunningMesh) -> None:
    """A body that is done at once."""


async def forever(mesh: RunningMesh) -> None:
    """A body that only a cancel ends."""
    await asyncio.Event().wait()


async def test_the_router_starts_last_and_stops_first(stage: Stage) -> None:
    await stage.run(nothing)
    assert stage.served == ["valkey", "budget", "cache", "router"]
    starts, stops = stage.record[:3], stage.record[3:]
    assert (sorted(starts[:2]), starts[2]) == (["budget start", "cache start"], "router start")
    assert (stops[0], sorted(stops[1:])) == ("router stop", ["budget stop", "cache stop"])


async def test_the_result_of_the_body_is_returned_after_everything_stopped(stage: Stage) -> None:
    async def body(mesh: RunningMesh) -> str:
        return mesh.router

    assert re.fullmatch(r"unix:\S+/router\.sock", await stage.run(body))


async def test_clients_find_the_mesh_while_it_runs_and_only_then(stage: Stage) -> None:
    async def body(mesh: RunningMesh) -> None:
        assert stage.state.running() == mesh

    await stage.run(body)
    assert stage.state.running() is None


async def test_an_error_of_the_body_stops_everything_and_comes_through(stage: Stage) -> None:
    async def body(mesh: RunningMesh) -> None:
        raise MeshError("the demo did not behave")

    with pytest.raises(MeshError, match=r"^the demo did not behave$"):
        await stage.run(body)
    assert "router stop" in stage.record


async def test_a_service_that_cannot_start_is_named_with_its_last_words(stage: Stage) -> None:
    stage.behaviours["cache"] = "fails"
    with pytest.raises(ServiceFailedError) as failed:
        await stage.run(nothing)
    assert re.fullmatch(
        r"cache could not start \(exit code 1\): cache: cannot listen on unix:\S+: is the port in use\?; its log: \S+",
        str(failed.value),
    )
    assert "router start" not in stage.record


async def test_a_service_that_says_nothing_is_named_with_the_end_of_its_log(stage: Stage) -> None:
    stage.behaviours["cache"] = "fails with a traceback of ours"
    with pytest.raises(
        ServiceFailedError, match=r"^cache could not start \(exit code 1\); the end of its log"
    ) as failed:
        await stage.run(nothing)
    assert failed.value.last_lines == ('{"event": "unexpected error", "level": "error"}',)


async def test_a_service_that_is_killed_is_named_with_the_signal(stage: Stage) -> None:
    stage.behaviours["router"] = "is killed"
    with pytest.raises(ServiceFailedError, match=r"^router could not start \(killed by SIGKILL\); the end") as failed:
        await stage.run(nothing)
    assert "warnings.warn" not in str(failed.value), "what stood last in its log is not why"


async def test_a_service_that_is_never_ready_ends_the_wait(stage: Stage) -> None:
    stage.behaviours["budget"] = "is never ready"
    stage.start_seconds = 0.5
    with pytest.raises(MeshError, match=r"^budget is not ready after 0\.5 seconds; its log: \S+/logs/budget\.log$"):
        await stage.run(nothing)


async def test_a_service_that_is_not_healthy_is_not_believed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_PATIENCE_SECONDS", 0.5)
    stage.behaviours["budget"] = "lies"
    with pytest.raises(
        MeshError, match=r"^budget said that it was ready at unix:\S+, but its health there is NOT_SERVI"
    ):
        await stage.run(nothing)


async def test_a_service_that_dies_ends_the_mesh(stage: Stage) -> None:
    stage.behaviours["router"] = "dies"
    with pytest.raises(ServiceFailedError, match=r"^router ended \(exit code 1\): router: the engine died; its log: "):
        await stage.run(forever)
    assert {"budget stop", "cache stop"} <= set(stage.record)


async def test_a_valkey_that_dies_ends_the_mesh(stage: Stage) -> None:
    async def body(mesh: RunningMesh) -> None:
        (valkey,) = (
            each for each in descendants(os.getpid()) if f"{stage.state.sockets.readlink()}/valkey.sock" in each.command
        )
        os.kill(valkey.pid, signal.SIGKILL)
        await forever(mesh)

    with pytest.raises(ServiceFailedError, match=r"^valkey ended \(killed by SIGKILL\)"):
        await stage.run(body)


@contextlib.contextmanager
def not_ignored(number: signal.Signals) -> Iterator[None]:
    """Whoever runs the tests under `nohup` has them ignore SIGHUP, and the mesh honours that."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_drains(stage: Stage, number: signal.Signals) -> None:
    async def body(mesh: RunningMesh) -> None:
        os.kill(os.getpid(), number)
        await forever(mesh)

    with not_ignored(number), stage.interruption.listening(), pytest.raises(InterruptedMeshError):
        await stage.run(body)
    assert stage.interruption.by == number
    assert stage.record[3] == "router stop"


async def test_a_signal_is_not_lost_to_a_library_that_swallows_a_cancel(stage: Stage) -> None:
    async def body(mesh: RunningMesh) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        with contextlib.suppress(asyncio.CancelledError):
            await forever(mesh)
        await forever(mesh)

    with stage.interruption.listening(), pytest.raises(InterruptedMeshError):
        await stage.run(body)


async def test_a_signal_while_starting_stops_what_has_started(stage: Stage) -> None:
    stage.behaviours["cache"] = "is never ready"
    asyncio.get_running_loop().call_later(0.5, os.kill, os.getpid(), signal.SIGTERM)
    with stage.interruption.listening(), pytest.raises(InterruptedMeshError):
        await stage.run(nothing)


@pytest.mark.timeout(30)
async def test_a_second_signal_kills_what_does_not_stop(stage: Stage) -> None:
    stage.behaviours["router"] = "does not stop"
    stage.settings = written("services: {router: {drain_seconds: 600}}")

    async def body(mesh: RunningMesh) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)
        await forever(mesh)

    with stage.interruption.listening(), pytest.raises(InterruptedMeshError):
        await stage.run(body)
    assert "router stop" not in stage.record


async def test_two_meshes_do_not_share_a_state_directory(stage: Stage) -> None:
    with stage.state.owned(), pytest.raises(MeshError, match=r"^a mesh is running in \S+ already: stop it, or choose "):
        await stage.run(nothing)


async def test_a_redis_that_is_not_there_is_said_before_anything_starts(stage: Stage) -> None:
    stage.settings = written(environment={"REDIS_URL": "redis://me:hunter2@127.0.0.1:1"})
    with pytest.raises(MeshError, match=r"^Redis at redis://…@127\.0\.0\.1:1 cannot be used: .*; start it, or leave"):
        await stage.run(nothing)
    assert stage.served == []


async def test_a_redis_of_ones_own_is_used(stage: Stage, redis_url: str) -> None:
    stage.settings = written(environment={"REDIS_URL": redis_url})
    await stage.run(nothing)
    assert stage.served == ["budget", "cache", "router"]


async def test_sockets_of_a_mesh_that_was_killed_are_removed(stage: Stage, tmp_path: Path) -> None:
    left = tmp_path / "tokenway-left"
    left.mkdir()
    with stage.state.owned():
        stage.state.announce(RunningMesh(router="127.0.0.1:1"))
        stage.state.sockets.symlink_to(left)
    await stage.run(nothing)
    assert not left.exists()
    assert not stage.state.sockets.is_symlink()


async def test_what_is_not_of_a_mesh_is_never_removed(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with stage.state.owned():
        stage.state.sockets.symlink_to(tmp_path / "home")
    await stage.run(nothing)
    assert (tmp_path / "home").is_dir()


async def test_no_key_and_no_token_lies_open_in_the_state_directory(stage: Stage) -> None:
    await stage.run(nothing)
    key = stage.state.api_key()
    for path in stage.state.root.rglob("*"):
        if path.is_file() and path != stage.state.api_key_file:
            assert key.encode() not in path.read_bytes(), path
    assert stage.state.api_key_file.stat().st_mode & 0o777 == 0o600
    assert stage.state.configuration_file.stat().st_mode & 0o777 == 0o600
    assert stage.state.root.stat().st_mode & 0o777 == 0o700
