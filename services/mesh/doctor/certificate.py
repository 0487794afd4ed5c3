"""A certificate as a client would see it: shown in a handshake in memory, by the very library that serves it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED


class CertificateError(Exception):
    """It could not serve anybody; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """For whom it is, and until when."""

    names: tuple[str, ...]
    expires_at: datetime

    def covers(self, host: str) -> bool:
        """Whether a client that dials the host accepts the name: exactly, or by a wildcard of one label."""
        wildcard = f"*.{host.partition('.')[2]}"
        return any(name.lower() in (host.lower(), wildcard.lower()) for name in self.names)


def shown(certificate_file: Path, key_file: Path, *, ca_file: Path | None) -> Certificate:
    """The certificate, accepted by whoever trusts the authority; without one, by whoever trusts the certificate itself.

    CertificateError when the files do not belong together, or the authority did not sign it, or it is expired.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(certificate_file, key_file, server)
    client = ssl.create_default_context()
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself may be what is trusted
    _trust(client, ca_file or certificate_file)
    fields = _handshake(server, client)
    alternatives: Iterable[tuple[str, str]] = fields.get("subjectAltName", ())
    return Certificate(
        names=tuple(name for kind, name in alternatives if kind in ("DNS", "IP Address")),
        expires_at=datetime.fromtimestamp(ssl.cert_time_to_seconds(fields["notAfter"]), UTC),
    )


def _load(certificate_file: Path, key_file: Path, server: ssl.SSLContext) -> None:
    for path in (certificate_file, key_file):
        try:
            path.read_bytes()
        except OSError as error:
            raise CertificateError(f"{path} cannot be read: {error.strerror}") from None
    try:
        # A password would be asked for on the terminal; services cannot answer either.
        server.load_cert_chain(certificate_file, key_file, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"the key in {key_file} is not that of {certificate_file}") from None
        raise CertificateError(f"{certificate_file} and {key_file} are no PEM pair: {error.reason}") from None


def _trust(client: ssl.SSLContext, authority: Path) -> None:
    try:
        client.load_verify_locations(authority)
    except OSError as error:  # ssl.SSLError is one
        raise CertificateError(f"{authority} is no PEM file of an authority: {error.strerror or error}") from None


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):  # three are enough for TLS 1.2
        if all([_is_done(asking), _is_done(answering)]):
            return asking.getpeercert() or {}
    raise CertificateError("its handshake does not end")


def _is_done(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            raise CertificateError("it is expired, or its authority is") from None
        raise CertificateError(f"clients refuse it: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise CertificateError(f"its handshake fails: {error.reason}") from None
    return True
