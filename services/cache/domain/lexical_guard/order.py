"""Who does it to whom, what comes from where: the same words in other places."""

from __future__ import annotations

from dataclasses import dataclass

from services.cache.domain.lexical_guard.said import FUNCTION, Said

# What is on one side of these is not what is on the other. Not so of "and", "or", "versus" and "between".
_MARKERS = frozenset(
    {"than", "to", "into", "from", "before", "after", "over", "by", "of", "for", "against", "instead", "as"}
)
_FEWEST = 3
_BEING = frozenset({"is", "are", "am", "was", "were", "be", "been", "being"})


@dataclass(frozen=True, slots=True)
class Sides:
    """Of a marker."""

    left: frozenset[str]
    right: frozenset[str] = frozenset()


def differ(one: Said, other: Said) -> bool:
    """Two words have changed places, round a preposition or in the whole."""
    here, there = _sides(one), _sides(other)
    shared = here.keys() & there.keys()
    # Both ways: what only moves to the front ("in the shower, why …") changes places with nothing.
    if any(_changed_places(here[marker], there[marker]) for marker in shared):
        return True
    if _is_passive(one) != _is_passive(other):
        # A passive has the two in exchanged places: "did the wolf chase the lamb", "was the lamb chased by the wolf".
        return one.content == other.content and ("by" in one.words) != ("by" in other.words)
    # "To Rome from Oslo": whose preposition came along has kept its part.
    kept = frozenset().union(*(here[marker].right & there[marker].right for marker in shared))
    return bool(exchanged := _exchanged(one.content, other.content)) and exchanged.isdisjoint(kept)


def _is_passive(said: Said) -> bool:
    """A form of "to be", and a participle."""
    return not _BEING.isdisjoint(said.words) and any(each.endswith(("ed", "en")) for each in said.words)


def _changed_places(here: Sides, there: Sides) -> bool:
    crossed, back = here.left & there.right, here.right & there.left
    return bool(crossed and back) and crossed != back


def _sides(said: Said) -> dict[str, Sides]:
    """For each marker, what is said since the marker before it, and the first word of the open classes after it."""
    found: dict[str, Sides] = {}
    left: set[str] = set()
    waiting: str | None = None
    for word, stemmed in zip(said.words, said.stems, strict=True):
        if word in _MARKERS:
            found[word] = Sides(frozenset(left))
            left, waiting = set(), word
        elif word not in FUNCTION:
            left.add(stemmed)
            if waiting:
                found[waiting] = Sides(found[waiting].left, frozenset([stemmed]))
                waiting = None
    return found


def _exchanged(these: tuple[str, ...], those: tuple[str, ...]) -> frozenset[str]:
    """The two words that are exchanged round one that stays ("does Ann owe Bob", "does Bob owe Ann"), if any are."""
    if len(these) != len(those) or len(these) < _FEWEST:
        return frozenset()
    moved = [(place, {this, that}) for place, (this, that) in enumerate(zip(these, those, strict=True)) if this != that]
    if len(moved) != 2 or moved[1][0] - moved[0][0] < 2 or moved[0][1] != moved[1][1]:
        return frozenset()
    return frozenset(moved[0][1])
