"""A record of every token that was made, to compare with what was billed."""

from __future__ import annotations

import json
import os


class MadeTokens:
    """One JSON line a token: {"request_id": "…", "index": 0}. It survives kill -9 and a power cut."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, request_id: str, *, first: int, count: int) -> None:
        """On disk when it returns. Blocks for that long: this is for tests."""
        lines = (json.dumps({"request_id": request_id, "index": first + each}) for each in range(count))
        os.write(self._file, "".join(f"{line}\n" for line in lines).encode())
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)
