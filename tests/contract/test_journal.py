"""What every Journal keeps, in memory and on disk; and what the disk alone can do to it."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from libs.errors import Reason, TokenwayError
from libs.testing.journal import InMemoryJournal
from services.budget.adapters.journal_file import JournalFile
from services.budget.domain.arrears import Arrear, Booked, Line, Taken
from services.budget.domain.journal import Journal
from tests.contract.test_ledger import asked, refused, settled, used

Reopened = Callable[[], Journal]
LISTEN = "unix:/run/tokenway/budget.sock"


@pytest.fixture(params=["memory", "file"])
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopened]:
    """The same journal, as the next process finds it."""
    if request.param == "memory":
        memory = InMemoryJournal()
        yield lambda: memory
        return
    open_now: list[JournalFile] = []

    def reopen() -> Journal:
        if open_now:
            open_now.pop().close()
        open_now.append(JournalFile(tmp_path, listen=LISTEN))
        return open_now[0]

    yield reopen
    open_now[0].close()


def arrears() -> tuple[Arrear, Arrear]:
    """One that is open and one that has ended, of one request."""
    reservation = asked(replaces=asked().id)
    return Arrear(reservation, 1_700_000_000.25), Arrear(
        reservation, 1_700_000_000.25, "settled", settled(reservation, used(5))
    )


async def test_what_was_written_is_read_in_its_order_by_whoever_comes_next(reopened: Reopened) -> None:
    journal = reopened()
    assert journal.read() == ()
    lines: tuple[Line, ...] = (Taken("acme", "20240228", 7), *arrears(), Booked("acme", asked().id))

    await asyncio.gather(*map(journal.append, lines))

    assert reopened().read() == lines


async def test_a_rewrite_takes_the_place_of_everything_before_it_and_of_nothing_after(reopened: Reopened) -> None:
    journal = reopened()
    journal.read()
    before, after = arrears()
    taken = Taken("acme", "20240228", 7)

    await asyncio.gather(journal.append(before), journal.rewrite([taken]), journal.append(after))

    assert reopened().read() == (taken, after)


# The disk


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "unix_run_tokenway_budget.sock.jsonl"


@contextmanager
def journal_in(folder: Path) -> Iterator[JournalFile]:
    journal = JournalFile(folder, listen=LISTEN)
    try:
        yield journal
    finally:
        journal.close()


async def test_a_torn_last_line_was_never_acknowledged_and_is_written_over(tmp_path: Path, file: Path) -> None:
    first, second = arrears()
    with journal_in(tmp_path) as journal:
        await journal.append(first)
    with file.open("ab") as torn:
        torn.write(b'{"kind":"arrear","reservation":{"id":"half')

    with journal_in(tmp_path) as journal:
        assert journal.read() == (first,)
        await journal.append(second)

    with journal_in(tmp_path) as journal:
        assert journal.read() == (first, second)


@pytest.mark.parametrize("broken", ['{"kind":"arr', '{"kind":"unheard"}', '{"kind":"booked"}', "7"])
async def test_a_line_in_the_midst_that_is_none_stops_the_start_and_says_where_it_is(
    tmp_path: Path, file: Path, broken: str
) -> None:
    with journal_in(tmp_path) as journal:
        await journal.append(arrears()[0])
    with file.open("a") as spoilt:
        spoilt.write(f'{broken}\n{{"kind":"booked","id":"r1"}}\n')

    with journal_in(tmp_path) as journal, pytest.raises(ValueError, match=r"line 2 of .*budget\.sock\.jsonl") as caught:
        journal.read()

    assert "book by hand" in str(caught.value)


async def test_two_replicas_cannot_write_one_file(tmp_path: Path) -> None:
    with journal_in(tmp_path) as journal:
        journal.read()
        await journal.rewrite([])
        with pytest.raises(TokenwayError, match="no other of this address uses") as caught:
            JournalFile(tmp_path, listen=LISTEN)
        other = JournalFile(tmp_path, listen="127.0.0.1:50053")
        other.close()

    assert caught.value.reason is Reason.BUDGET_UNAVAILABLE
    with journal_in(tmp_path) as journal:
        assert journal.read() == ()


async def test_a_full_disk_refuses_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    first, second = arrears()
    with journal_in(tmp_path) as journal:
        await journal.append(first)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
        try:
            await refused(journal.append(second), Reason.BUDGET_UNAVAILABLE)
            await refused(journal.rewrite([first, second]), Reason.BUDGET_UNAVAILABLE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await journal.append(second)

    with journal_in(tmp_path) as journal:
        assert journal.read() == (first, second)


async def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(TokenwayError, match="unbooked_folder"):
        JournalFile(tmp_path / "file", listen=LISTEN)


async def test_what_it_holds_is_for_its_owner_alone(tmp_path: Path, file: Path) -> None:
    with journal_in(tmp_path / "new") as journal:
        await journal.append(arrears()[0])

    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new" / file.name).stat().st_mode & 0o777 == 0o600
