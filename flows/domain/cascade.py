"""The life of a cascade in one slot: it opens, counts in what comes, passes its peak. Compiled.

The *pace* is the USD of the last ten seconds, decayed, each event at most a million. The peak is past when the pace has
been below half of its best for ten seconds. Between two events the pace only falls, so when that will be is known at
each event; nothing needs to be looked at in between.
"""

from __future__ import annotations

import math

from flows.domain.constants import N_VENUES, NEVER
from flows.domain.decays import SCALES
from flows.domain.rings import IN, add, at, locate
from flows.domain.state import ADL, N_ENTRANTS, SHORT, Events, Shard, Slot, State
from schemas.compiled import compiled

RECENT = 10 * 1_000_000_000
"""A cascade counts in what happened this long before it was recognised."""
FADED = 10 * 1_000_000_000
"""The pace has been below half of its best for this long (ns) when the peak is past."""
_FAST = 2
"""Of ``SCALES``: the pace."""


@compiled
def join(me: Slot, time: int, usd: int, what: int, asset: int) -> bool:
    """Count an event into the open cascade; true where its venue is new to it."""
    add(me.cascade, usd, what, IN)
    me.changed = True
    me.started = min(me.started, time)
    venue = what & (N_VENUES - 1)
    if not what & ADL:
        me.shares[1 if what & SHORT else 0, venue] += usd
    _enter(me, time, asset)
    entered = me.entry[venue]
    if entered == NEVER or time < entered:
        me.entry[venue] = time
    return entered == NEVER


@compiled
def _enter(me: Slot, time: int, asset: int) -> None:
    """Note when an asset entered, where it is among the earliest."""
    latest = 0
    for k in range(N_ENTRANTS):
        if me.entrant_at[k] == NEVER or me.entrant[k] == asset:
            if me.entrant_at[k] == NEVER or time < me.entrant_at[k]:
                me.entrant[k] = asset
                me.entrant_at[k] = time
            return
        if me.entrant_at[k] > me.entrant_at[latest]:
            latest = k
    if time < me.entrant_at[latest]:
        me.entrant[latest] = asset
        me.entrant_at[latest] = time


@compiled
def begin(event: Events, me: Slot, shard: Shard, time: int, key: int) -> None:
    """A cascade begins with the oldest event of the last ten seconds."""
    me.open = True
    me.opened = time
    me.started = time
    me.peak_level = me.level
    me.key = key
    me.peak = me.score
    me.likeliest[:] = 0.0
    me.cascade[:] = 0
    me.shares[:] = 0
    me.entry[:] = NEVER
    me.entrant_at[:] = NEVER
    index = locate(event, me, time - RECENT, me.tail[0])
    while index < me.last:
        place = at(me, index)
        join(me, event[place].time, event[place].usd, event[place].what, event[place].asset)
        index += 1
    me.pace = 0.0
    me.pace_at = time
    me.peak_told = False
    me.peak_due = time + FADED
    shard.peaks_due = min(shard.peaks_due, me.peak_due)
    follow(me, shard)


@compiled
def follow(me: Slot, shard: Shard) -> None:
    """The pace after an event: its best, and when the peak is past should nothing more come."""
    sums = me.decays
    pace = sums.usd[0, _FAST] + sums.usd[1, _FAST]
    if pace > me.pace:
        me.pace = pace
        me.pace_at = sums.at
    if 2.0 * pace > me.pace:
        me.peak_due = sums.at + int(SCALES[_FAST] * 1e9 * math.log(2.0 * pace / me.pace)) + FADED
        shard.peaks_due = min(shard.peaks_due, me.peak_due)


@compiled
def next_peak(s: State) -> int:
    """The slot whose peak is past first; sets ``peaks_due``. -1 where none is to be told."""
    found = -1
    soonest = -NEVER
    for slot in range(len(s.slot)):
        if s.slot[slot].open and not s.slot[slot].peak_told and s.slot[slot].peak_due < soonest:
            soonest = s.slot[slot].peak_due
            found = slot
    s.shard[0].peaks_due = soonest
    return found
