"""The last minute of one slot, read from its ring in one pass when it is told. Compiled.

Each event is read at most sixty times, once a second while it is in the minute, whatever else happens: a burst of any
size costs a few nanoseconds per event and telling, and the path of the events themselves nothing. ADL is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flows.domain.bursts import ALL, SECONDS, SPAN
from flows.domain.constants import MICRO, N_VENUES
from flows.domain.rings import at, first_after
from flows.domain.state import ADL, FLOOR, N_SUMS, PARTIAL, SHORT, Events, Slot
from schemas.clock import SECOND
from schemas.compiled import compiled

PACE = 10
"""Seconds velocities are read over; shorter ones flicker with the venues' rhythm."""
N_PACES = 3
"""Consecutive stretches of ``PACE``: velocity needs one, acceleration two, jerk three."""
LARGEST = 5
"""Largest events kept apart."""
WHALE = 100_000 * MICRO
"""An event of at least this many micro-USD is a whale."""

LAST_MINUTE = np.dtype(
    [
        ("count", np.int32, (N_VENUES, N_PACES)),  # events by venue in the last ten seconds, and the tens before
        ("usd", np.int64, (N_VENUES, N_PACES)),  # micro-USD
        ("side_count", np.int32, (2, N_PACES)),  # longs, shorts
        ("side_usd", np.int64, (2, N_PACES)),
        ("pace_cover", np.int64, (3,)),  # micro-USD of the last ten seconds by coverage
        ("cover", np.int64, (3,)),  # of the whole minute
        ("venue_count", np.int32, (N_VENUES,)),  # of the whole minute
        ("venue_usd", np.int64, (N_VENUES,)),
        ("largest", np.int64, (LARGEST,)),  # micro-USD of the largest events, largest first
        ("whales", np.int64, (2,)),  # events of ``WHALE`` or more, their micro-USD
    ],
    align=True,
)
LastMinute = Any
"""One record of ``LAST_MINUTE``."""
BY_SECOND = np.dtype(
    [
        ("count", np.int32, (ALL + 1, SECONDS)),  # events by venue, and of all, in each second, the newest second first
        ("first", np.int64, (ALL + 1, SECONDS)),  # time of the first of them; undefined where there is none
        ("five", np.int32, (N_VENUES,)),  # events by venue of the last five minutes
        ("sums", np.int64, (N_SUMS,)),
    ],
    align=True,
)
"""Scratch: what bursts are judged by."""
Seconds = Any
"""One record of ``BY_SECOND``."""


@compiled
def clear(me: LastMinute) -> None:
    """All zero."""
    for v in range(N_VENUES):
        me.venue_count[v] = me.venue_usd[v] = 0
        for k in range(N_PACES):
            me.count[v, k] = me.usd[v, k] = 0
    for k in range(N_PACES):
        me.pace_cover[k] = me.cover[k] = 0
        for side in range(2):
            me.side_count[side, k] = me.side_usd[side, k] = 0
    for k in range(LARGEST):
        me.largest[k] = 0
    me.whales[0] = me.whales[1] = 0


@compiled
def read(event: Events, slot: Slot, time: int, me: LastMinute, seconds: Seconds) -> None:
    """Read the events of ``(time - 60 s, time]``; none may be newer."""
    count, first = seconds.count, seconds.first
    clear(me)
    for v in range(ALL + 1):
        for second in range(SECONDS):
            count[v, second] = 0
    for index in range(first_after(event, slot, time - SPAN, slot.last), slot.last):
        entry = event[at(slot, index)]
        what = np.int64(entry.what)
        if what & ADL:
            continue
        second = min((time - entry.time) // SECOND, SECONDS - 1)
        venue = what & (N_VENUES - 1)
        usd = entry.usd
        cover = (2 if what & PARTIAL else 1) if what & FLOOR else 0
        if count[venue, second] == 0:
            first[venue, second] = entry.time
        if count[ALL, second] == 0:
            first[ALL, second] = entry.time
        count[venue, second] += 1
        count[ALL, second] += 1
        me.venue_count[venue] += 1
        me.venue_usd[venue] += usd
        me.cover[cover] += usd
        _outstanding(me, usd)
        if second < N_PACES * PACE:
            pace = second // PACE
            side = 1 if what & SHORT else 0
            me.count[venue, pace] += 1
            me.usd[venue, pace] += usd
            me.side_count[side, pace] += 1
            me.side_usd[side, pace] += usd
            if pace == 0:
                me.pace_cover[cover] += usd


@compiled
def _outstanding(me: LastMinute, usd: int) -> None:
    """Whether the event is a whale, or among the largest."""
    if usd >= WHALE:
        me.whales[0] += 1
        me.whales[1] += usd
    if usd > me.largest[LARGEST - 1]:
        k = LARGEST - 1
        while k > 0 and usd > me.largest[k - 1]:
            me.largest[k] = me.largest[k - 1]
            k -= 1
        me.largest[k] = usd
