"""OTLP over HTTP, in protobuf. Imported where it is configured alone: `requests` takes a tenth of a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter


def http_exporter(
    url: str,
    *,
    ca_file: str | None,
    certificate: tuple[str, str] | None,
    headers: Mapping[str, str],
    timeout_seconds: float,
) -> OTLPSpanExporter:
    """Sends to exactly this URL. `certificate`: our own with its key, as files."""
    certificate_file, key_file = certificate or (None, None)
    return OTLPSpanExporter(
        endpoint=url,
        certificate_file=ca_file,
        client_certificate_file=certificate_file,
        client_key_file=key_file,
        headers=headers,
        timeout=timeout_seconds,
        session=_session(),
    )


def _session() -> requests.Session:
    session = requests.Session()
    # The environment's proxies would take plaintext off this machine, its CA bundle replace the configured one, and a
    # .netrc the configured authorization.
    session.trust_env = False
    session.hooks["response"].append(_refuse_redirect)
    return session


def _refuse_redirect(response: requests.Response, *_: Any, **__: Any) -> None:
    """The exporter takes a redirect for success, and the spans would be lost without a word."""
    if response.is_redirect:
        response.close()
        raise requests.HTTPError("the collector is elsewhere: redirects are not followed")
