"""The measures of one slot at one moment, as one row of plain numbers. Compiled.

``flows.domain.measures`` spells rows out as records.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain import bursts, clusters, contagion, decays, leads, minute, rolling
from flows.domain.bursts import ALL
from flows.domain.constants import N_VENUES, NEVER
from flows.domain.contagion import ENTRY, N_BREADTH, Slots
from flows.domain.decays import N_SCALES
from flows.domain.leads import PAIR
from flows.domain.minute import LAST_MINUTE, Seconds
from flows.domain.rings import between, first_after
from flows.domain.rolling import N_LENGTHS, N_SPREADS, N_TOTALS
from flows.domain.state import Events, Slot
from schemas.clock import MINUTE
from schemas.compiled import compiled

_FIVE_MINUTES = 5 * MINUTE
_STALE = 5 * MINUTE
"""Open interest not heard of for this long (ns) has no velocity."""

MEASURE = np.dtype(
    [
        ("slot", np.int64),
        ("time", np.int64),
        ("since", np.int64),  # the minute watching began
        ("last", LAST_MINUTE),
        ("onset", np.int64, (N_VENUES + 1,)),  # see ``bursts``
        ("leads", PAIR, (leads.TOP,)),
        ("ignitions", PAIR, (contagion.TOP,)),
        ("wave", ENTRY, (contagion.WAVE,)),  # the market's
        ("breadth", np.int64, (N_BREADTH,)),  # the market's
        ("count", np.float64, (2, N_SCALES)),  # see ``decays``
        ("usd", np.float64, (2, N_SCALES)),
        ("floor_count", np.float64, (2, 2, N_SCALES)),  # of sampled, of partial feeds
        ("floor_usd", np.float64, (2, 2, N_SCALES)),
        ("heat", np.float64),
        ("branching", np.float64, (3,)),
        ("price", np.float64),  # of the newest liquidation
        ("clusters", np.float64, (clusters.TOP, 3)),
        ("clusters_usd", np.float64),  # of all levels
        ("rolling", np.int64, (N_LENGTHS, 2, N_TOTALS)),
        ("spread", np.float64, (N_LENGTHS, N_SPREADS)),
        ("open_interest", np.float64),  # USD/s
        ("funding", np.float64, (2,)),
    ],
    align=True,
)
Measure = Any
"""One record of ``MEASURE``."""


@compiled
def tell_measures(
    event: Events, slots: Slots, slot: int, time: int, five: NDArray[np.int32], seconds: Seconds, row: Measure
) -> None:
    """Measure ``slot`` at ``time`` and remember the bursts found.

    :arg five: events by venue of the last five minutes.
    """
    me = slots[slot]
    known = me.measured
    _read(event, me, time, five, seconds, row)
    leads.note(known.leads, known.bursts, time, row.onset)
    found = row.onset[ALL] != NEVER and bursts.is_new(known.bursts, time, ALL)
    bursts.remember(known.bursts, time, row.onset)
    if found and slot > 0:
        contagion.note(slots, slot, row.onset[ALL], time)
    since = rolling.watched_since(slots[0].measured.rolling, time)
    rolling.tell(known.rolling, time, since, row.rolling, row.spread)
    _fill(slots, slot, time, since, row)


@compiled
def look_measures(event: Events, slots: Slots, slot: int, time: int, seconds: Seconds, row: Measure) -> None:
    """Measure ``slot`` at ``time``, not older than any of its events. Changes nothing."""
    me = slots[slot]
    between(event, me, first_after(event, me, time - _FIVE_MINUTES, me.last), me.last, seconds.sums, seconds.five)
    _read(event, me, time, seconds.five, seconds, row)
    since = rolling.watched_since(slots[0].measured.rolling, time)
    rolling.read(me.measured.rolling, time, since, row.rolling, row.spread)
    _fill(slots, slot, time, since, row)


@compiled
def _read(event: Events, me: Slot, time: int, five: NDArray[np.int32], seconds: Seconds, row: Measure) -> None:
    """The last minute and the bursts in it."""
    minute.read(event, me, time, row.last, seconds)
    bursts.judge(me.measured.bursts, time, seconds, row.last.venue_count, five, row.onset)


@compiled
def _fill(slots: Slots, slot: int, time: int, since: int, row: Measure) -> None:
    """Everything the slot remembers, at ``time``."""
    me = slots[slot]
    known = me.measured
    row.slot, row.time, row.since = slot, time, since
    leads.strongest(known.leads, time, row.leads)
    contagion.strongest(known.contagion, time, row.ignitions)
    decays.sums(me.decays, time, row.count, row.usd)
    for k in range(2):
        decays.sums(known.floor[k], time, row.floor_count[k], row.floor_usd[k])
    row.heat = decays.heat(me.decays, time)
    decays.branching(me.decays, row.branching)
    row.price = known.clusters.price
    row.clusters_usd = clusters.largest(known.clusters, time, row.clusters)
    row.funding[0], row.funding[1] = known.funding[0], known.funding[1]
    row.open_interest = _open_interest(me, time)
    row.wave[0].slot = 0
    if slot == 0:
        contagion.wave(slots, time, row.wave)
        contagion.breadth(slots, time, row.breadth)
        row.open_interest = np.nan
        for other in range(1, len(slots)):
            change = _open_interest(slots[other], time)
            if not np.isnan(change):
                row.open_interest = change if np.isnan(row.open_interest) else row.open_interest + change


@compiled
def _open_interest(me: Slot, time: int) -> float:
    """Its change in USD/s at the price of the newest liquidation; NaN where not known, or not known lately."""
    if me.measured.open_interest_at < time - _STALE:
        return np.nan
    return me.measured.open_interest * me.measured.clusters.price
