"""Words of the closed classes that choose: whose, how many of them, and what is asked for."""

from __future__ import annotations

from services.cache.domain.lexical_guard.said import Said

# Of each row both questions have a word, or neither has.
_CHOOSING = (
    {"he", "him", "his", "she", "her", "hers", "their", "theirs"},
    {"only", "solely", "exclusively"},
    {"all", "every", "each", "entire"},
    {"another", "other", "others", "else"},
    {"both"},
)
# "What", "which" and "how" can stand for each of these, and for many others.
_ASKING = {"when": "when", "where": "where", "who": "who", "whom": "who", "whose": "whose", "why": "why"}


def differ(one: Said, other: Said) -> bool:
    """His password against mine, all of them against one, when against where."""
    here, there = set(one.words), set(other.words)
    if any(row.isdisjoint(here) != row.isdisjoint(there) for row in _CHOOSING):
        return True
    asked_here, asked_there = _asked(here), _asked(there)
    return bool(asked_here and asked_there) and asked_here.isdisjoint(asked_there)


def _asked(words: set[str]) -> set[str]:
    return {kind for word, kind in _ASKING.items() if word in words}
