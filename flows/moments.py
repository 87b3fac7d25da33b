"""Points in time as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flows.settings import read_duration
from schemas.clock import MICROSECOND, seconds
from schemas.errors import UsageError

EXAMPLES = "2025-10-10, 2025-10-10T21:15:00Z, -1h or now"
_START = datetime(1970, 1, 1, tzinfo=UTC)


def moment(text: str, now: int) -> int:
    """Nanoseconds since 1970 of ``2025-10-10`` (its start), ``2025-10-10T21:15:00Z``, ``-1h`` (before now) or ``now``.

    A time without a zone is UTC.

    :raises UsageError: for anything else.
    """
    text = text.strip()
    if text == "now":
        return now
    try:
        if text.startswith("-"):
            return now - seconds(read_duration(text[1:]))
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time: write {EXAMPLES}") from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return (time - _START) // timedelta(microseconds=1) * MICROSECOND
