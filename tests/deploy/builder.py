"""Images built by buildah, in a store of the test's own, on a base that debootstrap makes: no registry is asked.

Packages come from where pip gets them on this machine. Needs root; containers run by chroot, on the host's network.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.deploy.shipped import DEPLOY

_PACKAGES = "ca-certificates,python3,python3-venv"
_BASE = "localhost/base"
_PIP_SETTINGS = ("index-url", "extra-index-url", "find-links", "cert")


@dataclass(frozen=True)
class Image:
    """What a target became."""

    builder: Builder
    target: str

    @cached_property
    def config(self) -> dict[str, Any]:
        """As the image's own JSON has it: User, Entrypoint, Healthcheck …"""
        described = json.loads(self.builder.buildah("inspect", "--type", "image", f"localhost/{self.target}"))
        config = described["Docker"]["config"]
        assert isinstance(config, dict)
        return config

    @property
    def megabytes_over_base(self) -> int:
        sizes = {
            name: each["size"]
            for each in json.loads(self.builder.buildah("images", "--json"))
            for name in each.get("names") or ()
        }
        return (_bytes(sizes[f"localhost/{self.target}:latest"]) - _bytes(sizes[f"{_BASE}:latest"])) // 1_000_000

    def command(
        self, *words: str, mounts: Mapping[Path, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> list[str]:
        """A command line that runs the words in a new container, as the image's user."""
        container = self.builder.buildah("from", f"localhost/{self.target}").strip()
        volumes = [f"--volume={source}:{target}" for source, target in (mounts or {}).items()]
        variables = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        return [*self.builder.program, "run", *volumes, *variables, container, "--", *words]

    def root(self) -> Path:
        """The files of a new container."""
        container = self.builder.buildah("from", f"localhost/{self.target}").strip()
        return Path(self.builder.buildah("mount", container).strip())


@dataclass(frozen=True, slots=True)
class Builder:
    """A store in a folder, which `close` empties."""

    folder: Path

    @property
    def program(self) -> list[str]:
        return ["buildah", f"--root={self.folder}/store", f"--runroot={self.folder}/run"]

    def buildah(self, *arguments: str) -> str:
        ended = subprocess.run(
            [*self.program, *arguments],
            env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout[-3_000:] + ended.stderr[-3_000:]
        return ended.stdout

    def make_base(self) -> None:
        """Debian 12 with Python: what the Dockerfile asks of its base."""
        root = self.folder / "debian"
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", root],
            check=True,
            capture_output=True,
        )
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, str(root), "/")
        self.buildah("commit", "--quiet", container, _BASE)

    def build(self, target: str, *, secret: str = "") -> Image:
        """The secret is a line of the pip.conf that the build is given."""
        settings = pip_settings()
        pip_conf = self.folder / "pip.conf"
        lines = (f"{name} = {value}" for name, value in settings.items())
        pip_conf.write_text("\n".join(("[global]", *lines, f"# {secret}", "")))
        self.buildah(
            *("build", "--layers", "--format=docker", f"--file={DEPLOY / 'Dockerfile'}", f"--target={target}"),
            *(f"--build-arg={name}={_BASE}" for name in ("BASE", "GPU_BASE")),
            *(("--build-arg=TORCH_INDEX=https://pypi.org/simple",) if "find-links" in settings else ()),
            f"--secret=id=pip,src={pip_conf}",
            *(f"--volume={each}:{each}:ro" for each in _local(settings.values())),
            *(f"--tag=localhost/{target}", str(DEPLOY.parent)),
        )
        return Image(self, target)

    def close(self) -> None:
        self.buildah("rm", "--all")
        self.buildah("rmi", "--all", "--force")


def pip_settings() -> dict[str, str]:
    """Where this machine's pip gets packages."""
    found = {
        name: os.environ.get(f"PIP_{name.replace('-', '_').upper()}") or _configured(name) for name in _PIP_SETTINGS
    }
    return {name: value for name, value in found.items() if value}


def _configured(name: str) -> str:
    asked = ["python3", "-m", "pip", "config", "get", f"global.{name}"]
    return subprocess.run(asked, capture_output=True, text=True, check=False, cwd="/").stdout.strip()


def _local(values: Sequence[str] | Any) -> list[str]:
    """Files and folders among pip's settings, which the build has to see."""
    words = (urlsplit(word) for value in values for word in value.split())
    return [word.path for word in words if word.scheme in ("", "file") and Path(word.path).exists()]


def _bytes(size: str) -> int:
    """`342 MB`."""
    number, unit = size.split()
    return int(float(number) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])
