"""The example clients in other languages against a real mesh: what their user sees, and what the mesh sees of them."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from libs.settings import schema
from libs.telemetry import names
from libs.testing.certificates import authority
from tests.clients.examples import BUILD_SECONDS, EXAMPLES, Example
from tests.mesh.in_process import (
    KEY,
    Mesh,
    events,
    limit,
    model,
    organisations,
    question,
    running,
    services,
    settings,
)
from tests.openssl import needs_openssl

pytestmark = [pytest.mark.processes, pytest.mark.timeout(BUILD_SECONDS + 120)]
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda each: each.language)
def example(request: pytest.FixtureRequest) -> Example:
    """An example that is built; skips where its tool chain is missing."""
    found: Example = request.param
    if found.missing:
        pytest.skip(found.missing)
    found.made()
    return found


@asynccontextmanager
async def mesh_on_loopback(
    redis_url: str, *, router: dict[str, Any] | None = None, budget: str = "100", **changes: Any
) -> AsyncIterator[Mesh]:
    """One engine that takes one request at a time, so that a second one starts only when the first is really gone."""
    engine = schema.ScriptedEngine(
        kind="scripted", tokens_per_second=200, first_token_seconds=0, max_num_seqs=1, allow_directives=True
    )
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        given: dict[str, Any] = {
            "services": services(folder, router={"listen": "127.0.0.1:0", **(router or {})}),
            "models": (model("small", folder, engine=engine),),
            "organisations": organisations(limit(budget), limit("100", "day")),
        }
        async with running(settings(folder, redis_url, **given | changes)) as mesh:
            yield mesh


async def test_the_answer_streams_and_its_receipt_is_shown(example: Example, redis_url: str) -> None:
    async with mesh_on_loopback(redis_url) as mesh:
        async with example.asking(mesh.address, "[[tokens=200]] a tale", TOKENWAY_API_KEY=KEY) as process:
            assert process.stdout is not None
            begins = await asyncio.wait_for(process.stdout.read(1), 60)
            assert await mesh.reserved() > 0, "the first word came when the answer was whole"
            rest, said = await asyncio.wait_for(process.communicate(), 60)
        cached = (await mesh.client.generate(question("[[tokens=200]] a tale", max_tokens=512), timeout_seconds=5)).text
        used, _ = (await mesh.money())["BUDGET_WINDOW_DAY"]
    assert process.returncode == 0, said
    assert (begins + rest).decode().strip() == cached.strip()
    assert re.search(
        rf"small: \d+ \+ 200 tokens, {used} micro-dollars, \w*STOP, request [0-9a-f]{{32}}\n", said.decode()
    )


async def test_what_is_wrong_with_a_question_is_said_field_by_field(example: Example, redis_url: str) -> None:
    async with mesh_on_loopback(redis_url) as mesh:
        refused = await example.asked(mesh.address, "--max-tokens", "0", "hello", TOKENWAY_API_KEY=KEY)
        (of_refused,) = _request_ids(mesh)
    assert refused.code == 1
    assert refused.answer.strip() == ""
    reason, field, request = refused.said.strip().splitlines()
    assert reason == "INVALID_REQUEST: request.sampling.max_tokens: is 0: give at least 1"
    assert field == "  request.sampling.max_tokens: is 0: give at least 1"
    assert request == f"  request {of_refused}"


async def test_a_spent_budget_says_which_limit_and_when_to_try_again(example: Example, redis_url: str) -> None:
    async with mesh_on_loopback(redis_url, budget="0.001") as mesh:
        first = await example.asked(mesh.address, "--max-tokens", "64", "hello", TOKENWAY_API_KEY=KEY)
        refused = await example.asked(mesh.address, "--max-tokens", "90", "another", TOKENWAY_API_KEY=KEY)
    assert (first.code, refused.code) == (0, 1), first.said
    reason, quota, again, _ = refused.said.strip().splitlines()
    assert reason.startswith("BUDGET_EXCEEDED: ")
    assert quota.startswith("  organisation")
    assert 0 < float(again.removeprefix("  try again in ").removesuffix(" s")) <= 3_600


async def test_an_answer_that_is_cancelled_leaves_the_engine_and_is_billed(example: Example, redis_url: str) -> None:
    async with mesh_on_loopback(redis_url) as mesh:
        endless = ("--stop-after", "5", "--max-tokens", "4000", "[[tokens=4000]]")
        left = await example.asked(mesh.address, *endless, TOKENWAY_API_KEY=KEY)
        # The engine takes one request, and the other one would have taken 20 s.
        await asyncio.wait_for(events(mesh, question("[[tokens=2]] probe")), 10)
        await mesh.settled()
        (aborted,) = [each for each in mesh.recorded.spans() if _is_aborted(each)]
        used, _ = (await mesh.money())["BUDGET_WINDOW_DAY"]
    assert left.code == 0, left.said
    assert len(left.answer.split()) >= 5
    assert aborted.name == names.SPAN_ENGINE
    assert 5 * 10 <= used < 1_000 * 10, "what was delivered is billed, at 10 micro-dollars a token"


LEAVES_AND_LIVES_ON = """
require "./tokenway"
mesh = Tokenway::Mesh.new(ENV["TOKENWAY_ROUTER"], key: ENV["TOKENWAY_API_KEY"])
mesh.stream({ prompt: "[[tokens=4000]]", sampling: { max_tokens: 4000 } }) { |event| break if event.delta }
$stdin.read
"""


async def test_in_ruby_the_block_cancels_and_not_the_end_of_the_program(redis_url: str) -> None:
    ruby = next(each for each in EXAMPLES if each.language == "ruby")
    if ruby.missing:
        pytest.skip(ruby.missing)
    ruby.made()
    lives_on = replace(ruby, ask=("ruby", "-e", LEAVES_AND_LIVES_ON))
    async with mesh_on_loopback(redis_url) as mesh, lives_on.asking(mesh.address, TOKENWAY_API_KEY=KEY) as process:
        async with asyncio.timeout(30):
            while not any(_is_aborted(each) for each in mesh.recorded.spans()):  # noqa: ASYNC110 # a server's state
                await asyncio.sleep(0.02)
        assert process.returncode is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ("--ca", "/nonexistent"),
            "INVALID_REQUEST: the CA file /nonexistent cannot be read: No such file or directory",
        ),
        (("--max-tokens", "99999999999"), "INVALID_REQUEST: max_tokens: is 99999999999: give a whole number, at least"),
        (("--timeout", "nan"), "INVALID_REQUEST: timeout_seconds: is nan: give seconds, above 0 and at most 86,400"),
    ],
)
async def test_in_python_what_cannot_be_sent_is_said_as_what_is_refused(options: tuple[str, str], says: str) -> None:
    python = next(each for each in EXAMPLES if each.language == "python")
    refused = await python.asked("127.0.0.1:1", *options, "hello", TOKENWAY_API_KEY=KEY)
    assert refused.code == 1
    assert refused.said.strip().startswith(says)


async def test_the_deadline_goes_with_the_call(example: Example, redis_url: str) -> None:
    async with mesh_on_loopback(redis_url) as mesh:
        slow = ("--timeout", "2", "--max-tokens", "4000", "[[tokens=4000]]")
        late = await example.asked(mesh.address, *slow, TOKENWAY_API_KEY=KEY)
        await mesh.settled()
        (aborted,) = [each for each in mesh.recorded.spans() if _is_aborted(each)]
    assert late.code == 1
    assert aborted.name == names.SPAN_ENGINE
    # The router's own answer comes 50 ms before the client gives up by itself, if the machine is not too busy.
    assert late.said.strip().startswith(("OUT_OF_TIME: the deadline of ", "DEADLINE_EXCEEDED: "))


async def test_an_answer_that_breaks_off_is_an_error_with_its_bill(example: Example, redis_url: str) -> None:
    async with mesh_on_loopback(redis_url) as mesh:
        broken = await example.asked(mesh.address, "[[tokens=50]] [[fault:cut_after=10]]", TOKENWAY_API_KEY=KEY)
        await mesh.settled()
        used, _ = (await mesh.money())["BUDGET_WINDOW_DAY"]
    assert broken.code == 1
    assert len(broken.answer.split()) == 10
    reason, billed, _ = broken.said.strip().splitlines()
    assert reason.startswith("STREAM_BROKEN: ")
    assert billed == f"  billed: {used} micro-dollars"


async def test_the_request_joins_the_trace_of_its_caller(example: Example, redis_url: str) -> None:
    async with mesh_on_loopback(redis_url) as mesh:
        traceparent = f"00-{TRACE_ID}-{SPAN_ID}-01"
        asked = await example.asked(mesh.address, "hello", TOKENWAY_API_KEY=KEY, TRACEPARENT=traceparent)
        root = mesh.recorded.span("tokenway.router.v1.RouterService/StreamGenerate")
    assert asked.code == 0, asked.said
    assert root.parent is not None
    assert (f"{root.parent.trace_id:032x}", f"{root.parent.span_id:016x}") == (TRACE_ID, SPAN_ID)


async def test_without_a_key_or_a_mesh_it_says_so(example: Example, redis_url: str) -> None:
    async with mesh_on_loopback(redis_url) as mesh:
        keyless = await example.asked(mesh.address, "hello", TOKENWAY_API_KEY="")
    alone = await example.asked("127.0.0.1:1", "hello", TOKENWAY_API_KEY=KEY)
    assert (keyless.code, alone.code) == (1, 1)
    assert keyless.said.strip().startswith("KEY_MISSING: ")
    assert "UNAVAILABLE: " in alone.said, "gRPC itself ended it: only the code is known"


@needs_openssl
async def test_over_tls_the_router_is_who_it_should_be(example: Example, redis_url: str, tmp_path: Path) -> None:
    ours, strangers = authority(tmp_path, "ours"), authority(tmp_path, "strangers")
    made = ours.tls("router", mutual=False)
    tls = schema.Tls(certificate_file=made.certificate_file, key_file=made.key_file)
    async with mesh_on_loopback(redis_url, router={"tls": tls}) as mesh:
        address = mesh.address.replace("127.0.0.1", "localhost")
        trusted = await example.asked(address, "--ca", str(ours.certificate), "hello", TOKENWAY_API_KEY=KEY)
        refused = await example.asked(address, "--ca", str(strangers.certificate), "hello", TOKENWAY_API_KEY=KEY)
    assert trusted.code == 0, trusted.said
    assert refused.code == 1
    assert "UNAVAILABLE: " in refused.said


async def test_off_this_machine_the_key_goes_over_tls_alone(example: Example, redis_url: str) -> None:
    async with mesh_on_loopback(redis_url) as mesh:
        # Not a loopback address, though it leads here: to a port that would take plaintext.
        elsewhere = mesh.address.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 # nothing binds to it
        refused = await example.asked(elsewhere, "hello", TOKENWAY_API_KEY=KEY)
        assert mesh.recorded.spans() == ()
    assert refused.code == 1
    assert "UNAVAILABLE: " in refused.said


def _request_ids(mesh: Mesh) -> set[str]:
    ids = {(each.attributes or {}).get(names.REQUEST_ID) for each in mesh.recorded.spans()}
    return {str(each) for each in ids if each}


def _is_aborted(span: ReadableSpan) -> bool:
    return any(each.name == names.EVENT_ABORTED for each in span.events)
