"""Certificates for both sides of a hop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files. With `ca_file` the other side must show a certificate of that authority (mTLS)."""

    certificate_file: str
    key_file: str
    ca_file: str | None = None

    @property
    def mutual(self) -> bool:
        """Whether the handshake refuses strangers."""
        return self.ca_file is not None

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a listening port. OSError names a file that cannot be read."""
        pair = (Path(self.key_file).read_bytes(), Path(self.certificate_file).read_bytes())
        return grpc.ssl_server_credentials([pair], self._authority(), require_client_auth=self.mutual)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For dialling."""
        key, certificate = Path(self.key_file).read_bytes(), Path(self.certificate_file).read_bytes()
        return grpc.ssl_channel_credentials(self._authority(), key, certificate)

    def _authority(self) -> bytes | None:
        return Path(self.ca_file).read_bytes() if self.ca_file else None


@dataclass(frozen=True, slots=True)
class Trust:
    """For dialling alone, without a certificate of one's own: the authority to trust, or the server's own certificate.

    None: the system's authorities.
    """

    ca_file: Path | None

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """OSError: the file cannot be read."""
        return grpc.ssl_channel_credentials(self.ca_file.read_bytes() if self.ca_file else None)
