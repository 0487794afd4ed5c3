"""Certificates made by openssl: those that serve, and those that would not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from libs.rpc.tls import Tls
from libs.testing.certificates import Authority, authority
from services.mesh.doctor.certificates import Certificates, Pair
from services.mesh.doctor.finding import Finding, Verdict
from tests.openssl import needs_openssl

pytestmark = needs_openssl


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ours"), "ours")


def judged(tls: Tls, *hosts: str, now: datetime | None = None) -> list[Finding]:
    pair = Pair(
        field="mesh_tls",
        certificate_file=Path(tls.certificate_file),
        key_file=Path(tls.key_file),
        ca_file=Path(tls.ca_file) if tls.ca_file else None,
        hosts=frozenset(hosts),
    )
    return list(Certificates(pairs=(pair,), now=now or datetime.now(UTC)).findings())


def test_one_in_force_for_the_hosts_that_are_dialled_is_well(ours: Authority) -> None:
    tls = ours.tls("good", names="DNS:cache,DNS:*.tokenway.example,IP:127.0.0.1", days=30)
    expiry, names = judged(tls, "cache", "budget.tokenway.example", "127.0.0.1")
    assert (expiry.verdict, names.verdict) == (Verdict.OK, Verdict.OK)
    assert names.says == "for cache, *.tokenway.example, 127.0.0.1"


def test_hosts_that_it_is_not_for_are_named(ours: Authority) -> None:
    tls = ours.tls("half", names="DNS:cache", days=30)
    _, names = judged(tls, "cache", "budget")
    assert (names.verdict, names.says) == (Verdict.WARNING, "for cache; not for budget, which the router dials")
    _, names = judged(tls, "a.cache", "budget")
    assert names.verdict is Verdict.WRONG, "for none of them"


def test_one_that_soon_expires_is_a_warning_and_one_that_has_is_wrong(ours: Authority) -> None:
    tls = ours.tls("soon", days=30)
    assert judged(tls, now=datetime.now(UTC) + timedelta(days=15))[0].verdict is Verdict.OK
    assert judged(tls, now=datetime.now(UTC) + timedelta(days=17))[0].verdict is Verdict.WARNING
    (expired,) = judged(ours.tls("expired", days=-1))
    assert (expired.verdict, expired.says.partition(": ")[2]) == (Verdict.WRONG, "it is expired, or its authority is")


def test_the_public_one_needs_no_authority_that_we_know(ours: Authority) -> None:
    assert judged(ours.tls("public", mutual=False, days=30))[0].verdict is Verdict.OK
    assert judged(ours.tls("public-expired", mutual=False, days=-1))[0].verdict is Verdict.WRONG


def test_the_key_of_another_is_seen(ours: Authority) -> None:
    one, other = ours.tls("one"), ours.tls("other")
    (found,) = judged(Tls(one.certificate_file, other.key_file, one.ca_file))
    assert f"the key in {other.key_file} is not that of {one.certificate_file}" in found.says


def test_another_authority_is_seen(ours: Authority, tmp_path: Path) -> None:
    tls = ours.tls("ours-alone")
    (found,) = judged(Tls(tls.certificate_file, tls.key_file, str(authority(tmp_path, "strangers").certificate)))
    assert "clients refuse it: " in found.says


@pytest.mark.parametrize("broken", ["certificate_file", "key_file", "ca_file"])
@pytest.mark.parametrize("how", ["missing", "empty", "text"])
def test_a_file_that_is_none_is_named(ours: Authority, tmp_path: Path, broken: str, how: str) -> None:
    tls = ours.tls("whole")
    path = tmp_path / "file.pem"
    if how != "missing":
        path.write_text("" if how == "empty" else "no certificate\n")
    files = {"certificate_file": tls.certificate_file, "key_file": tls.key_file, "ca_file": tls.ca_file}
    (found,) = judged(Tls(**{**files, broken: str(path)}))  # type: ignore[arg-type] # all three are text
    assert found.verdict is Verdict.WRONG
    assert str(path) in found.says


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(ours: Authority, tmp_path: Path) -> None:
    import subprocess

    tls = ours.tls("locked")
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-in", tls.key_file, "-aes256", "-passout", "pass:x", "-out", str(locked)], check=True
    )
    (found,) = judged(Tls(tls.certificate_file, str(locked), tls.ca_file))
    assert "are no PEM pair" in found.says
