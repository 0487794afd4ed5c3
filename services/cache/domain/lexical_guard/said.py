"""A text as the rules read it: tokens, and words whose form does not matter."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

# "C++" and "C#" are words of their own.
_TOKENS = re.compile(r"[^\W\d_]+(?:\+\+|#|(?:'[^\W\d_]+)*)|(?:(?<!\w)-)?\d+(?:[.,:/]\d+)*|[^\w\s]")
# "Lactose-free" is without.
_FREE_OF = re.compile(r"(?<=\w)-free\b", re.IGNORECASE)
# How people begin; "morning" there is no time of day.
_GREETING = re.compile(r"\s*(?:(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day))\b[\s,!.]*)+", re.IGNORECASE)
_PLAIN = str.maketrans({"\u2019": "'", "\u2018": "'", "\u00b4": "'", "`": "'", "\u2212": "-"})
_AUXILIARIES = ("do", "does", "did", "is", "are", "was", "were", "has", "have", "had", "should", "could", "would")
_DENIED = {"won't": "will", "can't": "can", "shan't": "shall", "ain't": "is", "cannot": "can"}
# Without their apostrophe, as people type them.
_DENIED |= {f"{each}nt": each for each in _AUXILIARIES} | {"cant": "can", "wont": "will"}

# Of "is A better than B" no article; at the beginning, where it is one, it does no harm.
_LETTER = frozenset({"A"})

# The closed classes: articles, pronouns, auxiliaries, prepositions, conjunctions, question words; and politeness.
_CLOSED = """
a an the this that these those such some any
i me my mine myself you your yours yourself he him his she her hers it its we us our ours they them their theirs
one ones
who whom whose which what when where why how there here
be am is are was were been being do does did done doing have has had having get got getting let
can could may might must shall should will would ought need want able possible
to of in on at by for with about into onto as from than up out off over under per via within during
and or but so if then else because while whether not no nor also too very just really actually basically ever
please thanks thank hi hello hey dear sorry well um uh er erm like ok okay yes yeah tell know try trying help way
"""
FUNCTION = frozenset(_CLOSED.split())
_VERB_ENDINGS = ("ing", "ed")
_DOUBLED_FOR_GOOD = frozenset("lsfz")


@dataclass(frozen=True)
class Said:
    """`tokens` as they stand, without a greeting; `words` in lower case, "can't" as "can not"."""

    tokens: tuple[str, ...]
    words: tuple[str, ...]

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """Of the words, in order."""
        return tuple(stem(each) for each in self.words)

    @cached_property
    def content(self) -> tuple[str, ...]:
        """The stems of words of the open classes, in order; figures are none."""
        both = zip(self.words, self.stems, strict=True)
        return tuple(stemmed for word, stemmed in both if word not in FUNCTION and not word[-1].isdigit())

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Every form in which something is said."""
        return frozenset((*self.words, *self.stems, *map(bare, self.tokens)))


def read(text: str) -> Said:
    """The text as it reads: compatibility forms of Unicode and kinds of apostrophes are one."""
    text = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    if "-" in text:
        text = _FREE_OF.sub(" without", text)
    greeting = _GREETING.match(text)
    tokens = tuple(_TOKENS.findall(text, greeting.end() if greeting else 0))
    return Said(tokens, tuple(word for token in tokens for word in _words(token)))


def _words(token: str) -> tuple[str, ...]:
    if token in _LETTER:
        return (token,)
    token = token.lower()
    if token in _DENIED:
        return (_DENIED[token], "not")
    if token.endswith("n't"):
        verb = token.removesuffix("n't")
        return (verb, "not") if verb else ("not",)
    if token[0].isalpha():
        return (bare(token),)
    return (token,) if token[-1].isdigit() else ()


def bare(token: str) -> str:
    """A token in lower case, without what an apostrophe joins to it."""
    return token.lower().partition("'")[0]


def by_form(table: str) -> dict[str, str]:
    """Of a table with a meaning a line, and its forms there: the line's first form by each of them."""
    rows = (line.split() for line in table.strip().splitlines())
    return {form: forms[0] for forms in rows for form in forms}


def only_in(these: tuple[str, ...], those: tuple[str, ...]) -> frozenset[str]:
    """What is said more often on the first side."""
    distinct = frozenset(these)
    if len(distinct) == len(these):
        return distinct.difference(those)
    return frozenset(Counter(these) - Counter(those))


def stem(word: str) -> str:
    """Without the endings of number, person and tense: "closing", "closes" and "closed" are one."""
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-2] if word.endswith(("xes", "ches", "shes", "sses", "zes")) else word[:-1]
    if word.endswith(_VERB_ENDINGS):
        rest = word[:-3] if word[-1] == "g" else word[:-2]
        word = _undoubled(rest) if len(rest) > 2 else word
    return word.removesuffix("e") if len(word) > 3 else word


def _undoubled(word: str) -> str:
    return word[:-1] if word[-1] == word[-2] and word[-1] not in _DOUBLED_FOR_GOOD else word
