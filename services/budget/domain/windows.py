"""The times over which is counted: of the calendar, in UTC, or sliding."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum


class Window(StrEnum):
    """Over which time a limit counts. Money by the calendar: it starts anew with each minute, hour, day or month.

    Requests and tokens over a sliding time of that length, a month being 30 days: by the calendar a limit could be
    used twice round the end of a window.
    """

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Period:
    """One window of the calendar, from its first second to the first second after it."""

    id: str
    start_seconds: int
    # None: it never ends.
    end_seconds: int | None


def period(window: Window, at_seconds: int) -> Period:
    """The window in which that moment lies. Its id sorts by time and is how the counters are named."""
    moment = datetime.fromtimestamp(at_seconds, UTC).replace(second=0)
    match window:
        case Window.MINUTE:
            return _period(f"{moment:%Y%m%dT%H%M}", moment, moment + timedelta(minutes=1))
        case Window.HOUR:
            start = moment.replace(minute=0)
            return _period(f"{start:%Y%m%dT%H}", start, start + timedelta(hours=1))
        case Window.DAY:
            start = moment.replace(minute=0, hour=0)
            return _period(f"{start:%Y%m%d}", start, start + timedelta(days=1))
        case Window.MONTH:
            start = moment.replace(minute=0, hour=0, day=1)
            # 32 days on is always in the next month, whatever the length of this one.
            return _period(f"{start:%Y%m}", start, (start + timedelta(days=32)).replace(day=1))
        case Window.TOTAL:
            return Period("total", 0, None)


def _period(identity: str, start: datetime, end: datetime) -> Period:
    return Period(identity, int(start.timestamp()), int(end.timestamp()))


SLIDING_SECONDS = {Window.MINUTE: 60, Window.HOUR: 3_600, Window.DAY: 86_400, Window.MONTH: 30 * 86_400}
# A sliding window is counted in buckets of one 60th of its length. A bucket counts until all of it is older than the
# window, so never is more than the limit used in any time of the window's length; the price is up to a 60th of waiting.
BUCKETS = 60


def bucket_seconds(window: Window) -> int:
    """How long a bucket of a sliding window is."""
    return SLIDING_SECONDS[window] // BUCKETS
