"""What two libraries find in the labelled texts, as JSON: run by `make bench-guard` in an environment that has them.

Presidio's pattern recognizers are called directly, without the language model that it surrounds them with, and count
from 0.4 on, the score of its phone numbers. DataFog runs as it comes, with the German rules, where its IBANs are.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable

from tests.unit.router.guards.labelled import labelled

Finding = tuple[str, int, int]
_ROUNDS = 3
_LEAST_SCORE = 0.4
_DATAFOG = {
    "EMAIL": "email",
    "PHONE": "phone",
    "CREDIT_CARD": "card",
    "SSN": "ssn",
    "IP_ADDRESS": "ip",
    "API_KEY": "api_key",
    "JWT": "api_key",
    "PRIVATE_KEY": "api_key",
    "BEARER_TOKEN": "api_key",
    "DE_IBAN": "iban",
}


def presidio() -> Callable[[str], Iterable[Finding]]:
    import tldextract

    # Else it asks the network for the list of domains.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
    from presidio_analyzer import predefined_recognizers as recognizers

    kinds = {
        "email": recognizers.EmailRecognizer(),
        "phone": recognizers.PhoneRecognizer(),
        "card": recognizers.CreditCardRecognizer(),
        "ssn": recognizers.UsSsnRecognizer(),
        "iban": recognizers.IbanRecognizer(),
        "ip": recognizers.IpRecognizer(),
    }

    def find(text: str) -> Iterable[Finding]:
        for kind, recognizer in kinds.items():
            for each in recognizer.analyze(text, recognizer.supported_entities, None):
                if each.score >= _LEAST_SCORE:
                    yield kind, each.start, each.end

    return find


def datafog() -> Callable[[str], Iterable[Finding]]:
    import datafog_core

    def find(text: str) -> Iterable[Finding]:
        for each in datafog_core.scan(text, {"locale": "de"}):
            if each.entity_type in _DATAFOG:
                place = each.codepoint_range
                yield _DATAFOG[each.entity_type], place.start, place.end

    return find


def main() -> None:
    texts, prose = [each.text for each in labelled()], sys.stdin.read()
    results = {}
    for name, find in (("presidio", presidio()), ("datafog-core", datafog())):
        found = [list(find(each)) for each in texts]
        results[name] = {"found": found, "micro_seconds_per_kib": _micro_seconds_per_kib(find, prose)}
    print(json.dumps(results))


def _micro_seconds_per_kib(find: Callable[[str], Iterable[Finding]], text: str) -> float:
    def seconds() -> float:
        began = time.process_time()
        list(find(text))
        return time.process_time() - began

    return min(seconds() for _ in range(_ROUNDS)) * 1e6 / (len(text) / 1024)


if __name__ == "__main__":
    main()
