"""A budget over a ledger in memory; what Redis does is tests/contract's, and test_redis_away's here."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.rpc.budget.served import Served, serving


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, as a socket's path has to be."""
    with tempfile.TemporaryDirectory(prefix="tokenway-") as name:
        yield Path(name)


@pytest.fixture
async def budget(folder: Path) -> AsyncIterator[Served]:
    async with serving(folder) as served:
        yield served
