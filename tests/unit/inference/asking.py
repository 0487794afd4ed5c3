"""Collecting what is streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

Item = TypeVar("Item")


async def collect(items: AsyncIterator[Item]) -> list[Item]:
    return [item async for item in items]
