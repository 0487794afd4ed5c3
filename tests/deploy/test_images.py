"""The images, built for real: small, nobody's root, without secrets; and the mesh of compose.yaml, run from them.

`make images` runs this: minutes, root, and the packages from the network.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.testing.valkey import RedisServer, valkey_binary
from tests.deploy.builder import Builder, Image
from tests.deploy.free_port import free_port
from tests.deploy.shipped import DEPLOY, read
from tests.deploy.test_compose import make_secrets

TARGETS = ("router", "cache", "budget", "inference", "mesh")
# Over the base. The pins of a service and its wheel, and nothing else; of the cache, two thirds are onnxruntime, FAISS
# and numpy.
MOST_MEGABYTES = {"router": 140, "cache": 380, "budget": 85, "inference": 90, "mesh": 220}
USER = 65532
SECRET = secrets.token_hex(16)

missing = [each for each in ("buildah", "debootstrap") if shutil.which(each) is None]
pytestmark = [
    pytest.mark.images,
    pytest.mark.timeout(1_200),
    pytest.mark.skipif(bool(missing), reason=f"no {' and no '.join(missing)}; apt-get install buildah debootstrap"),
    pytest.mark.skipif(os.geteuid() != 0, reason="debootstrap and containers by chroot need root"),
]


@pytest.fixture(scope="module")
def builder() -> Iterator[Builder]:
    with tempfile.TemporaryDirectory(prefix="tokenway-images-", dir="/var/tmp") as folder:
        made = Builder(Path(folder))
        try:
            made.make_base()
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def images(builder: Builder) -> dict[str, Image]:
    """Every small image; says what each took."""
    built = {}
    for target in TARGETS:
        began = time.monotonic()
        built[target] = builder.build(target, secret=SECRET)
        told = f"{target}: {built[target].megabytes_over_base} MB over its base, {time.monotonic() - began:.0f} s"
        sys.__stdout__.write(f"\n{told}")  # type: ignore[union-attr] # past pytest: it is what `make images` tells
    return built


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_is_small(images: dict[str, Image], target: str) -> None:
    assert images[target].megabytes_over_base <= MOST_MEGABYTES[target]


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_nobody_special_and_stops_by_draining(images: dict[str, Image], target: str) -> None:
    config = images[target].config
    assert (config["User"], config["StopSignal"]) == (f"{USER}:{USER}", "SIGTERM")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_holds_no_secret_no_installer_and_no_tests(images: dict[str, Image], target: str) -> None:
    root = images[target].root()
    found = subprocess.run(["grep", "-rlFI", SECRET, root], capture_output=True, text=True, check=False).stdout
    assert found == ""
    assert SECRET not in json.dumps(images[target].config)
    assert not (root / "opt/pip").exists()
    assert not (root / "opt/venv/bin/pip").exists()
    assert not (root / "opt/tokenway/libs/testing").exists()
    assert not (root / "opt/tokenway/tests").exists()


def test_the_image_for_gpus_takes_what_its_base_has(builder: Builder) -> None:
    """Its base cannot be had here: any with Python shows that it builds, and that our packages are found."""
    found = builder.build("inference-gpu").command("python", "-c", "import pynvml, services.inference.server")
    assert subprocess.run(found, env=CHROOT, check=False).returncode == 0


async def test_the_mesh_of_compose_answers_from_its_images(images: dict[str, Image]) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        async with mesh(images, Path(name)) as (router, mounts, environment):
            for target in ("cache", "budget", "inference", "router"):
                assert await healthy(images[target], mounts, router) == ""
            answered = await ran(
                images["mesh"].command(
                    *("python", "/opt/tokenway/bin/tokenway", "chat", "--json", "--router", router),
                    *("--ca-file", "/etc/tokenway/tls/public/tls.crt", "Hello"),
                    mounts=mounts,
                    environment=environment,
                )
            )
    receipt = json.loads(answered.splitlines()[-1])["finished"]["receipt"]
    assert (receipt["model"], receipt["outcome"]) == ("smollm2-135m", "OUTCOME_FINISHED")


async def healthy(image: Image, mounts: dict[Path, str], router: str) -> str:
    """What the image's own health check says; "" when it is content."""
    kind, *words = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    words = [router.replace("localhost", "127.0.0.1") if each == "127.0.0.1:50051" else each for each in words]
    return await ran(image.command(*words, mounts=mounts))


async def ran(command: list[str]) -> str:
    started = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CHROOT)
    output, errors = await asyncio.wait_for(started.communicate(), 60)
    assert started.returncode == 0, (output + errors).decode()[-2_000:]
    return output.decode()


CHROOT = {**os.environ, "BUILDAH_ISOLATION": "chroot"}


@asynccontextmanager
async def mesh(images: dict[str, Image], folder: Path) -> AsyncIterator[tuple[str, dict[Path, str], dict[str, str]]]:
    """The four services as compose.yaml runs them, on a scripted engine: the router's address, mounts, a key."""
    run, made = folder / "run", folder / "secrets"
    run.mkdir()
    make_secrets(made)
    router = f"localhost:{free_port()}"
    (folder / "tokenway.yaml").write_text(yaml.safe_dump(on_loopback(read(made / "tokenway.yaml"), router)))
    mounts = {
        run: "/run/tokenway",
        folder / "tokenway.yaml": "/etc/tokenway/tokenway.yaml",
        made / "otel.crt": "/etc/tokenway/tls/otel/ca.crt",
        made / "router.crt": "/etc/tokenway/tls/public/tls.crt",
        made / "router.key": "/etc/tokenway/tls/public/tls.key",
    }
    with RedisServer(binary=valkey_binary(), folder=run, options=("--unixsocketperm", "777")):
        os.chown(run, USER, USER)
        async with AsyncExitStack() as stack:
            for name in ("budget", "cache", "inference", "router"):
                await stack.enter_async_context(served(images[name], name, mounts, variables(made / "mesh.env")))
            yield router, mounts, variables(made / "admin.env")


@asynccontextmanager
async def served(image: Image, name: str, mounts: dict[Path, str], environment: dict[str, str]) -> AsyncIterator[None]:
    """Runs the image's entry point while the block does; it must say `ready`, and end well when it is told to."""
    arguments = read(DEPLOY / "compose.yaml")["services"][name].get("command") or image.config["Cmd"]
    command = image.command(*image.config["Entrypoint"], *arguments, mounts=mounts, environment=environment)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=CHROOT)
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line.decode().startswith(f"ready {name}=")
        yield
    finally:
        # buildah itself would kill: Docker sends the signal to the service.
        os.kill(innermost(process.pid), signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0


def innermost(pid: int) -> int:
    """The process that the container is for, below those that buildah puts round it."""
    # Of any of its threads.
    children = [child for each in Path(f"/proc/{pid}/task").glob("*/children") for child in each.read_text().split()]
    return innermost(int(children[0])) if children else pid


def on_loopback(settings: dict[str, Any], router: str) -> dict[str, Any]:
    """The shipped configuration without what containers have of their own: ports, an engine's weights."""
    for service in (*settings["services"].values(), *settings["models"]):
        service["metrics"] = "127.0.0.1:0"
    settings["services"]["router"]["listen"] = router.replace("localhost", "127.0.0.1")
    settings["models"][0]["engine"] = {"kind": "scripted", "max_model_len": 8_192}
    return settings


def variables(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())
