"""The guard tells what lies at the two ends of a scale from what lies at one, whatever the form."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import pytest

from services.cache.domain.lexical_guard.contraries import POLES
from services.cache.domain.lexical_guard.guard import Objection, objection
from services.cache.domain.lexical_guard.phrasal_verbs import senses
from services.cache.domain.lexical_guard.said import read

# An object, and verbs at the two ends: "/" parts the ends, "," the verbs.
SCALES = [
    ("the alarm", "turn on, switch on, enable, activate / turn off, switch off, shut off, disable, deactivate"),
    ("the job", "start, start up, launch / stop, end, shut down, call off"),
    ("the timeout", "increase, raise, extend, turn up / decrease, reduce, shorten, cut down, turn down"),
    ("the video", "speed up, accelerate / slow, slow down"),
    ("the visitors", "allow, permit, let in / forbid, ban, stop, keep out, shut out"),
    ("the offer", "accept, approve / reject, turn down"),
    ("the logs", "keep, save, retain / delete, discard, erase, throw away, give up"),
    ("the column", "add, insert, put in / remove, delete, take away, take out, leave out"),
    ("the header", "include / omit, leave out"),
    ("the cable", "attach, connect, plug in / detach, disconnect, unplug"),
    ("the shop", "open / close, shut"),
    ("the meeting", "advance, bring forward / postpone, put off, push back"),
    ("the case", "win / lose"),
    ("the exam", "pass / fail, flunk"),
    ("the cook", "hire, take on / fire, dismiss, lay off, let go"),
    ("the author", "praise, applaud / blame, criticize, scold"),
    ("the soup", "heat, heat up, warm / cool, cool down"),
    ("the tank", "fill, fill up / empty, drain"),
    ("the parcel", "collect, pick up / deliver, drop off"),
    ("", "log in, log on, sign in / log out, log off, sign out"),
    ("", "sign up, enrol, opt in / unsubscribe, drop out, opt out"),
    ("", "arrive, land, touch down / depart, take off"),
    ("", "wake up, get up / fall asleep"),
]
_PASTS = {
    "bring": "brought", "cut": "cut", "fall": "fell", "get": "got", "give": "gave", "keep": "kept", "lay": "laid",
    "leave": "left", "let": "let", "lose": "lost", "put": "put", "shut": "shut", "take": "took", "throw": "threw",
    "wake": "woke", "win": "won",
}  # fmt: skip
_DOUBLING = "ban cut drop enrol forbid get let log omit permit plug put shut stop win"


def _in_each_form(phrase: str, thing: str) -> Iterator[str]:
    """Questions with the verb bare, with -s, -ing and in the past, its particle before and behind the object."""
    verb, _, particle = phrase.partition(" ")
    stem = verb + verb[-1] if verb in _DOUBLING.split() else verb.removesuffix("e")
    forms = [
        f"How do they {verb}",
        f"Who {verb}{'es' if verb.endswith(('s', 'sh')) else 's'}",
        f"Who is {stem}ing",
        f"Who {_PASTS.get(verb, f'{stem}ed')}",
    ]
    yield from (" ".join([form, particle, thing, "today?"]) for form in forms)
    yield from (" ".join([form, thing, particle, "today?"]) for form in forms)


def _pairs(*, opposed: bool) -> list[tuple[str, str, str]]:
    found = []
    for thing, scale in SCALES:
        ends = [end.strip().split(", ") for end in scale.split(" / ")]
        verbs = product(*ends) if opposed else (pair for end in ends for pair in combinations(end, 2))
        found += [(thing, one, other) for one, other in verbs]
    return found


@pytest.mark.parametrize(("thing", "one", "other"), _pairs(opposed=True))
def test_the_two_ends_of_a_scale_are_objected_to_in_every_form(thing: str, one: str, other: str) -> None:
    for asked, stored in zip(_in_each_form(one, thing), _in_each_form(other, thing), strict=True):
        # "Plug" and "unplug" differ by a prefix that denies.
        assert objection(asked, stored) in (Objection.ANTONYM, Objection.NEGATION), (asked, stored)
        assert objection(stored, asked) in (Objection.ANTONYM, Objection.NEGATION), (stored, asked)


@pytest.mark.parametrize(("thing", "one", "other"), _pairs(opposed=False))
def test_what_lies_at_the_same_end_passes_in_every_form(thing: str, one: str, other: str) -> None:
    for asked, stored in zip(_in_each_form(one, thing), _in_each_form(other, thing), strict=True):
        assert objection(asked, stored) is None, (asked, stored)
        assert objection(stored, asked) is None, (stored, asked)


def test_no_two_words_lie_at_one_end_of_a_scale_and_at_both_of_another() -> None:
    torn = [
        (one, other)
        for one, other in combinations(POLES, 2)
        if POLES[one] & POLES[other] and any(-pole in POLES[other] for pole in POLES[one])
    ]
    assert torn == []


def test_no_word_is_its_own_contrary() -> None:
    assert [sense for sense, poles in POLES.items() if any(-pole in poles for pole in poles)] == []


def test_a_phrasal_verb_is_one_word_and_in_no_form_its_verb() -> None:
    assert senses(read("Who threw the old photos away?")) == ("who", "the", "old", "photo", "throw-away")


@pytest.mark.parametrize(
    ("text", "phrasal"),
    [
        ("How do I turn on the light?", ["turn-on"]),
        ("How do I turn both of the kitchen lights off?", ["turn-off"]),
        ("How do I turn it back on automatically?", ["turn-on"]),
        ("How do I turn it on again?", ["turn-on"]),
        ("How do I turn it on today?", ["turn-on"]),
        ("Can I turn it on and off?", ["turn-on", "turn-off"]),
        ("Can I turn it on/off?", ["turn-on", "turn-off"]),
        ("How do I log into the portal?", ["log-in"]),
        ("How do I let them log in?", ["log-in"]),
        ("How do I keep logging in?", ["log-in"]),
        ("How do I turn the location settings off?", ["turn-off"]),
        ("May I turn on Mondays?", []),
        ("Can I turn in 5 minutes?", []),
        ("Do I keep my notes on paper?", []),
        ("Should I turn or is it on?", []),
        ("How do I turn the light in it off?", ["turn-off"]),
        ("How do I turn the light on in the hall?", ["turn-on"]),
        ("How do I turn the light in the hall on?", ["turn-on"]),
        ("Where is the switch on my router?", []),
        ("Is the power on my phone low?", []),
        ("Who put my name in?", ["put-in"]),
        ("Who put my name in bold letters?", []),
    ],
)
def test_a_particle_is_told_from_a_preposition(text: str, phrasal: list[str]) -> None:
    assert [sense for sense in senses(read(text)) if "-" in sense] == phrasal


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("How do I turn off the alarm?", "How do I disable the alarm on my phone?"),
        ("How do I log out of the app?", "How do I sign out in the app?"),
        ("How do I turn the alarm on or off?", "How do I enable or disable the alarm?"),
        ("How do I fill in the form?", "How do I fill out the form?"),
        ("How do I find out my balance?", "Where in the app do I find my balance?"),
        ("Can I sit by the window on the train?", "Is sitting by the window on the train possible?"),
        ("Do I pay on arrival on Monday?", "On Monday, do I pay on arrival?"),
    ],
)
def test_prepositions_and_pairs_of_contraries_object_to_nothing(asked: str, stored: str) -> None:
    assert objection(asked, stored) is None
    assert objection(stored, asked) is None


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("Is coffee good for you?", "Is coffee harmful for you?"),
        ("Is this a painful bite?", "Is this a painless bite?"),
        ("Did we win the case?", "Have we lost the case?"),
        ("Was my claim denied?", "Was my claim allowed?"),
        ("Is the bus early?", "Is the bus late?"),
        ("Did he sell it quickly?", "Did he sell it slowly?"),
        ("Did it rain heavily?", "Did it rain lightly?"),
        ("Did the cat pull in the mouse?", "Did the cat pull out the mouse?"),
        ("How do I wind up the dog?", "How do I calm down the dog?"),
        ("How do I bring it to the foreground?", "How do I bring it to the background?"),
    ],
)
def test_other_contraries_are_objected_to(asked: str, stored: str) -> None:
    assert objection(asked, stored) is Objection.ANTONYM
    assert objection(stored, asked) is Objection.ANTONYM
