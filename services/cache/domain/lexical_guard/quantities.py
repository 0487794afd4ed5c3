"""Numbers: in figures and in words, with what they count."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from services.cache.domain.lexical_guard.said import Said, by_form, stem

_TO_NINETEEN = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: value for value, word in enumerate(_TO_NINETEEN.split())} | {
    word: 10 * value for value, word in enumerate(_TENS.split(), start=2)
}
_LARGE = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
# No "m": five of them are metres as well.
_MULTIPLES = {"k": 1_000, "bn": 1_000_000_000, **_LARGE}
_FRACTIONS = {"half": "1/2", "quarter": "1/4", "twice": "2", "double": "2", "triple": "3", "thrice": "3", "dozen": "12"}
_FROM_THIRD = "third fourth fifth sixth seventh eighth ninth tenth"
_ORDINALS = {word: str(value) for value, word in enumerate(_FROM_THIRD.split(), start=3)}
# "One" is a pronoun too, "first" and "second" say when: they count where the other side counts too.
_WEAK = {"one": "1", "first": "1", "second": "2", "single": "1", "once": "1", "couple": "2"}
_NUMERALS = frozenset({*_SMALL, *_LARGE, *_FRACTIONS, *_ORDINALS, *_WEAK})
_ORDINAL_ENDINGS = frozenset({"st", "nd", "rd", "th"})
# A unit a line, and how it is written.
_MONEY = """
£ pound quid gbp
$ dollar buck usd
€ euro eur
¥ yen jpy
₹ rupee inr
"""
_MEASURES = """
% percent pct
p penny pence
second sec
minute min
hour hr h
day
week
fortnight
month
year yr
am
pm
mm millimetre millimeter
cm centimetre centimeter
m metre meter
km kilometre kilometer
mile mi
inch
foot feet ft
g gram
kg kilo kilogram
lb lbs
oz ounce
ml
l litre liter
gallon
kb
mb
gb
tb
kw
kwh
w watt
c celsius
f fahrenheit
mph
kph
"""
_CURRENCIES = {stem(form): unit for form, unit in by_form(_MONEY).items()}
_UNITS = _CURRENCIES | {stem(form): unit for form, unit in by_form(_MEASURES).items()}
_DECIMAL = re.compile(r"-?\d+(\.\d+)?")
# Where "5.00" is "5": a version has no such units.
_WHOLE = frozenset({"%", *_CURRENCIES.values()})


@dataclass(frozen=True, slots=True)
class Quantity:
    """`value` as it was written, but for thousands; `of`: its unit, or the word that it counts."""

    value: str
    unit: str
    of: str
    weak: bool = False


def differ(one: Said, other: Said) -> bool:
    """Other values, other units, or the same values of other things."""
    these, those = quantities(one), quantities(other)
    if not these and not those:
        return False
    return _values_differ(these, those) or _units_differ(these, those) or _swapped(these, those)


def quantities(said: Said) -> list[Quantity]:
    """All that is counted, in order."""
    tokens = [token.lower() for token in said.tokens]
    if not any(token in _NUMERALS or token[-1].isdigit() for token in tokens):
        return []
    found, place = [], 0
    while place < len(tokens):
        value, length, weak = _value(tokens, place)
        if length:
            unit, of = _counted(tokens, place, place + length)
            value = _without_zeros(value) if unit in _WHOLE else value
            found.append(Quantity(value, unit, of, weak))
        place += max(1, length)
    return found


def _value(tokens: list[str], place: int) -> tuple[str, int, bool]:
    """The number that begins there, how many tokens it takes (0: none does), and whether it may be none."""
    word = tokens[place]
    if word[-1].isdigit():
        return _scaled(word.replace(",", ""), tokens, place)
    if word in _SMALL or word in _LARGE:
        return _spelled(tokens, place)
    if word in _FRACTIONS or word in _ORDINALS:
        return _FRACTIONS.get(word) or _ORDINALS[word], 1, False
    if word in _WEAK:
        return _WEAK[word], 1, not _is_superlative(tokens[place + 1 : place + 2])
    return "", 0, False


def _is_superlative(following: list[str]) -> bool:
    """Of "the second largest" the number decides."""
    return bool(following) and following[0].endswith("st") and following[0] not in ("first", "last")


def _scaled(value: str, tokens: list[str], place: int) -> tuple[str, int, bool]:
    following = tokens[place + 1] if place + 1 < len(tokens) else ""
    if following in _MULTIPLES and _DECIMAL.fullmatch(value):
        return _without_zeros(f"{float(value) * _MULTIPLES[following]:.6f}"), 2, False
    return value, 1, False


def _spelled(tokens: list[str], place: int) -> tuple[str, int, bool]:
    """As in "two hundred and fifty"."""
    total = part = 0
    start = place
    while place < len(tokens):
        word = tokens[place]
        if word in _SMALL:
            part += _SMALL[word]
        elif word == "hundred":
            part = max(1, part) * 100
        elif word in _LARGE:
            total, part = total + max(1, part) * _LARGE[word], 0
        elif not (word in ("and", "-") and place > start and place + 1 < len(tokens) and tokens[place + 1] in _SMALL):
            break
        place += 1
    weak = place - start == 1 and tokens[start] in _WEAK
    return str(total + part), place - start, weak


def _counted(tokens: list[str], start: int, end: int) -> tuple[str, str]:
    if start and (sign := tokens[start - 1]) in _CURRENCIES and not sign.isalpha():
        return _CURRENCIES[sign], ""
    following = [each for each in tokens[end : end + 3] if each != "-" and each not in _ORDINAL_ENDINGS]
    if following[:2] == ["per", "cent"]:
        return "%", ""
    of = stem(following[0]) if following else ""
    return _UNITS.get(of, ""), of


def _without_zeros(value: str) -> str:
    return value.rstrip("0").rstrip(".") if "." in value else value


def _values_differ(these: list[Quantity], those: list[Quantity]) -> bool:
    here, there = Counter(each.value for each in these), Counter(each.value for each in those)
    weak_here, weak_there = (Counter(each.value for each in side if each.weak) for side in (these, those))
    more, less = here - there, there - here
    # "One" against nothing is a pronoun; against "two" it is a number.
    return bool(more and less) or bool(more - weak_here) or bool(less - weak_there)


def _units_differ(these: list[Quantity], those: list[Quantity]) -> bool:
    here, there = _units(these), _units(those)
    return any(here[value] and there.get(value) and not here[value] & there[value] for value in here)


def _units(side: list[Quantity]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in side:
        found.setdefault(each.value, set()).update(filter(None, [each.unit]))
    return found


def _swapped(these: list[Quantity], those: list[Quantity]) -> bool:
    """Two adults and three children are not three adults and two children."""
    values_of: dict[str, set[str]] = {}
    for each in those:
        values_of.setdefault(each.of, set()).add(each.value)
    return any(each.of in values_of and each.value not in values_of[each.of] for each in these if each.of)
