"""Days, months, seasons, feasts, times of day, and "last" or "next" of them."""

from __future__ import annotations

from collections.abc import Iterator

from services.cache.domain.lexical_guard.said import Said, by_form

_NAMED = """
monday mondays mon
tuesday tuesdays tue tues
wednesday wednesdays
thursday thursdays thu thur thurs
friday fridays fri
saturday saturdays
sunday sundays
january jan
february feb
april apr
june jun
july jul
august aug
september sep sept
october oct
november nov
december dec
today
tomorrow
yesterday
tonight
weekday weekdays
weekend weekends
morning mornings
afternoon afternoons
evening evenings
night nights
noon midday
midnight
overnight
spring
summer summers
autumn
winter winters
christmas xmas
easter
halloween
thanksgiving
ramadan
eid
diwali
hanukkah
"""
_PERIODS_NAMED = """
minute minutes
hour hours hourly
day days daily
week weeks weekly
fortnight fortnights fortnightly
month months monthly
quarter quarterly
year years yearly annual annually
decade decades
century centuries
"""
_WHICH_NAMED = """
next following
last previous past
this current
same
"""
NAMED = by_form(_NAMED)
_PERIODS = by_form(_PERIODS_NAMED)
_WHICH = by_form(_WHICH_NAMED)
# They are a verb and an auxiliary too: months after one of these, or before a number.
_ALSO_VERBS = frozenset({"march", "may"})
_BEFORE = "in by of since until till from during before after this next last early late mid"
_BEFORE_A_MONTH = frozenset(_BEFORE.split())


def differ(one: Said, other: Said) -> bool:
    """A day or a month that the other lacks; or another period: "monthly" against "weekly"."""
    if set(_dates(one)) != set(_dates(other)):
        return True
    here, there = _periods(one), _periods(other)
    # One side alone may say "per month" where the other takes it for granted.
    return bool(here - there) and bool(there - here)


def _dates(said: Said) -> Iterator[str]:
    words = said.words
    for before, word, after in zip(("", *words), words, (*words[1:], ""), strict=False):
        name = NAMED.get(word)
        if name is None and word in _ALSO_VERBS and (before in _BEFORE_A_MONTH or after[:1].isdigit()):
            name = word
        if name:
            yield name
        if before in _WHICH and (name or word in _PERIODS):
            yield f"{_WHICH[before]} {name or _PERIODS[word]}"


def _periods(said: Said) -> set[str]:
    return {_PERIODS[word] for word in said.words if word in _PERIODS}
