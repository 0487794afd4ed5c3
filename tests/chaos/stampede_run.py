"""A wave of each kind, round by round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.chaos.cache_mesh import Tier
from tests.chaos.stampede import BUSY, KINDS, Kind, Wave, stampede

MUTANT = "tests.chaos.cache_mutant"


async def all_waves(
    *,
    rounds: int,
    askers: int,
    seed: int,
    kinds: Sequence[Kind] = KINDS,
    say: Callable[[str], None] = lambda _: None,
) -> list[Wave]:
    """Those of these kinds; and then the encoder is kept busy, in a mesh of its own."""
    found = await waves(rounds=rounds, askers=askers, seed=seed, kinds=kinds, say=say)
    busy = waves(
        rounds=1, askers=askers, seed=seed, kinds=(BUSY,), cache="tests.chaos.busy_cache", tier="balanced", say=say
    )
    return [*found, *await busy]


async def waves(
    *,
    rounds: int,
    askers: int,
    seed: int,
    kinds: Sequence[Kind] = KINDS,
    cache: str = "services.cache",
    tier: Tier = "exact",
    say: Callable[[str], None] = lambda _: None,
) -> list[Wave]:
    """What came of them, in order."""
    found: list[Wave] = []
    async with stampede(seed=seed, cache=cache, tier=tier) as running:
        for number in range(rounds * len(kinds)):
            kind = kinds[number % len(kinds)]
            wave = await running.wave(kind, askers=askers, number=number)
            say(f"{kind.name}: {wave.generations} generations; {dict(wave.endings)}")
            found.append(wave)
    return found
