"""An inference service with a scripted engine; what vLLM does is tests/contract's."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.rpc.inference.served import Served, serving


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, as a socket's path has to be."""
    with tempfile.TemporaryDirectory(prefix="tokenway-") as name:
        yield Path(name)


@pytest.fixture
async def inference(folder: Path) -> AsyncIterator[Served]:
    async with serving(folder) as served:
        yield served
