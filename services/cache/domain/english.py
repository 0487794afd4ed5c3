"""Is a text English, as far as its commonest words show?"""

from __future__ import annotations

import re

_WORDS = re.compile(r"[^\W\d_]+")
# None of them is a common word of another language: not "in", "is", "of", "do", "me", "no", "so", "was".
_ENGLISH = frozenset(
    {
        "the",
        "and",
        "to",
        "for",
        "with",
        "from",
        "about",
        "this",
        "that",
        "these",
        "than",
        "there",
        "my",
        "your",
        "our",
        "i",
    }
    | {"you", "it", "its", "what", "how", "when", "where", "why", "who", "which", "can", "could", "should", "would"}
    | {"will", "does", "did", "are", "were", "be", "been", "have", "has", "get", "any", "not", "or", "at", "by", "if"}
)
_LEAST_SHARE = 1 / 7


def is_english(text: str) -> bool:
    """Whether at least every seventh word is one that English alone has so often.

    False where it cannot be told: of a few nouns, say.
    """
    words = [each.lower() for each in _WORDS.findall(text)]
    return bool(words) and sum(each in _ENGLISH for each in words) >= _LEAST_SHARE * len(words)
