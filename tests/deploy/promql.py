"""What an expression of PromQL names: series with their matchers, and labels to group by. promtool checks the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*") | (?P<range>\[[^\]]*\]) | (?P<number>[0-9][\w.]*) | (?P<name>[A-Za-z_:][\w:]*)"""
    r"""| (?P<sign>=~|!~|!=|==|>=|<=|[-+*/^%<>=(){},@])""",
    re.VERBOSE,
)
_AGGREGATING = {"by", "without"}
_JOINING = {"on", "ignoring", "group_left", "group_right"}
_WORDS = {"and", "or", "unless", "bool", "offset", "sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """`code=~"A|B"`."""

    label: str
    operator: str
    value: str

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Each must match something, or it is a mistake: `A` and `B`."""
        is_plain = "(" not in self.value
        return tuple(self.value.split("|")) if self.operator in ("=~", "!~") and is_plain else (self.value,)

    def matches(self, value: str, alternative: str) -> bool:
        """Whether a label's value is what the alternative means, be it wanted or not."""
        return bool(re.fullmatch(alternative, value)) if self.operator.endswith("~") else value == alternative


@dataclass(frozen=True, slots=True)
class Selector:
    """`metric{…}`."""

    metric: str
    matchers: tuple[Matcher, ...] = ()


@dataclass(frozen=True, slots=True)
class Expression:
    """All that an expression names."""

    selectors: tuple[Selector, ...]
    grouped_by: frozenset[str] = frozenset()
    joined_on: frozenset[str] = frozenset()


def parse(expression: str) -> Expression:
    """ValueError for a character that has no business there."""
    tokens = list(_tokens(expression))
    selectors: list[Selector] = []
    grouped_by: set[str] = set()
    joined_on: set[str] = set()
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        at += 1
        following = tokens[at][1] if at < len(tokens) else ""
        if kind != "name":
            continue
        if text in _AGGREGATING | _JOINING:
            end = tokens.index(("sign", ")"), at)
            labels = grouped_by if text in _AGGREGATING else joined_on
            labels |= {each for kind, each in tokens[at:end] if kind == "name"}
            at = end
        elif text not in _WORDS and following == "{":
            end = tokens.index(("sign", "}"), at)
            selectors.append(Selector(text, tuple(_matchers(tokens[at + 1 : end]))))
            at = end
        elif text not in _WORDS and following != "(":
            selectors.append(Selector(text))
    return Expression(tuple(selectors), frozenset(grouped_by), frozenset(joined_on))


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expression):
        if expression[at].isspace():
            at += 1
            continue
        token = _TOKEN.match(expression, at)
        if token is None:
            raise ValueError(f"{expression[at:]!r} in {expression!r}")
        yield str(token.lastgroup), token[0]
        at = token.end()


def _matchers(tokens: list[tuple[str, str]]) -> Iterator[Matcher]:
    words = [text for _, text in tokens if text != ","]
    for label, operator, value in zip(words[::3], words[1::3], words[2::3], strict=True):
        yield Matcher(label, operator, value[1:-1].replace("\\\\", "\\"))
