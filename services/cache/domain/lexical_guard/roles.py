"""Who acts, whether they may or must, and when: where the words of the open classes are all the same."""

from __future__ import annotations

from itertools import pairwise

from services.cache.domain.lexical_guard.said import Said

_SUBJECTS = {"i": "i", "we": "we", "he": "he", "she": "she", "they": "they"}
_OBJECTS = {"me": "i", "us": "we", "him": "he", "her": "she", "them": "they"}
# "Could you tell me" asks as "I want to know" does.
_ASKING_FOR = frozenset({"tell", "help", "let", "show", "give", "get", "remind"})
# In which of them the verb of a question stands, and how far "do all of us have to" may reach.
_FIRST_WORDS, _NEED_WORDS = 3, 6
_MODALITY = {
    "can": "may", "could": "may", "may": "may", "might": "may", "must": "must", "should": "should", "ought": "should",
}  # fmt: skip
_TENSE = {
    "did": "past", "was": "past", "were": "past", "is": "now", "are": "now", "am": "now", "do": "now", "does": "now",
    "will": "now",
}  # fmt: skip


def differ(one: Said, other: Said) -> bool:
    """Between "can I call you" and "can you call me"; "must I" and "may I"; "is it" and "was it"."""
    if sorted(one.content) != sorted(other.content):
        return False
    return _turned(one, other) or _turned(other, one) or _moods_differ(one, other)


def _turned(one: Said, other: Said) -> bool:
    """Somebody only acts in one, and is only acted on in the other."""
    return bool((_acting(one) - _acted_on(one)) & (_acted_on(other) - _acting(other)))


def _acting(said: Said) -> set[str]:
    return {_SUBJECTS[word] for word in said.words if word in _SUBJECTS}


def _acted_on(said: Said) -> set[str]:
    following = zip(("", *said.words), said.words, strict=False)
    return {_OBJECTS[word] for before, word in following if word in _OBJECTS and before not in _ASKING_FOR}


def _moods_differ(one: Said, other: Said) -> bool:
    pairs = ((_modality(one), _modality(other)), (_tense(one), _tense(other)))
    return any(here and there and here != there for here, there in pairs)


def _modality(said: Said) -> str:
    """Of a question for yes or no; "how can I" and "how must I" ask the same."""
    first, beginning = said.words[:1], said.words[:_NEED_WORDS]
    if {"do", "does"}.intersection(first) and {("have", "to"), ("need", "to")}.intersection(pairwise(beginning)):
        return "must"
    return _MODALITY.get("".join(first), "")


def _tense(said: Said) -> str:
    return next((_TENSE[word] for word in said.words[:_FIRST_WORDS] if word in _TENSE), "")
