"""The health check of a container: content with a service that serves, in plaintext or TLS, and with no other."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from libs.errors import TokenwayError
from libs.rpc.probe import probe
from libs.testing.certificates import Authority, authority
from libs.testing.runtime import recorded_runtime
from tests.openssl import needs_openssl
from tests.rpc.test_tls import ECHO, serving

pytestmark = needs_openssl


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ours"), "ours")


async def run(*arguments: str) -> tuple[int | None, str]:
    """The command's exit code and what it complained of."""
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "libs.rpc.probe", *arguments), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await started.communicate()
    return started.returncode, errors.decode()


async def test_a_service_that_serves_is_healthy() -> None:
    async with serving(recorded_runtime().runtime) as address:
        assert await run(address, ECHO.service) == (0, "")


async def test_a_service_that_is_not_there_is_not_healthy() -> None:
    async with serving(recorded_runtime().runtime) as address:
        code, complaint = await run(address, "tokenway.test.v1.OtherService")
    assert (code, complaint) == (1, f"tokenway.test.v1.OtherService at {address}: NOT_FOUND\n")


async def test_nobody_there_is_not_healthy(tmp_path: Path) -> None:
    assert await probe(f"unix:{tmp_path}/nobody.sock", ECHO.service, timeout_seconds=0.5) == "DEADLINE_EXCEEDED"


async def test_a_public_port_is_healthy_to_who_has_its_own_certificate(ours: Authority) -> None:
    tls = ours.tls("router", mutual=False)
    async with serving(recorded_runtime().runtime, public=True, tls=tls) as address:
        assert await probe(address, ECHO.service, trust=Path(tls.certificate_file)) == "SERVING"


async def test_a_certificate_for_another_name_is_not_taken(ours: Authority) -> None:
    tls = ours.tls("router", mutual=False)
    async with serving(recorded_runtime().runtime, public=True, tls=tls) as address:
        trust = Path(tls.certificate_file)
        assert await probe(address, ECHO.service, trust=trust, name="elsewhere", timeout_seconds=0.5) != "SERVING"


@pytest.mark.parametrize(
    ("arguments", "complaint"), [(["--trust", "/nowhere.pem"], "/nowhere.pem"), ([], "in plaintext")]
)
async def test_what_cannot_be_asked_is_one_line_and_no_traceback(arguments: list[str], complaint: str) -> None:
    code, complained = await run("192.0.2.1:50051", ECHO.service, *arguments)
    assert (code, complained.count("\n")) == (1, 1)
    assert complaint in complained


async def test_plaintext_does_not_leave_the_machine() -> None:
    with pytest.raises(TokenwayError, match="plaintext"):
        await probe("192.0.2.1:50051", ECHO.service)
