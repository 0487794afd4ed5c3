"""A wave of each kind, round by round; then the same questions over and over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.chaos.cache_mesh import Tier
from tests.chaos.staleness import Staleness, staleness
from tests.chaos.stampede import BUSY, KINDS, Kind, Wave, stampede
from tests.chaos.stampede_report import StampedeReport

MUTANT = "tests.chaos.cache_mutant"
Say = Callable[[str], None]


def _silent(_: str) -> None: ...


async def whole_run(
    *, rounds: int, askers: int, stale_seconds: float, seed: int, kinds: Sequence[Kind] = KINDS, say: Say = _silent
) -> StampedeReport:
    """Waves of these kinds, then invalidations; and then the encoder is kept busy, in a mesh of its own."""
    found, stale = await _waves(
        rounds=rounds, askers=askers, stale_seconds=stale_seconds, seed=seed, kinds=kinds, say=say
    )
    busy, _ = await _waves(
        rounds=1, askers=askers, seed=seed, kinds=(BUSY,), cache="tests.chaos.busy_cache", tier="balanced", say=say
    )
    return StampedeReport([*found, *busy], stale)


async def mutant_run(
    *, rounds: int, askers: int, stale_seconds: float, seed: int, kinds: Sequence[Kind] = KINDS, say: Say = _silent
) -> StampedeReport:
    """The same of a cache that is wrong."""
    found = await _waves(
        rounds=rounds, askers=askers, stale_seconds=stale_seconds, seed=seed, kinds=kinds, cache=MUTANT, say=say
    )
    return StampedeReport(*found)


async def _waves(
    *,
    rounds: int,
    askers: int,
    seed: int,
    kinds: Sequence[Kind],
    say: Say,
    stale_seconds: float = 0,
    cache: str = "services.cache",
    tier: Tier = "exact",
) -> tuple[list[Wave], Staleness]:
    found: list[Wave] = []
    async with stampede(seed=seed, cache=cache, tier=tier) as running:
        for number in range(rounds * len(kinds)):
            kind = kinds[number % len(kinds)]
            wave = await running.wave(kind, askers=askers, number=number)
            say(f"{kind.name}: {wave.generations} generations; {dict(wave.endings)}")
            found.append(wave)
        return found, await staleness(running, seconds=stale_seconds) if stale_seconds else Staleness()
