"""Ports that are free, held by others, or held by the mesh itself, with real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.mesh.doctor.finding import Finding, Verdict
from services.mesh.doctor.patient import Patient
from services.mesh.doctor.port_holder import holder_of
from services.mesh.doctor.ports import Ports, check
from services.mesh.state_directory import RunningMesh, StateDirectory
from tests.unit.mesh.doctor.found import all_of, verdicts
from tests.unit.settings.documents import written

LISTENING = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


@contextmanager
def listener(*arguments: str) -> Iterator[tuple[int, int]]:
    """Another process that listens: its port, its pid."""
    with subprocess.Popen(
        (sys.executable, "-I", "-S", "-c", LISTENING, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
        process.communicate()


def judged(state: StateDirectory, address: str) -> Finding:
    (found,) = Ports(addresses={"services.router.listen": address}, state=state).findings()
    return found


def test_a_port_that_nobody_holds_is_free_also_just_after_a_connection(state: StateDirectory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # from this side first: it is in TIME_WAIT now
    assert judged(state, f"127.0.0.1:{port}").says == f"127.0.0.1:{port} is free"


def test_who_holds_a_port_is_named(state: StateDirectory) -> None:
    with listener("--password", "hunter2") as (port, pid):
        found = judged(state, f"127.0.0.1:{port}")
    assert found.verdict is Verdict.WRONG
    program = Path(sys.executable).name
    assert found.says == f"127.0.0.1:{port} is in use by pid {pid}, {program}", "its arguments may hold a secret"
    assert found.cure == f"kill {pid}, or change services.router.listen"


def test_all_addresses_collide_with_one(state: StateDirectory) -> None:
    with listener() as (port, _):
        assert judged(state, f"0.0.0.0:{port}").verdict is Verdict.WRONG


def test_our_own_mesh_may_hold_it(state: StateDirectory) -> None:
    with listener("--config", str(state.configuration_file)) as (port, pid):
        found = judged(state, f"127.0.0.1:{port}")
    assert (found.verdict, found.says) == (
        Verdict.OK,
        f"127.0.0.1:{port} is held by the mesh that runs here (pid {pid})",
    )


def test_a_holder_that_the_kernel_does_not_show_is_another_users(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    with listener() as (port, _):
        (tmp_path / "net" / "tcp").write_text(Path("/proc/net/tcp").read_text())
        assert holder_of(port, proc=tmp_path) is None


def test_an_address_of_another_machine_is_refused(state: StateDirectory) -> None:
    assert judged(state, "192.0.2.1:50051").says == "192.0.2.1:50051 is no address of this machine"


def test_a_privileged_port_says_how_to_get_it(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refused)
    found = judged(state, "127.0.0.1:443")
    assert found.verdict is Verdict.WRONG
    assert "sudo sysctl net.ipv4.ip_unprivileged_port_start=443" in found.cure


def test_a_unix_socket_needs_its_folder_and_nobody_behind_it(state: StateDirectory, tmp_path: Path) -> None:
    assert judged(state, f"unix:{tmp_path}/no/s").cure == f"mkdir -p {tmp_path}/no"
    path = os.path.relpath(tmp_path / "s")  # short: 107 bytes are the most
    assert judged(state, f"unix:{path}").verdict is Verdict.OK
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert judged(state, f"unix:{path}").verdict is Verdict.WRONG
        with state.owned():
            state.announce(RunningMesh(router="127.0.0.1:7"))
            assert judged(state, f"unix:{path}").verdict is Verdict.OK


async def test_only_what_the_file_fixes_is_examined(state: StateDirectory) -> None:
    text = 'services:\n  router: {listen: "127.0.0.1:0"}\n  cache: {listen: "127.0.0.1:50152"}\n'
    patient = Patient(file=Path("f"), state=state, environment={}, default_model=Path("m"), settings=written(text))
    found = verdicts(await all_of(check(patient)))
    assert set(found) == {"services.cache.listen", "models.small.endpoints[0]"}
