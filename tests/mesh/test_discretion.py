"""What a caller says and gets is in no log line, no span and no error, however its request ends."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from libs.errors import TokenwayError
from libs.rpc.call import current_request_id
from libs.settings import schema
from libs.telemetry import logs
from libs.testing.runtime import MESH_TOKEN
from services.mesh.client.router import RouterAddress, connected
from tests.mesh.in_process import KEY, Mesh, events, limit, model, organisations, question, running, settings

CANARY = "canary-4711"
FOREIGN_KEY = f"tw_{CANARY}"
ENDINGS = (
    "",
    "[[tokens=0]]",
    "[[fault:unavailable]]",
    "[[fault:overloaded=0.01]] [[fault_attempts=1]]",
    "[[fault:cut_after=3]]",
    "[[fault:no_finish_after=3]]",
    "[[fault:stall_after=3]]",
)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Every line that this process logs, at the lowest level."""
    root = logging.getLogger()
    handlers, level, stream = root.handlers, root.level, io.StringIO()
    logs.set_up("debug", request_id=current_request_id.get, stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)


async def test_nothing_that_a_caller_sends_or_gets_is_written_down(redis_url: str, written: io.StringIO) -> None:
    told: list[str] = []
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        async with running(settings(folder, redis_url, models=(model("small", folder),))) as mesh:
            for ending in ENDINGS:
                patience_seconds = 0.7 if "stall" in ending else 10
                told += [await outcome(mesh, f"{CANARY} {ending}", timeout_seconds=patience_seconds)]
            told.append(await outcome(mesh, CANARY, key=FOREIGN_KEY))
            told.append(await outcome(mesh, CANARY * 200_000))
            told.append(await outcome(mesh, CANARY, labels={f"{CANARY}-label": "x" * 100}))
            await leave(mesh)
            await mesh.settled()
        spans = " ".join(each.to_json() for each in mesh.recorded.spans())
    lines = written.getvalue()
    assert '"event": "call"' in lines, "the logs are really seen"
    assert "chat small" in spans
    for text in (lines, spans, " ".join(told)):
        for secret in (CANARY, KEY, MESH_TOKEN):
            assert secret not in text, text[max(0, text.find(secret) - 500) : text.find(secret) + 100]


GUARDED_ENDINGS = (
    "",  # redacted in the question, restored in the answer
    "[[echo=reply to other-{secret} soon]]",  # redacted in the answer
    "[[echo=it is falcon-{canary} indeed]]",  # stopped
    "falcon-{canary}",  # refused
    "[[echo=reply to other-{secret} soon]] [[fault:cut_after=3]]",  # broken off while it is held
)


async def test_what_a_guard_finds_is_written_down_nowhere(redis_url: str, written: io.StringIO) -> None:
    secret = f"{CANARY}@example.com"
    rule = schema.GuardPattern(name="falcon", regex="falcon-canary-[0-9]{4}")
    kinds = schema.GuardKinds(email="redact")
    guards = schema.Guards(input=kinds, output=kinds, restore=True, patterns=(rule,))
    told: list[str] = []
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        given = tuple(each.model_copy(update={"guards": guards}) for each in organisations(limit("100")))
        async with running(settings(Path(name), redis_url, organisations=given)) as mesh:
            for ending in GUARDED_ENDINGS:
                text = ending.format(secret=secret, canary=CANARY)
                told.append(await outcome(mesh, f"I am {secret}. {text}"))
            await mesh.settled()
        spans = " ".join(each.to_json() for each in mesh.recorded.spans())
    assert all(each in spans for each in ("pii.email", "pattern.falcon"))
    assert "CONTENT_REFUSED" in " ".join(told)
    for text in (written.getvalue(), spans, " ".join(told)):
        assert CANARY not in text, text[max(0, text.find(CANARY) - 500) : text.find(CANARY) + 100]


async def outcome(mesh: Mesh, text: str, *, key: str = KEY, timeout_seconds: float = 10, **fields: object) -> str:
    """What the caller is told apart from the answer itself."""
    async with connected(RouterAddress(mesh.address, key)) as client:
        try:
            async with client.stream_generate(question(text, **fields), timeout_seconds=timeout_seconds) as stream:  # type: ignore[arg-type]
                return str([each async for each in stream][-1].finished)
        except TokenwayError as error:
            return f"{error} {error.metadata} {error.fields} {error.quotas}"


async def leave(mesh: Mesh) -> None:
    async with mesh.client.stream_generate(question(f"{CANARY} [[tokens=4000]]", max_tokens=4_000)) as stream:
        await anext(aiter(stream))


async def test_names_from_requests_make_no_metric_labels(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        folder = Path(name)
        async with running(settings(folder, redis_url, models=(model("small", folder),))) as mesh:
            for number in range(3):
                await outcome(mesh, "hello", model=f"invented-{number}")
            await events(mesh, question("hello"))
        samples = [
            sample
            for each in mesh.metrics.values()
            for metric in each.runtime.registry.collect()
            for sample in metric.samples
        ]
    assert {sample.labels["model"] for sample in samples if "model" in sample.labels} == {"small"}
    assert not [sample for sample in samples if "invented" in str(sample.labels)]
