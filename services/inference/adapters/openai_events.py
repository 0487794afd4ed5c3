"""Server-sent events: the framing of a streamed answer over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator

# The largest chunk of an answer is a token with twenty likely ones beside it: some kilobytes.
MAX_EVENT_BYTES = 1 << 20
_END_OF_LINE = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class MalformedError(ValueError):
    """What came is not what it claims to be. The message holds nothing of it: it may be an answer's text."""


class ServerSentEvents:
    """Gives the data of each event, however the bytes were cut: WHATWG HTML, section 9.2.6.

    Comments, and fields other than `data`, mean nothing here. MalformedError for what is too large or no UTF-8.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = b""
        self._data: list[bytes] = []
        self._size = 0
        self._ended_by_cr = False
        self._at_start = True

    def feed(self, received: bytes) -> Iterator[str]:
        """The events that these bytes complete."""
        if self._ended_by_cr and received.startswith(b"\n"):  # a line's end that was cut in half
            received = received[1:]
            self._ended_by_cr = False
        if not received:
            return
        self._ended_by_cr = received.endswith(b"\r")
        *lines, self._line = _END_OF_LINE.split(self._line + received)
        if self._size + len(self._line) > self._max_event_bytes:
            raise self._too_large()
        for line in lines:
            yield from self._take(line)

    def close(self) -> Iterator[str]:
        """What stands in whole lines at the end. Some servers save the blank line behind the last event."""
        yield from self._complete()

    def _take(self, line: bytes) -> Iterator[str]:
        if self._at_start:
            line, self._at_start = line.removeprefix(_BYTE_ORDER_MARK), False
        if not line:
            yield from self._complete()
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
            if self._size > self._max_event_bytes:
                raise self._too_large()

    def _complete(self) -> Iterator[str]:
        data, self._data, self._size = self._data, [], 0
        if not data:
            return
        try:
            yield b"\n".join(data).decode()
        except UnicodeDecodeError:
            raise MalformedError("an event is no UTF-8") from None

    def _too_large(self) -> MalformedError:
        return MalformedError(f"an event has more than {self._max_event_bytes} bytes")
