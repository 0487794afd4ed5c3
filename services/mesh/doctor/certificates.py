"""The certificates that the configuration names: whether they serve, for whom, and how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from libs.address import is_local
from services.mesh.doctor.certificate import Certificate, CertificateError, shown
from services.mesh.doctor.check import InThread
from services.mesh.doctor.finding import Finding, ok, skipped, warning, wrong
from services.mesh.doctor.patient import Patient

if TYPE_CHECKING:
    from libs.settings.schema import Settings

_SOON = timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate of the configuration, and the hosts by which it will be dialled, as far as they are known."""

    field: str
    certificate_file: Path
    key_file: Path
    ca_file: Path | None
    hosts: frozenset[str]


def check(patient: Patient) -> InThread:
    pairs = tuple(_pairs(patient.settings)) if patient.settings else ()
    return InThread(Certificates(pairs=pairs, now=datetime.now(UTC)))


def _pairs(settings: Settings) -> Iterator[Pair]:
    public, inner = settings.services.router.tls, settings.mesh_tls
    if public is not None:
        # With mTLS the authority is that of the clients, which need not have signed ours.
        yield Pair(
            field="services.router.tls",
            certificate_file=Path(public.certificate_file),
            key_file=Path(public.key_file),
            ca_file=None,
            hosts=frozenset(),
        )
    if inner is not None:
        addresses = [settings.services.cache.reached_at, settings.services.budget.reached_at]
        addresses += [each for model in settings.models for each in model.endpoints]
        yield Pair(
            field="mesh_tls",
            certificate_file=Path(inner.certificate_file),
            key_file=Path(inner.key_file),
            ca_file=Path(inner.ca_file),
            hosts=frozenset(each.rpartition(":")[0].strip("[]") for each in addresses if not each.startswith("unix:")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Judged at `now`."""

    name: ClassVar[str] = "certificates"
    limit_seconds: ClassVar[float] = 5
    pairs: tuple[Pair, ...]
    now: datetime

    def findings(self) -> Iterator[Finding]:
        if not self.pairs:
            yield skipped("files", "the configuration names none: everything is on loopback and unix sockets")
        for pair in self.pairs:
            try:
                certificate = shown(pair.certificate_file, pair.key_file, ca_file=pair.ca_file)
            except CertificateError as error:
                cure = f"put a certificate in force and its key at {pair.certificate_file} and {pair.key_file}"
                yield wrong(pair.field, f"{pair.certificate_file}: {error}", cure=cure)
                continue
            yield self._expiry(pair, certificate)
            yield from _names(pair, certificate)

    def _expiry(self, pair: Pair, certificate: Certificate) -> Finding:
        left = certificate.expires_at - self.now
        says = f"{pair.certificate_file}: until {certificate.expires_at:%Y-%m-%d %H:%M} UTC, {left.days} days from now"
        if left <= _SOON:
            return warning(pair.field, says, cure="renew it now, and restart what shows it")
        return ok(pair.field, says)


def _names(pair: Pair, certificate: Certificate) -> Iterator[Finding]:
    missing = sorted(each for each in pair.hosts if not certificate.covers(each))
    if not certificate.names:
        says = f"{pair.certificate_file} has no subjectAltName: clients look at nothing else"
        yield wrong(pair.field, says, cure="issue it anew with subjectAltName=DNS:… for every host that is dialled")
    elif not missing:
        yield ok(pair.field, f"for {', '.join(certificate.names)}")
    else:
        says = f"for {', '.join(certificate.names)}; not for {', '.join(missing)}, which the router dials"
        cure = f"issue it with subjectAltName={','.join(f'DNS:{each}' for each in missing)}"
        # Each service may have one of its own at the same path. On one machine there is only this one.
        here = all(is_local(f"{each}:1") for each in missing) or len(missing) == len(pair.hosts)
        yield (
            wrong(pair.field, says, cure=cure)
            if here
            else warning(pair.field, says, cure=f"{cure}, unless others show theirs")
        )
