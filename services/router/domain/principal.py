"""Who asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity behind a key. The organisation is the border that no content crosses."""

    key_id: str
    organisation: str
    user: str = ""
    team: str = ""
    role: Literal["caller", "admin"] = "caller"
    # Empty: all.
    allowed_models: frozenset[str] = frozenset()

    def may_use(self, model: str) -> bool:
        return not self.allowed_models or model in self.allowed_models
