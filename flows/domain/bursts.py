"""Bursts of one slot and of each venue in it: where in the last minute each began. Compiled.

The last minute before ``time`` is cut into sixty seconds ``(time - k - 1 s, time - k s]``. A *burst* began with the
first event of the first second from which on ten seconds hold at least ``LEAST`` events and at least three times what
the four minutes before the last one lead to expect in ten seconds. It lasts until no such second is left in the last
minute; its beginning is remembered that long. ADL is no part of it.

What began when is judged each time the slot is told, over everything known by then: an event later than that can make a
burst begin earlier only while it is not yet told.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import N_VENUES, NEVER
from schemas.clock import SECOND
from schemas.compiled import compiled

SECONDS = 60
SPAN = SECONDS * SECOND
STRETCH = 10
"""Seconds a burst needs to be one: shorter would flicker with the rhythm of the venues' liquidation sweeps."""
RATIO = 3.0
"""How many times the expected number of events make a burst."""
LEAST, LEAST_OF_ALL = 3, 5
"""Events a burst of one venue, and one of all venues together, has at least."""
ALL = N_VENUES
"""The row of all venues together."""
_BEFORE = 240.0
"""Seconds of the four minutes that tell what to expect."""

BURSTS = np.dtype(
    [
        ("told", np.int64),  # when the next was judged last
        ("onset", np.int64, (N_VENUES + 1,)),  # when the burst of each venue, and of all together, began; NEVER: none
    ],
    align=True,
)
Bursts = Any
"""One record of ``BURSTS``."""


@compiled
def onset(count: NDArray[np.int32], first: NDArray[np.int64], expected: float, least: int) -> int:
    """When the burst in these seconds began; ``NEVER`` where there is none.

    :arg count: events of each second, the newest second first. :arg first: time of the first event of each.
    :arg expected: events to be expected in ten seconds.
    """
    need = max(least, math.ceil(RATIO * expected))
    within = 0
    for second in range(SECONDS - STRETCH + 1, SECONDS):
        within += count[second]
    for second in range(SECONDS - 1, -1, -1):
        if second >= STRETCH - 1:
            within += count[second - STRETCH + 1]
        if within >= need and count[second] > 0:
            return first[second]
        within -= count[second]
    return NEVER


@compiled
def judge(
    me: Bursts, time: int, seconds: Any, minute: NDArray[np.int32], five: NDArray[np.int32], out: NDArray[np.int64]
) -> None:
    """When the bursts going on at ``time`` began, by venue and of all. Changes nothing.

    :arg seconds: the last minute by second, see ``flows.domain.minute``.
    :arg minute: events by venue of the last minute. :arg five: of the last five minutes.
    """
    fresh = time - me.told > SPAN
    before = 0
    for v in range(N_VENUES + 1):
        seen = LEAST_OF_ALL
        if v < N_VENUES:
            before += five[v] - minute[v]
            seen = minute[v]
        expected = ((five[v] - minute[v]) if v < N_VENUES else before) * STRETCH / _BEFORE
        out[v] = NEVER
        if seen >= LEAST:
            out[v] = onset(seconds.count[v], seconds.first[v], expected, LEAST if v < N_VENUES else LEAST_OF_ALL)
        if out[v] != NEVER and me.onset[v] != NEVER and not fresh:
            out[v] = me.onset[v]


@compiled
def is_new(me: Bursts, time: int, v: int) -> bool:
    """Whether a burst of ``v`` now going on was not so when the slot was last told."""
    return me.onset[v] == NEVER or time - me.told > SPAN


@compiled
def remember(me: Bursts, time: int, onsets: NDArray[np.int64]) -> None:
    """Keep what ``judge`` found, once it was told."""
    for v in range(N_VENUES + 1):
        me.onset[v] = onsets[v]
    me.told = time
