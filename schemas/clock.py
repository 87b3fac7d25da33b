"""The only place that reads the machine's clock; everything else takes one as an argument."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns integer nanoseconds since 1970 UTC."""

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


def system_clock() -> int:
    """Nanoseconds since 1970 UTC by this machine."""
    return time.time_ns()  # noqa: TID251 - the one allowed reading


def seconds(duration: float) -> int:
    """Nanoseconds in ``duration`` seconds."""
    return round(duration * SECOND)


def steady_clock(wall: Clock = system_clock, elapsed: Clock = time.monotonic_ns) -> Clock:
    """A clock that starts at ``wall`` and then only counts what passes: no one can set it while it runs."""
    offset = wall() - elapsed()
    return lambda: offset + elapsed()
