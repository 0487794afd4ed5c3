"""What a process of clients is told, and where it writes what they got."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.chaos.tenants import RICH, Payer, payers, tight

# How long an answer is, from and to.
TOKENS = (4, 24)


@dataclass(frozen=True, slots=True)
class Orders:
    """So many streams at once for so long; every client asks again when its stream has ended."""

    name: str
    seed: int
    folder: str
    routers: tuple[str, ...]
    streams: int
    seconds: float
    # Tokens a second of one answer, from and to.
    pace: tuple[float, float]
    # After so long those that still read leave.
    grace_seconds: float
    waves: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Orders:
        fields = json.loads(text)
        return cls(**fields | {"routers": tuple(fields["routers"]), "pace": tuple(fields["pace"])})

    @property
    def got_tokens_file(self) -> Path:
        """A line a token that came; as the engine's own file."""
        return Path(self.folder) / f"got-{self.name}.jsonl"

    @property
    def requests_file(self) -> Path:
        """A line a request that has ended; see Asked."""
        return Path(self.folder) / f"requests-{self.name}.jsonl"

    def payers(self, elapsed_seconds: float) -> Sequence[Payer]:
        """Whose money is spent then: that of the rich, of one tight organisation after the other, and what is left."""
        wave = min(self.waves - 1, int(self.waves * elapsed_seconds / self.seconds))
        *earlier, now = tight(self.waves)[: wave + 1]
        return (*8 * payers(RICH), *3 * payers(now), *(payer for each in earlier for payer in payers(each)))


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as its client knows it. It has no id where nothing came back."""

    request_id: str
    organisation: str
    key_id: str
    input_tokens: int
    ending: str
    # By a clock that all processes share.
    began_at: float = 0.0
    ended_at: float = 0.0
