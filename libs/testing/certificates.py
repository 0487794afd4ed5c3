"""Certificates for tests, made by the `openssl` command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from libs.rpc.tls import Tls


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority in a folder."""

    folder: Path
    name: str

    @property
    def certificate(self) -> Path:
        return self.folder / f"{self.name}.pem"

    def tls(self, name: str, *, names: str = "DNS:localhost,IP:127.0.0.1", mutual: bool = True, days: int = 1) -> Tls:
        """A certificate for these names, and this authority to check the other side by; -1 days: it is expired."""
        key, request, signed = (self.folder / f"{self.name}-{name}.{end}" for end in ("key", "csr", "pem"))
        _openssl(
            f"req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {key} -out {request}"
        )
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        _openssl(
            f"x509 -req -in {request} -CA {self.certificate} -CAkey {self.folder / self.name}.key -CAcreateserial "
            f"-days {days} -extfile {extensions} -out {signed}"
        )
        return Tls(str(signed), str(key), str(self.certificate) if mutual else None)


def authority(folder: Path, name: str) -> Authority:
    made = Authority(folder, name)
    _openssl(
        f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN={name} "
        f"-keyout {folder / name}.key -out {made.certificate}"
    )
    return made


def _openssl(arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], check=True, capture_output=True)
