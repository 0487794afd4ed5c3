"""`python fake_service.py BEHAVIOUR NAME ADDRESS RECORD`: a service of the mesh as far as a supervisor can see.

Appends `NAME start`, `NAME stop` to the record, so that a test can see the order.
"""

from __future__ import annotations

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def main(behaviour: str, name: str, address: str, record: str) -> None:
    if behaviour == "fails":
        sys.exit(f"{name}: cannot listen on {address}: is the port in use?")
    if behaviour == "is killed":
        sys.stderr.write("warnings.warn('of something else')\n")
        signal.raise_signal(signal.SIGKILL)
    if behaviour == "fails with a traceback of ours":
        sys.stderr.write('{"event": "unexpected error", "level": "error"}\n')
        sys.exit(1)
    # Blocked before any thread is made, and waited for: a handler that sets an Event may deadlock with the wait for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    awaited = {signal.SIGUSR1 if behaviour == "does not stop" else signal.SIGTERM}
    if behaviour == "is never ready":
        signal.sigwait(awaited)
        return
    note(record, f"{name} start")
    server = serving(address, ready=behaviour != "lies")
    sys.stdout.write(f"hello\nready {name}={address} metrics=127.0.0.1:1\nmore\n")
    sys.stdout.flush()
    if behaviour == "dies":
        sys.exit(f"{name}: the engine died")
    signal.sigwait(awaited)
    server.stop(0).wait()
    note(record, f"{name} stop")


def serving(address: str, *, ready: bool) -> grpc.Server:
    server = grpc.server(ThreadPoolExecutor(2))
    status = health.HealthServicer()
    status.set(
        "tokenway.fake.v1.FakeService",
        health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING,
    )
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    server.add_insecure_port(address)
    server.start()
    return server


def note(record: str, line: str) -> None:
    with Path(record).open("a") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
