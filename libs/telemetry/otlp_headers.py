"""What a collector wants to be told with each batch, a key of ours usually: from the environment or a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

# What gRPC allows, which is less than HTTP does.
_NAME = re.compile(r"[a-z0-9_.-]+")


def otlp_headers(*, variable: str | None, file: str | None, environment: Mapping[str, str]) -> dict[str, str]:
    """`name=value` pairs, by commas or line ends, as OTEL_EXPORTER_OTLP_HEADERS has them: values percent-encoded.

    ValueError says where they were looked for and what is wrong, and never repeats what was found there.
    """
    if variable is not None:
        return _parsed(environment.get(variable, ""), f"the variable {variable}")
    if file is not None:
        return _parsed(_read(file), file)
    return {}


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeError) as error:
        kind = type(error).__name__
        raise _wrong(f"otlp_headers_file {path} cannot be read ({kind}): let it hold name=value pairs") from None


def _parsed(text: str, place: str) -> dict[str, str]:
    pairs = [each.strip() for each in re.split(r"[,\n]", text) if each.strip()]
    if not pairs:
        raise _wrong(f"the headers for the collector are to be in {place}, and there are none: put name=value there")
    return dict(_pair(each, f"header {number} in {place}") for number, each in enumerate(pairs, start=1))


def _pair(text: str, what: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name, value = name.strip().lower(), unquote(value.strip())
    if not equals or not _NAME.fullmatch(name):
        raise _wrong(f"{what} is not name=value: write authorization=Bearer%20KEY, say")
    if not (value.isascii() and value.isprintable()):
        raise _wrong(f"the value of {what} has characters that no header may have: printable ASCII alone")
    return name, value


def _wrong(message: str) -> ValueError:
    return ValueError(f"telemetry: {message}")
