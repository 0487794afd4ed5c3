"""Async generators that nobody has closed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def left_open() -> Iterator[list[str]]:
    """The names of those that were left to the garbage collector meanwhile, in the event loop that runs."""
    left: list[str] = []
    before = sys.get_asyncgen_hooks()

    def finalizer(generator: Any) -> None:
        left.append(generator.__qualname__)
        if before.finalizer is not None:
            before.finalizer(generator)

    sys.set_asyncgen_hooks(finalizer=finalizer)
    try:
        yield left
    finally:
        sys.set_asyncgen_hooks(*before)
