"""How often a text says no."""

from __future__ import annotations

from itertools import pairwise

from services.cache.domain.lexical_guard.said import Said, only_in, stem

_DENYING = """
not no never none nobody nothing nowhere neither nor non without unless hardly barely scarcely rarely seldom
except excluding unable avoid avoiding prevent preventing refuse refused lack lacking
"""
_NEGATIONS = frozenset(_DENYING.split())
# "Can I or not", "not only"; "I do not know how to" asks how to.
_IDLE = frozenset({("or", "not"), ("not", "only"), ("not", "just"), ("not", "sure"), ("not", "know")})
_AUXILIARIES = frozenset({"is", "are", "was", "were", "do", "does", "did", "have", "has", "can", "could", "will"})
_PRONOUNS = frozenset({"i", "you", "he", "she", "it", "we", "they", "there"})
# "legal" and "illegal", "connect" and "disconnect": only where the other side has the bare word.
_PREFIXES = ("un", "in", "im", "il", "ir", "dis", "non", "de", "mis", "anti")
_SUFFIXES = ("less", "free")
_LEAST_STEM = 3


def differ(one: Said, other: Said) -> bool:
    """Of two questions one says no more often, or has a word that the other has without its "un-"."""
    if denials(one) != denials(other):
        return True
    here, there = only_in(one.words, other.words), only_in(other.words, one.words)
    return _denied(here, there) or _denied(there, here)


def denials(said: Said) -> int:
    """Words that deny, without those that only seem to."""
    if _NEGATIONS.isdisjoint(said.words):
        return 0
    words = _without_tag(said.words)
    idle = sum(pair in _IDLE for pair in pairwise(words))
    return sum(word in _NEGATIONS for word in words) - idle


def _without_tag(words: tuple[str, ...]) -> tuple[str, ...]:
    """What only asks for agreement at the end: ", isn't it?"."""
    is_tag = len(words) > 3 and words[-3] in _AUXILIARIES and words[-2] == "not" and words[-1] in _PRONOUNS
    return words[:-3] if is_tag else words


def _denied(these: frozenset[str], those: frozenset[str]) -> bool:
    denied = {rest for word in these for rest in _bare(word)}
    return bool(denied) and any(stem(each) in denied for each in those)


def _bare(word: str) -> list[str]:
    if not (word.startswith(_PREFIXES) or word.endswith(_SUFFIXES)):
        return []
    found = [word.removeprefix(each) for each in _PREFIXES if word.startswith(each)]
    found += [word.removesuffix(each) for each in _SUFFIXES if word.endswith(each)]
    return [stem(each) for each in found if len(each) >= _LEAST_STEM]
