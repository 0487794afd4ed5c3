"""A provider's refusals, in our terms. Nothing that it wrote is repeated: it may quote the prompt, or our key."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import structlog

from libs.clock import Clock
from libs.errors import FieldViolation, Reason, TokenwayError, invalid_request
from services.inference.domain.answer import FinishReason

# What a provider that names no time gets: as long as our own engines ask for.
RETRY_AFTER_SECONDS = 1.0
# A day. Whoever says more means that it is not coming back.
_LONGEST_RETRY_AFTER_SECONDS = 86_400.0
# The name of a field or of an error: `messages[0].content`. Without digits elsewhere, so that it can be no key.
_WORD = re.compile(r"(?=.{1,60}$)[a-z_]+(\.[a-z_]+|\[\d{1,4}\])*")
_TOO_LONG = re.compile(r"(?i)context.?length|context.?window|maximum context|prompt is too long|too many tokens")
_TOO_LONG_CODES = frozenset({"context_length_exceeded", "string_above_max_length"})
_CONTENT_CODES = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})
# 429 by its number, and no waiting helps: the operator's account has no money left.
_NO_MONEY_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_ABOUT_THE_KEY = frozenset({401, 402, 403})
_PASSING = frozenset({408, 409, 425})


class ProviderErrors:
    """Maps each status one by one. What only the operator can mend goes to the log as well."""

    def __init__(self, *, model: str, context_window_tokens: int, clock: Clock) -> None:
        self._model = model
        self._context_window_tokens = context_window_tokens
        self._clock = clock
        self._log = structlog.get_logger("openai_engine")

    def refused(self, status: int, headers: Mapping[str, str], body: bytes, *, input_tokens: int) -> TokenwayError:
        """What a response other than 200 means. `input_tokens` is our estimate of the prompt."""
        return self._mapped(status, _details(body), self._retry_after_seconds(headers), input_tokens)

    def in_stream(self, error: Any, *, started: bool, input_tokens: int) -> TokenwayError:
        """What an error in place of a chunk means: after the first token always a broken answer."""
        if started:
            return self.broken("its provider reports an error")
        details = error if isinstance(error, dict) else {}
        code = str(details.get("code"))
        return self._mapped(int(code) if re.fullmatch(r"[45]\d\d", code) else 500, details, None, input_tokens)

    def _mapped(self, status: int, error: Mapping[str, Any], wait: float | None, input_tokens: int) -> TokenwayError:
        codes = {str(error.get("code")), str(error.get("type"))}
        if status == 413 or (status in (400, 422) and _is_too_long(codes, error)):
            return self._context_too_long(input_tokens)
        if status < 500 and codes & _CONTENT_CODES:
            return self.content_refused(started=False)
        if status in (400, 422):
            return self._invalid(error)
        if status == 429 and not codes & _NO_MONEY_CODES:
            return self._queue_full(wait)
        if status in _ABOUT_THE_KEY or status == 429:
            return self._of_the_operator(status, error, "refuses this installation's credentials or account")
        if status >= 500 or status in _PASSING:
            return self.unavailable(f"its provider answers {status}", retry_after_seconds=wait)
        # A redirect, 404, 405 and whatever else says that base_url or the model's name is wrong.
        return self._of_the_operator(status, error, "does not know what it is asked for (base_url, model)")

    def unavailable(self, why: str, *, retry_after_seconds: float | None = None) -> TokenwayError:
        """Before the first token: another model, or the same one later."""
        return TokenwayError(
            Reason.SERVICE_UNAVAILABLE,
            f"{self._model} is away: {why}; ask again later, or another model",
            {"service": "inference", "model": self._model},
            retry_after_seconds=retry_after_seconds,
        )

    def broken(self, why: str) -> TokenwayError:
        """An answer that is none."""
        return TokenwayError(Reason.STREAM_BROKEN, f"{self._model} broke off: {why}; ask again", {"model": self._model})

    def content_refused(self, *, started: bool) -> TokenwayError:
        """By the provider's own rules."""
        if started:
            return self.broken("its provider withdrew the answer")
        message = f"the provider of {self._model} refuses this content: change it, or ask another model"
        return TokenwayError(Reason.CONTENT_REFUSED, message, {"rule": f"provider.{FinishReason.CONTENT_FILTER}"})

    def _queue_full(self, wait: float | None) -> TokenwayError:
        return TokenwayError(
            Reason.QUEUE_FULL,
            f"the provider of {self._model} takes no more at present: ask again later, or another model",
            {"model": self._model},
            retry_after_seconds=RETRY_AFTER_SECONDS if wait is None else wait,
        )

    def _context_too_long(self, input_tokens: int) -> TokenwayError:
        most = self._context_window_tokens
        return TokenwayError(
            Reason.CONTEXT_TOO_LONG,
            f"the prompt of about {input_tokens} tokens and max_tokens do not fit: {self._model} takes {most} in all; "
            "shorten the prompt or lower max_tokens",
            {"input_tokens": str(input_tokens), "context_window_tokens": str(most)},
        )

    def _invalid(self, error: Mapping[str, Any]) -> TokenwayError:
        field, code = _word(error.get("param")), _word(error.get("code"))
        said = f"the provider of {self._model} refuses it" + (f" ({code})" if code else "")
        return invalid_request(FieldViolation("input", said + (f", because of {field}" if field else "")))

    def _of_the_operator(self, status: int, error: Mapping[str, Any], why: str) -> TokenwayError:
        code = _word(error.get("code")) or _word(error.get("type"))
        self._log.error("the provider refuses us", why=why, model=self._model, status=status, code=code)
        return self.unavailable(f"its provider {why}, which only the operator can mend")

    def _retry_after_seconds(self, headers: Mapping[str, str]) -> float | None:
        """Seconds or an HTTP date, RFC 9110 10.2.3; None for neither."""
        value = headers.get("Retry-After", "").strip()
        try:
            seconds = float(value)
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - self._clock.now()
            except ValueError:
                return None
        return min(max(0.0, seconds), _LONGEST_RETRY_AFTER_SECONDS) if math.isfinite(seconds) else None


def _details(body: bytes) -> Mapping[str, Any]:
    """The error object; empty for a body without one, as gateways on the way write them."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else {"message": error}


def _is_too_long(codes: set[str], error: Mapping[str, Any]) -> bool:
    return bool(codes & _TOO_LONG_CODES) or bool(_TOO_LONG.search(str(error.get("message"))))


def _word(value: Any) -> str:
    """A field's or an error's name; empty for all else, so that no key and no prompt passes for one."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""
