"""Every line, ours or a library's, is one JSON object with its trace and request, and without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from libs.telemetry import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    logs.set_up("info", request_id=lambda: "req-1", stream=stream)
    return stream


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_json_with_level_logger_time_and_request(out: io.StringIO) -> None:
    structlog.get_logger("budget").warning("lease expired", reservation_id="r1")
    [line] = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "lease expired",
        "level": "warning",
        "logger": "budget",
        "request_id": "req-1",
        "reservation_id": "r1",
    }


def test_a_line_within_a_span_names_it(out: io.StringIO) -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("route") as span:
        structlog.get_logger().info("routed")
        logging.getLogger("redis").error("gone")
    for line in lines(out):
        assert line["trace_id"] == f"{span.get_span_context().trace_id:032x}"
        assert line["span_id"] == f"{span.get_span_context().span_id:016x}"


def test_a_library_s_line_goes_the_same_way(out: io.StringIO) -> None:
    logging.getLogger("library.engine").warning("cache at %d %%", 97, extra={"replica": 2})
    [line] = lines(out)
    assert (line["event"], line["logger"], line["request_id"]) == ("cache at 97 %", "library.engine", "req-1")
    assert line["replica"] == 2


def test_an_exception_is_in_its_line(out: io.StringIO) -> None:
    try:
        raise RuntimeError("why")
    except RuntimeError as error:
        structlog.get_logger().error("failed", exc_info=error)
        logging.getLogger("grpc").exception("failed too")
    assert ["RuntimeError: why" in line["exception"] for line in lines(out)] == [True, True]


@pytest.mark.parametrize("name", ["ours", "theirs"])
def test_a_level_below_the_set_one_is_dropped(out: io.StringIO, name: str) -> None:
    logger = structlog.get_logger("x") if name == "ours" else logging.getLogger("x")
    logger.debug("detail")
    logger.info("kept")
    assert [line["event"] for line in lines(out)] == ["kept"]


@pytest.mark.parametrize(
    "key", ["authorization", "Authorization", "mesh_token", "api-key", "redis.password", "prompt", "text", "content"]
)
def test_what_a_key_calls_a_secret_or_content_is_blanked(out: io.StringIO, key: str) -> None:
    structlog.get_logger().info("said", **{key: "s3cr3t"}, nested={key: "s3cr3t"}, several=[{key: "s3cr3t"}])
    logging.getLogger("grpc").info("said", extra={key: "s3cr3t"})
    assert "s3cr3t" not in out.getvalue()
    assert lines(out)[0][key] == logs.REDACTED


@pytest.mark.parametrize(
    ("key", "value"), [("key_id", "ci"), ("tokens", 12), ("first_token_seconds", 0.2), ("messages", 3)]
)
def test_what_only_sounds_like_a_secret_stays(out: io.StringIO, key: str, value: object) -> None:
    structlog.get_logger().info("said", **{key: value})
    assert lines(out)[0][key] == value


def test_a_value_that_json_lacks_does_not_cost_the_line(out: io.StringIO) -> None:
    structlog.get_logger().info("odd", value=object)
    assert "object" in lines(out)[0]["value"]


def test_outside_of_a_call_there_is_no_request_id() -> None:
    out = io.StringIO()
    logs.set_up("info", request_id=str, stream=out)
    structlog.get_logger().info("started")
    assert "request_id" not in lines(out)[0]


def test_a_terminal_gets_colours_and_no_json() -> None:
    out = Terminal()
    logs.set_up("info", request_id=str, stream=out)
    structlog.get_logger("cache").info("ready", address="127.0.0.1:1")
    assert "\x1b[" in out.getvalue()
    assert not out.getvalue().startswith("{")
