"""What each kind of content looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from services.router.domain.guards import checks
from services.router.domain.guards.policy import Pii
from services.router.domain.guards.rule import Shape, whole

_NO_WORD_BEFORE = r"(?<!\w)"
_NO_WORD_AFTER = r"(?!\w)"
_URL_SAFE = "[A-Za-z0-9_-]"
_PEM_BREAK = r"(?:\r|\n|\\r|\\n)"


def _key(prefix: str, rest: str, *, unit: str = "", check: bool = False) -> Shape:
    """A key is made of what may stand in a word; its prefix has to begin one. A longer one goes on in `unit`s."""
    return Shape(
        body=prefix + rest,
        needs=prefix,
        before="(?<![A-Za-z0-9])",
        after="" if unit else "(?![A-Za-z0-9])",
        unit=unit,
        check=checks.secret if check else whole,
    )


def _number(body: str, before: str, after: str, check: Callable[[str], int]) -> Shape:
    return Shape(body=body, before=before, after=after, check=check, needs="[0-9]", spaced=True)


DETECTORS: Mapping[Pii, tuple[Shape, ...]] = {
    Pii.API_KEY: (
        _key("(?:AKIA|ASIA|ABIA|ACCA)", "[A-Z2-7]{16}"),  # AWS
        _key("gh[oprsu]_", "[A-Za-z0-9]{36}", unit="[A-Za-z0-9]"),  # GitHub
        _key("github_pat_", "[A-Za-z0-9_]{22}", unit="[A-Za-z0-9_]"),
        _key("sk-", f"{_URL_SAFE}{{20}}", unit=_URL_SAFE, check=True),  # OpenAI, Anthropic, OpenRouter …
        _key("AIza", f"{_URL_SAFE}{{35}}"),  # Google
        _key("xox[abceoprs]-", "[0-9A-Za-z-]{12}", unit="[A-Za-z0-9-]", check=True),  # Slack
        _key("[rs]k_(?:live|test)_", "[A-Za-z0-9]{16}", unit="[A-Za-z0-9]"),  # Stripe
        _key("tw_", f"{_URL_SAFE}{{40}}", unit=_URL_SAFE),  # our own
        _key("glpat-", f"{_URL_SAFE}{{20}}", unit=_URL_SAFE, check=True),  # GitLab
        _key("(?:hf|npm|gsk)_", "[A-Za-z0-9]{34}", unit="[A-Za-z0-9]"),  # Hugging Face, npm, Groq
        _key("dop_v1_", "[0-9a-f]{32}", unit="[0-9a-f]"),  # DigitalOcean
        _key(r"SG\.", rf"{_URL_SAFE}{{22}}\.{_URL_SAFE}{{20}}", unit=_URL_SAFE),  # SendGrid
        _key("pypi-AgEIcHlwaS5vcmc", f"{_URL_SAFE}{{20}}", unit=_URL_SAFE),
        # A JWT's header is JSON that begins with alg, typ, kid, cty or enc, in base64.
        _key("eyJ", f"(?:hbGciOi|0eXAiOi|raWQiOi|jdHkiOi|lbmMiOi){_URL_SAFE}{{6}}", unit=rf"{_URL_SAFE}|\.{_URL_SAFE}"),
        Shape(  # a private key in PEM; the header alone is none
            body=r"-----BEGIN (?:[A-Z]{2,9} )?PRIVATE KEY-----" + _PEM_BREAK + r"{1,2}(?:Proc-|[A-Za-z0-9+/]{16})",
            unit=rf"{_PEM_BREAK}|[A-Za-z0-9+/=:,]|: |-[A-Za-z0-9]",
            close=r"-----END (?:[A-Z]{2,9} )?PRIVATE KEY-----",
            needs="-----BEGIN",
            spaced=True,
        ),
    ),
    Pii.IBAN: (_number("[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30}", _NO_WORD_BEFORE, "", checks.iban),),
    Pii.CARD: (_number("[0-9](?:[ -]?[0-9]){12,18}", r"(?<!\w|[0-9]\.)", _NO_WORD_AFTER, checks.card),),
    Pii.SSN: (_number("[0-9]{3}[ -][0-9]{2}[ -][0-9]{4}", r"(?<![\w-])", r"(?![\w-])", checks.ssn),),
    Pii.IP: (
        # More parts than an address has are taken in, so that none is found in a longer number.
        _number(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3,5}", r"(?<![\w.])", _NO_WORD_AFTER, checks.ip_v4),
        _number(
            r"(?:[0-9A-Fa-f]{0,4}:){2,8}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{1,4})?",
            r"(?<![\w:.])",
            r"(?![\w:])",
            checks.ip_v6,
        ),
    ),
    Pii.EMAIL: (
        # A domain without a dot in 29 characters is certain too: else a long one would have to be held whole.
        Shape(
            body=r"\w[\w.%+'-]{0,31}@[^\W_](?:[\w.-]{0,21}\.[^\W\d_]{2,8}|[\w-]{28})",
            check=checks.email,
            unit=r"[\w-]|\.\w",
            needs="@",
        ),
    ),
    Pii.PHONE: (
        _number(r"(?:\+|00)[0-9](?:[ ./()-]{0,2}[0-9]){6,14}", r"(?<![\w+])", "(?![0-9])", checks.phone),
        # North America, as it is written there.
        *(
            _number(f"{area}[2-9][0-9]{{2}}[ .-][0-9]{{4}}", r"(?<![\w.+-])", _NO_WORD_AFTER, checks.phone_us)
            for area in (r"\([2-9][0-9]{2}\)[ -]?", "[2-9][0-9]{2}[ .-]", r"1[ .-]\(?[2-9][0-9]{2}\)?[ .-]")
        ),
    ),
}
