"""Whether an instrument's sizes are told in another unit than before: contracts taken for coins, or a new multiplier.

A venue that counts contracts, read as if it counted coins, is wrong by a constant factor from one message on (10, 40,
100, 1000). Sizes are heavy-tailed, so that no single message shows it; a run of them does: their median leaves that of
the messages before by more than any market did.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from flows.study.events import Events

RECENT, BEFORE = 25, 100
"""Messages whose median is compared, and those before that it is compared with."""
FACTOR = 8.0
"""A median that many times larger or smaller is a fault of units."""


class UnitFault(Struct, frozen=True):
    """Where an instrument's unit seems to have changed."""

    instrument: int
    time: int
    """Of the message that made it certain, ns."""
    factor: float
    """Median of the recent messages over that before."""


def unit_faults(events: Events) -> list[UnitFault]:
    """The first fault of each instrument that has one, by time."""
    found = []
    for instrument in np.unique(events.instrument).tolist():
        rows = np.flatnonzero((events.instrument == instrument) & (events.usd > 0))
        if len(rows) < RECENT + BEFORE:
            continue
        size = np.log(events.usd[rows])
        spans = np.lib.stride_tricks.sliding_window_view(size, RECENT + BEFORE)
        jump = np.median(spans[:, BEFORE:], axis=1) - np.median(spans[:, :BEFORE], axis=1)
        at = np.flatnonzero(np.abs(jump) >= np.log(FACTOR))
        if len(at):
            time = int(events.visible[rows[at[0] + RECENT + BEFORE - 1]])
            found.append(UnitFault(instrument, time, float(np.exp(jump[at[0]]))))
    return sorted(found, key=lambda fault: fault.time)
