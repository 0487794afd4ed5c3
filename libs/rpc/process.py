"""One service as a process: reads the configuration, serves, says so, and ends in order.

Standard output has one line, `ready NAME=ADDRESS metrics=ADDRESS`, once the service is SERVING; logs go to standard
error. Exit codes: 0 after SIGTERM or SIGINT, 1 for a failure (the last line of standard error says which), 2 for a
configuration that is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import uvloop
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import REGISTRY

from libs.background import running
from libs.clock import SystemClock
from libs.errors import Reason, TokenwayError
from libs.rpc.call import current_request_id
from libs.rpc.runtime import Runtime
from libs.rpc.server import RpcServer
from libs.rpc.tls import Tls
from libs.settings.document import SettingsError, load
from libs.settings.schema import Settings
from libs.telemetry import logs, metrics, tracing
from libs.telemetry.loop_lag import LoopLag
from libs.telemetry.otlp import OtlpTarget

MESH_TOKEN_VARIABLE = "TOKENWAY_MESH_TOKEN"  # noqa: S105  # the variable's name
# One more collector, beside the configured one: `tokenway up` names its own here.
OTLP_VARIABLE = "TOKENWAY_OTLP"


class ServiceConfig(Protocol):
    """What every service's own configuration has."""

    @property
    def metrics_listen(self) -> str: ...


Config = TypeVar("Config", bound=ServiceConfig)
Serve = Callable[..., AbstractAsyncContextManager[RpcServer]]


def run(name: str, configure: Callable[..., Config], serve: Serve, *, options: tuple[str, ...] = ()) -> NoReturn:
    """Runs `serve(config, runtime=…)` until a signal, and exits.

    `options` are more arguments of the command line; they go to `configure(settings, option=value)` as strings.
    """
    arguments = _arguments(name, options)
    try:
        settings = load(Path(arguments.pop("config")))
        config = configure(settings, **arguments)
        logs.set_up(settings.telemetry.log_level, request_id=current_request_id.get)
        uvloop.run(_main(name, config, settings, serve))
    except SettingsError as error:
        sys.exit(_failed(str(error), code=2))
    except (TokenwayError, OSError, ValueError) as error:
        sys.exit(_failed(f"{name}: {getattr(error, 'message', error)}", code=1))
    sys.exit(0)


async def _main(name: str, config: ServiceConfig, settings: Settings, serve: Serve) -> None:
    provider = _tracer_provider(name, settings)
    try:
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(serve(config, runtime=_runtime(name, settings)))
            scraped = stack.enter_context(metrics.metrics_server(config.metrics_listen, registry=REGISTRY))
            loop_lag = LoopLag(REGISTRY, clock=SystemClock())
            await stack.enter_async_context(running(loop_lag.watch(), name="loop lag"))
            # What start-up made lives for ever. Left to the collector, each full collection would look through it all
            # and stop the loop for 40 ms: twice what a router waits for its cache.
            gc.collect()
            gc.freeze()
            # Before the line: whoever reads it may send a signal at once.
            told = _told_to_stop()
            sys.stdout.write(f"ready {name}={server.address} metrics={scraped}\n")
            sys.stdout.flush()
            await _until_told_or_failed(told, server)
    finally:
        tracing.shut_down(provider)


def _told_to_stop() -> asyncio.Event:
    """Set by the first signal; a second one kills, as signals do."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()

    def stop() -> None:
        told.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop)
    return told


async def _until_told_or_failed(told: asyncio.Event, server: RpcServer) -> None:
    """Raises the error that ended the service."""
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait((waiting, server.failed), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if server.failed.done():
        raise server.failed.result()


def _tracer_provider(name: str, settings: Settings) -> TracerProvider:
    configured, own = OtlpTarget.of(settings.telemetry, environment=os.environ), os.environ.get(OTLP_VARIABLE)
    targets = [configured] if configured else []
    targets += [OtlpTarget(own)] if own else []
    provider = tracing.tracer_provider(
        f"tokenway-{name}",
        endpoints=targets,
        sampling_ratio=settings.telemetry.sampling_ratio,
        instance_id=f"{os.uname().nodename}-{os.getpid()}",
    )
    # vLLM takes the global provider for its own spans, so it has to be set before any engine exists.
    trace.set_tracer_provider(provider)
    return provider


def _runtime(name: str, settings: Settings) -> Runtime:
    token, tls = os.environ.get(MESH_TOKEN_VARIABLE, ""), settings.mesh_tls
    if not token and tls is None:
        message = (
            f"the hops inside the mesh are open to all: set {MESH_TOKEN_VARIABLE} to a long random text, the same "
            "for every service, or configure mesh_tls"
        )
        raise TokenwayError(Reason.INVALID_REQUEST, message)
    return Runtime(
        tracer=trace.get_tracer(f"tokenway.{name}"),
        registry=REGISTRY,
        mesh_token=token,
        mesh_tls=Tls(tls.certificate_file, tls.key_file, tls.ca_file) if tls else None,
    )


def _arguments(name: str, options: tuple[str, ...]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog=f"python -m services.{name}", description=f"Tokenway's {name} service.")
    parser.add_argument("--config", required=True, help="the mesh's configuration file")
    for option in options:
        parser.add_argument(f"--{option}", required=True)
    return vars(parser.parse_args())


def _failed(message: str, *, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code
