"""The example clients: what each needs, how it is built, and how it is run, as its README says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

CLIENTS = Path(__file__).parents[2] / "deploy" / "clients"
_PATIENCE_SECONDS = 60
# Two busy cores need their time for C++.
BUILD_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user of it saw."""

    code: int
    answer: str
    said: str


@dataclass(frozen=True, slots=True)
class Example:
    """One language. `needs` are commands that succeed where the tool chain is there; `packages` are Debian's names."""

    language: str
    needs: tuple[str, ...]
    packages: str
    build: str
    ask: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return CLIENTS / self.language

    @property
    def missing(self) -> str | None:
        """Why it cannot be built here."""
        lacking = [each for each in self.needs if not _succeeds(each)]
        if not lacking:
            return None
        return f"`{'`, `'.join(lacking)}` failed; `apt-get install {self.packages}` brings what is missing"

    def made(self) -> None:
        """Builds what is not built, in folders that git ignores."""
        subprocess.run(("sh", "-c", self.build), cwd=self.folder, check=True, timeout=BUILD_SECONDS)

    async def asked(self, router: str, *arguments: str, **environment: str) -> Asked:
        """The program, run to its end."""
        async with self.asking(router, *arguments, **environment) as process:
            answer, said = await asyncio.wait_for(process.communicate(), _PATIENCE_SECONDS)
            return Asked(process.returncode or 0, answer.decode(), said.decode())

    @asynccontextmanager
    async def asking(
        self, router: str, *arguments: str, **environment: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """The program while it runs."""
        process = await asyncio.create_subprocess_exec(
            *(*self.ask, *arguments),
            cwd=self.folder,
            env={**os.environ, "TOKENWAY_ROUTER": router, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


EXAMPLES = (
    Example(
        language="python",
        needs=(),
        packages="",
        build=":",
        ask=(sys.executable, "ask.py"),
    ),
    Example(
        language="node",
        needs=("node --version", "npm --version"),
        packages="nodejs npm",
        build="[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci",
        ask=("node", "ask.js"),
    ),
    Example(
        language="ruby",
        needs=("protoc --version", "command -v grpc_ruby_plugin", "ruby -rgrpc -e ''"),
        packages="protobuf-compiler protobuf-compiler-grpc ruby-grpc",
        build="make --silent",
        ask=("ruby", "ask.rb"),
    ),
    Example(
        language="cpp",
        needs=(
            "g++ --version",
            "pkg-config --exists grpc++ protobuf",
            "protoc --version",
            "command -v grpc_cpp_plugin",
        ),
        packages="g++ pkg-config libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc",
        build="make --silent -j2",
        ask=("build/ask",),
    ),
)


def _succeeds(command: str) -> bool:
    return subprocess.run(("sh", "-c", command), capture_output=True, check=False).returncode == 0
