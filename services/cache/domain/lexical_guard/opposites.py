"""Words and phrasal verbs that mean the contrary of each other, and of which each question has one."""

from __future__ import annotations

from services.cache.domain.lexical_guard.contraries import POLES
from services.cache.domain.lexical_guard.phrasal_verbs import senses
from services.cache.domain.lexical_guard.said import Said, only_in

# What two words have before the same rest: "import" and "export", "overpay" and "underpay".
_PREFIXES = (
    ("in", "ex"), ("im", "ex"), ("in", "de"), ("in", "out"), ("up", "down"), ("over", "under"), ("pre", "post"),
    ("pro", "anti"), ("en", "de"), ("en", "dis"), ("as", "de"), ("hyper", "hypo"), ("macro", "micro"), ("max", "min"),
    ("ante", "post"), ("multi", "single"), ("in", "off"), ("on", "off"), ("fore", "back"), ("pro", "de"), ("ap", "de"),
    ("intra", "inter"), ("mono", "multi"), ("super", "sub"),
)  # fmt: skip
# And behind it.
_SUFFIXES = (("ful", "less"),)
_LEAST_REST = 3


def _both_ways(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return (*pairs, *(pair[::-1] for pair in pairs))


_TURNED_PREFIXES, _TURNED_SUFFIXES = _both_ways(_PREFIXES), _both_ways(_SUFFIXES)
_ANY_PREFIX, _ANY_SUFFIX = (tuple({affix for affix, _ in each}) for each in (_TURNED_PREFIXES, _TURNED_SUFFIXES))


def differ(one: Said, other: Said) -> bool:
    """A word or phrasal verb that only one has is the contrary of one that only the other has."""
    these, those = senses(one), senses(other)
    here, there = only_in(these, those), only_in(those, these)
    if not here or not there:
        return False
    return _opposed(_poles(here), _poles(there)) or any(each in there for word in here for each in _turned(word))


def _poles(senses: frozenset[str]) -> set[int]:
    return {pole for sense in senses if sense in POLES for pole in POLES[sense]}


def _opposed(here: set[int], there: set[int]) -> bool:
    """At the two ends of a scale, unless both are at both: "enable or disable", "turn on or off"."""
    return any(-pole in there and not (pole in there and -pole in here) for pole in here)


def _turned(word: str) -> list[str]:
    """The word with the contrary of its prefix, or of its suffix."""
    found = []
    if word.startswith(_ANY_PREFIX):
        found += [second + word.removeprefix(first) for first, second in _TURNED_PREFIXES if _begins(word, first)]
    if word.endswith(_ANY_SUFFIX):
        found += [word.removesuffix(first) + second for first, second in _TURNED_SUFFIXES if word.endswith(first)]
    return found


def _begins(word: str, prefix: str) -> bool:
    return word.startswith(prefix) and len(word) - len(prefix) >= _LEAST_REST
