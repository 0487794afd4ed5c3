"""The end of a child's log."""

from __future__ import annotations

from pathlib import Path

from services.mesh.supervisor.log import last_lines, last_words, opened, printed


def test_the_last_words_are_a_line_for_people(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text('{"event": "call"}\nbudget: Redis is away\n\n')
    assert last_words(path) == "budget: Redis is away"


def test_a_record_for_machines_is_no_last_word(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text('budget: hello\n{"event": "call"}\n')
    assert last_words(path) == ""


def test_what_was_printed_is_no_last_word(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"budget: Redis is away\n" + printed(b"hello\n"))
    assert last_words(path) == "budget: Redis is away"


def test_an_empty_log_or_none_has_no_last_words(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    assert (last_words(tmp_path / "a.log"), last_words(tmp_path / "b.log")) == ("", "")


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("".join(f"line {number}\n" for number in range(100_000)) + "x" * 2_000)
    lines = last_lines(path, 3)
    assert lines == ("line 99998", "line 99999", "x" * 500)


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for text in (b"first", b"second", b"third"):
        with opened(path) as file:
            file.write(text)
    assert (path.read_text(), path.with_suffix(".log.1").read_text()) == ("third", "second")
