"""Whom and what a question is about by name: in mid-sentence, English writes names with capitals."""

from __future__ import annotations

from itertools import pairwise

from services.cache.domain.lexical_guard.dates import NAMED
from services.cache.domain.lexical_guard.said import FUNCTION, Said, bare, only_in, stem

_SENTENCE_ENDS = frozenset(".?!:;\"'()")
_MOST_CAPITALS_SHARE = 0.5


def differ(one: Said, other: Said) -> bool:
    """A name, or somebody's ("my colleague's"), that the other question does not mention.

    Who writes without capitals hides which words are names: then one word for another may be Rome for Paris.
    """
    if _unheard(_named(one) | _owners(one), one, other) or _unheard(_named(other) | _owners(other), other, one):
        return True
    if _unheard(_opening(one), one, other) and _unheard(_opening(other), other, one):
        return True
    if not (_tells_names(one) or _tells_names(other)):
        return bool(only_in(one.content, other.content)) and bool(only_in(other.content, one.content))
    return False


def _unheard(names: set[str], one: Said, other: Said) -> bool:
    """Does one of the names in the first text not occur in the other?"""
    missing = {each for each in names if each not in other.vocabulary and stem(each) not in other.vocabulary}
    if not missing:
        return False
    # "Wi-Fi" is "wifi", and the other way round.
    joined_there = {"".join(pair) for pair in pairwise(other.words)}
    joined_here = {part for pair in pairwise(one.words) if "".join(pair) in other.vocabulary for part in pair}
    return bool(missing - joined_there - joined_here)


def _tells_names(said: Said) -> bool:
    """Has it capitals, and not everywhere?"""
    initials = [token[0] for token in said.tokens if token[0].isalpha()]
    return 0 < sum(map(str.isupper, initials)) <= max(1, _MOST_CAPITALS_SHARE * len(initials))


def _named(said: Said) -> set[str]:
    """Words with a capital that no sentence begins with; none where capitals tell nothing."""
    if not _tells_names(said):
        return set()
    following = zip((".", *said.tokens), said.tokens, strict=False)
    return {
        bare(token) for before, token in following if _is_name(token) and before not in _SENTENCE_ENDS
    } - NAMED.keys()


def _is_name(token: str) -> bool:
    return token[0].isupper() and (bare(token) not in FUNCTION or (token.isupper() and len(token) > 1))


def _opening(said: Said) -> set[str]:
    """The first word, if it is "Paris" of "Paris weather": after an order ("Cancel my …") comes a closed class."""
    first, second = (*said.tokens, "", "")[:2]
    is_noun = first[:1].isalpha() and second[:1].isalpha() and not {bare(first), bare(second)} & FUNCTION
    return {bare(first)} if is_noun else set()


def _owners(said: Said) -> set[str]:
    """Whose something is. After a word of the closed classes the 's is short for "is" or "has"."""
    parts = (token.lower().partition("'") for token in said.tokens if "'" in token)
    return {owner for owner, _, ending in parts if ending == "s" and owner not in FUNCTION}
