"""Logs: structlog for us; the standard library's loggers of others (grpc, redis, vllm) go the same way."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from opentelemetry import trace

Event = MutableMapping[str, Any]
REDACTED = "[redacted]"
# Matched against each word of a key: `mesh_token` and `api-key` are secrets, `tokens` and `key_id` are not.
# Numbers are never secrets, so `first_token_seconds` is left alone.
_SECRET_WORDS = frozenset(
    {"authorization", "password", "secret", "credential", "credentials", "cookie", "key", "token"}
)
_CONTENT_WORDS = frozenset({"prompt", "text", "message", "messages", "content", "answer", "completion", "body"})
_HARMLESS = frozenset({"key_id"})


def set_up(level: str, *, request_id: Callable[[], str], stream: TextIO | None = None) -> None:
    """Sends every line of this process to `stream` (stderr): coloured on a terminal, else one JSON object each.

    Called once, by the process. `request_id` names the call that is being served, "" outside of one; it is given
    because the calls' own library logs too.
    """
    out = stream or sys.stderr
    shared = _shared_processors(request_id)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Loggers are made before a test reconfigures them.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), redact],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(out)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def _shared_processors(request_id: Callable[[], str]) -> list[structlog.typing.Processor]:
    def add_context(_logger: object, _method: str, event: Event) -> Event:
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            event["trace_id"], event["span_id"] = f"{span.trace_id:032x}", f"{span.span_id:016x}"
        if current := request_id():
            event.setdefault("request_id", current)
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_context,
        redact,
    ]


def _renderers(out: TextIO) -> list[structlog.typing.Processor]:
    if out.isatty():
        # The default traceback shows local variables: prompts, answers and keys are among them.
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    # JSONRenderer calls str() on what JSON lacks, so a strange value never costs the line.
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Blanks values whose key says secret or content, in nested mappings too: the last resort, not a licence."""
    for key, value in event.items():
        event[key] = _redacted(key, value)
    return event


def _redacted(key: str, value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    if _is_secret(key):
        return REDACTED
    if isinstance(value, Mapping):
        return {inner_key: _redacted(str(inner_key), inner) for inner_key, inner in value.items()}
    if isinstance(value, list | tuple) and key != "exc_info":
        return [_redacted("", inner) for inner in value]
    return value


def _is_secret(key: str) -> bool:
    words = key.lower().replace("-", "_").replace(".", "_").split("_")
    return key not in _HARMLESS and not (_SECRET_WORDS | _CONTENT_WORDS).isdisjoint(words)
