"""Our key at the provider: from the environment or a file, never from the configuration itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from libs.errors import Reason, TokenwayError
from libs.settings.schema import OpenAiEngine as OpenAiSettings


def authorization(settings: OpenAiSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """The header that carries the key; none where the configuration names no key, as for a server of one's own.

    INVALID_REQUEST says where a key was looked for in vain; what was found there is never repeated.
    """
    if settings.api_key_env is not None:
        return _header(environment.get(settings.api_key_env, ""), f"the variable {settings.api_key_env}")
    if settings.api_key_file is not None:
        return _header(_read(settings.api_key_file), settings.api_key_file)
    return {}


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise _refused(f"api_key_file: {path} cannot be read ({type(error).__name__}): let it hold the key") from None


def _header(text: str, place: str) -> dict[str, str]:
    key = text.strip()
    if not key:
        raise _refused(f"the provider's key is to be in {place}, and there is none: put it there")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise _refused(f"what is in {place} is no key: it must be one word of printable ASCII characters")
    return {"Authorization": f"Bearer {key}"}


def _refused(message: str) -> TokenwayError:
    return TokenwayError(Reason.INVALID_REQUEST, message)
