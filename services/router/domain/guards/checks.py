"""What no pattern can say: checksums, ranges, and whether a number is one that is given out.

Each gets what a shape's body matched and says how many of its characters are the content, 0 for none: a number is often
followed by another that looks like more of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from functools import cache

import phonenumbers
import regex
from stdnum import iban as stdnum_iban
from stdnum import luhn

# What the networks give out: how a number begins, and how many digits it has (ISO/IEC 7812, the networks' ranges).
_NETWORKS = (
    (regex.compile(r"4"), frozenset({13, 16, 19})),
    (regex.compile(r"5[1-5]|22[3-9]|222[1-9]|2[3-6]|27[01]|2720"), frozenset({16})),
    (regex.compile(r"3[47]"), frozenset({15})),
    (regex.compile(r"30[0-5]|3[689]"), frozenset({14, 16, 17, 18, 19})),
    (regex.compile(r"35(?:2[89]|[3-8])|6"), frozenset({16, 17, 18, 19})),
    (regex.compile(r"50|5[6-9]"), frozenset(range(13, 20))),
)
_SEPARATED = regex.compile(r"[0-9A-Za-z]+")
_HEXADECIMAL = regex.compile(r"[0-9a-f]+")
_SHORTEST_CARD_GROUP = 3


def card(text: str) -> int:
    """A payment card: a network's range, and Luhn's checksum."""
    return next((end for end in _ends(text) if _is_card(text[:end])), 0)


def iban(text: str) -> int:
    """The country's length and form, and the checksum (ISO 13616)."""
    return next((end for end in _ends(text) if _is_iban(text[:end])), 0)


def ssn(text: str) -> int:
    """A number of the ranges that the Social Security Administration gives out, written with one kind of separator."""
    area, group, serial, separators = text[:3], text[4:6], text[7:], {text[3], text[6]}
    given_out = area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"
    return len(text) if given_out and len(separators) == 1 else 0


def ip_v4(text: str) -> int:
    """Four parts, of an address that some machine can have alone."""
    return len(text) if text.count(".") == 3 and _is_somebodys(text) else 0


def ip_v6(text: str) -> int:
    """An address with a group of three digits or more: `a::b` is more often code, and pairs are a MAC address."""
    has_long_group = any(len(each) > 2 for each in text.split(":"))
    return len(text) if has_long_group and any(map(str.isdigit, text)) and _is_somebodys(text) else 0


def email(text: str) -> int:
    """An address whose domain is no version number and no hash (`package@1.2.3-rc.ab`, `action@8ade135…`)."""
    local, _, domain = text.partition("@")
    labels = domain.split(".")
    is_version = len(labels) > 2 and labels[0].isdigit() and labels[1][:1].isdigit()
    if (
        is_version
        or local.endswith(".")
        or ".." in text
        or any(each.startswith("-") or each.endswith("-") for each in labels[:-1])
    ):
        return 0
    return 0 if len(labels) == 1 and _HEXADECIMAL.fullmatch(domain) else len(text)


def phone(text: str) -> int:
    """An international number, `+` or `00` first, that its country gives out."""
    ends = _ends(text)
    return next((end for end in ends if _is_phone("+" + text[:end].removeprefix("00").removeprefix("+"))), 0)


def phone_us(text: str) -> int:
    """A number of the North American plan, where all depends on the area."""
    digits = "".join(filter(str.isdigit, text))
    return len(text) if _is_american_area(digits[-10:-7]) else 0


def secret(text: str) -> int:
    """Made at random: names that only look so (`sk-fading-circle-container`) hold neither digits nor capitals."""
    return len(text) if any(each.isdigit() or each.isupper() for each in text) else 0


def _ends(text: str) -> Iterator[int]:
    """Where its groups end, the last first."""
    return reversed([match.end() for match in _SEPARATED.finditer(text)])


def _is_card(text: str) -> bool:
    groups = _SEPARATED.findall(text)
    digits = "".join(groups)
    if len(groups) > 1 and min(map(len, groups)) < _SHORTEST_CARD_GROUP:
        return False
    known = any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _NETWORKS)
    return known and len(set(digits)) > 1 and luhn.is_valid(digits)


def _is_iban(text: str) -> bool:
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34 or not (compact.isupper() or compact.islower()):
        return False
    return bool(stdnum_iban.is_valid(compact, check_country=False))


def _is_somebodys(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    nobodys = address.is_loopback or address.is_unspecified or address.is_multicast
    return not nobodys and (address.version == 6 or not address.is_reserved)


def _is_phone(text: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text))
    except phonenumbers.NumberParseException:
        return False


@cache
def _is_american_area(area: str) -> bool:
    return _is_phone(f"+1 {area} 234 5678")
