"""Verbs of two words: "turn off" is not turning, and its "off" is no place."""

from __future__ import annotations

from services.cache.domain.lexical_guard.contraries import BASES, POLES, sense_of
from services.cache.domain.lexical_guard.dates import NAMED
from services.cache.domain.lexical_guard.said import FUNCTION, Said

# Contraries of nothing: their "in" and "out" are not even each other's.
_IDIOMS = """
find-out figure-out fill-in fill-out work-out sort-out try-out carry-out point-out look-up end-up show-up clean-up
write-down note-down break-down
"""
# "Log into" is "log in".
_BEFORE_A_PLACE = {"in": "into", "on": "onto"}
_DETERMINERS = frozenset({"a", "an", "the", "my", "your", "his", "her", "its", "our", "their"})
_OBJECTS = "this that these those such some any me you him it us them one ones mine"
_OF_AN_OBJECT = _DETERMINERS.union(_OBJECTS.split())
# What of the closed classes may stand between verb and particle: "turn the light in it off".
_BETWEEN = _OF_AN_OBJECT | {"of", "in", "at", "for"}
_ADVERBS = frozenset({"again", "now", "later", "today", "tonight", "tomorrow"})
_MOST_BETWEEN = 8


def _by_verb() -> dict[str, dict[str, str]]:
    """Of each verb its particles, and what the two are in one word."""
    found: dict[str, dict[str, str]] = {}
    for sense in (*POLES, *map(sense_of, _IDIOMS.split())):
        verb, _, particle = sense.partition("-")
        if particle:
            forms = {particle, _BEFORE_A_PLACE.get(particle, particle)}
            found.setdefault(verb, {}).update(dict.fromkeys(forms, sense))
    return found


_PHRASAL = _by_verb()


def senses(said: Said) -> tuple[str, ...]:
    """The stems of all words, irregular forms too, in order; of a phrasal verb "turn-off" where its particle stands."""
    found = [BASES.get(stemmed, stemmed) for stemmed in said.stems]
    if _PHRASAL.keys().isdisjoint(found):
        return tuple(found)
    for verb, stemmed in enumerate(found):
        places = _particles(said.words, verb, _PHRASAL[stemmed]) if stemmed in _PHRASAL else []
        # Of two verbs the nearer has it ("let them log in"), if it is one: of "turn the setting off" "setting" is not.
        if places and not ("-" in found[places[0]] and said.words[verb].endswith(("ing", "ings"))):
            found[verb] = ""
            for place in places:
                found[place] = _PHRASAL[stemmed][said.words[place]]
    return tuple(filter(None, found))


def _particles(words: tuple[str, ...], verb: int, of_verb: dict[str, str]) -> list[int]:
    """Where the verb's particle stands, or both of "on and off". "The switch on my phone" is no verb."""
    is_noun = verb > 0 and words[verb - 1] in _DETERMINERS
    # "Keep logging in" has the particle of "logging".
    if is_noun or (verb + 1 < len(words) and words[verb + 1].endswith("ing")):
        return []
    for place in range(verb + 1, min(verb + 2 + _MOST_BETWEEN, len(words))):
        if words[place] in of_verb and _begins_nothing(words[place : place + 2], beside=place == verb + 1):
            return _coordinated(words, place, of_verb)
        if words[place] in FUNCTION and words[place] not in _BETWEEN:
            return []
    return []


def _begins_nothing(words: tuple[str, ...], *, beside: bool) -> bool:
    """Is the first not the "on" of "on Monday"; nor, where it is not beside its verb, of "on my phone"?"""
    if words[0] not in _BEFORE_A_PLACE or len(words) == 1:
        return True
    after = words[1]
    if beside:
        return after in _ADVERBS or (after not in NAMED and not after[0].isdigit())
    return after in _ADVERBS or after.endswith("ly") or (after in FUNCTION and after not in _OF_AN_OBJECT)


def _coordinated(words: tuple[str, ...], place: int, of_verb: dict[str, str]) -> list[int]:
    """The particle's place, and of "on and off" or "on/off" the other's."""
    second = place + 2 if words[place + 1 : place + 2] in (("and",), ("or",)) else place + 1
    is_one = (
        second < len(words) and words[second] in of_verb and _begins_nothing(words[second : second + 2], beside=False)
    )
    return [place, second] if is_one else [place]
