"""What a caller has of an answer, and whether another run of it goes on where that stops."""

from __future__ import annotations

from collections.abc import Sequence

from libs.errors import Reason, TokenwayError
from services.router.domain.answer import Delta

_RETRY_AFTER_SECONDS = 1.0
# Text, reasoning, tool calls.
_FIELDS = 3


class Delivered:
    """The pieces of all deltas so far, field by field: the same however they were cut into deltas."""

    def __init__(self) -> None:
        self._pieces: tuple[list[object], ...] = tuple([] for _ in range(_FIELDS))

    def add(self, delta: Delta) -> None:
        """More has gone to the caller."""
        for had, new in zip(self._pieces, delta.pieces(), strict=True):
            had.extend(new)

    def run(self) -> Run:
        """Another run, from the answer's beginning."""
        return Run([list(pieces) for pieces in self._pieces])


class Run:
    """An answer from its beginning, of which some may have been delivered already: that has to come again, token by
    token, before there is anything new.
    """

    def __init__(self, delivered: Sequence[list[object]]) -> None:
        self._delivered = delivered
        self._repeated = [0] * _FIELDS

    def new_of(self, delta: Delta) -> Delta | None:
        """What the caller does not have of it; None where it has it all. STREAM_BROKEN where it is another answer."""
        if self._is_new():
            return delta
        again = [self._again(field, pieces) for field, pieces in enumerate(delta.pieces())]
        return delta.without_first(*again)

    def end(self) -> None:
        """It has ended; STREAM_BROKEN where that was before what the caller has."""
        if not self._is_new():
            raise _another_answer()

    def _again(self, field: int, pieces: Sequence[object]) -> int:
        """How many leading pieces of a field have been delivered."""
        at = self._repeated[field]
        expected = self._delivered[field][at : at + len(pieces)]
        if list(pieces[: len(expected)]) != expected:
            raise _another_answer()
        self._repeated[field] = at + len(expected)
        return len(expected)

    def _is_new(self) -> bool:
        return self._repeated == [len(pieces) for pieces in self._delivered]


def _another_answer() -> TokenwayError:
    message = (
        "the request whose answer this one shared was lost in mid-answer, and the model did not give the same answer "
        "again; ask again"
    )
    return TokenwayError(Reason.STREAM_BROKEN, message, retry_after_seconds=_RETRY_AFTER_SECONDS)
