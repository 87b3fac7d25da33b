"""What surrounds the events: open interest and funding of an asset over its venues. Compiled.

Open interest changes are sums over the venues for which both the present and the earlier figure are known, in base
units, so neither a price move nor a venue joining looks like a change. Funding is the plain mean over venues of the
rate per 8 h.
"""

from __future__ import annotations

import math
from typing import Any

from flows.domain.constants import N_VENUES
from flows.domain.state import (
    HOURS,
    OI_1M,
    OI_SAMPLES,
    OI_SPACING,
    RATE,
    RATE_MAX,
    TREND,
    Slot,
    State,
)
from schemas.compiled import compiled

_MINUTE = 60 * 1_000_000_000
_HOUR = 60 * _MINUTE
_SPANS = (_MINUTE, 5 * _MINUTE, _HOUR)
Ring = Any
"""One record of ``RING``."""


@compiled
def has_ring(s: State, slot: int, venue: int) -> bool:
    """Make sure the open interest of this venue has a ring; false where the rings must grow first."""
    me = s.slot[slot]
    if me.oi_ring[venue] >= 0:
        return True
    if s.shard[0].rings_used == len(s.ring):
        return False
    me.oi_ring[venue] = s.shard[0].rings_used
    s.ring[me.oi_ring[venue]].count = 0
    s.shard[0].rings_used += 1
    return True


@compiled
def open_interest(s: State, slot: int, venue: int, time: int, quantity: float) -> None:
    """Take in one figure; older than the newest one is ignored."""
    me = s.slot[slot]
    ring = me.oi_ring[venue]
    count = s.ring[ring].count
    newest = (count - 1) % OI_SAMPLES
    if count and time < s.ring[ring].time[newest]:
        return
    if count > 1 and time - s.ring[ring].time[(count - 2) % OI_SAMPLES] < OI_SPACING:
        s.ring[ring].time[newest] = time
        s.ring[ring].quantity[newest] = quantity
    else:
        s.ring[ring].time[count % OI_SAMPLES] = time
        s.ring[ring].quantity[count % OI_SAMPLES] = quantity
        s.ring[ring].count = count + 1
    for k in range(3):
        me.context[OI_1M + k] = _change(s, slot, _SPANS[k])
    me.measured.open_interest_at = max(me.measured.open_interest_at, time)
    me.measured.open_interest = _velocity(s, slot, me.measured.open_interest_at)


@compiled
def _change(s: State, slot: int, span: int) -> float:
    """Relative change over ``span``; NaN where no venue has a figure between one and two spans old."""
    me = s.slot[slot]
    now = 0.0
    then = 0.0
    for venue in range(N_VENUES):
        ring = me.oi_ring[venue]
        if ring < 0:
            continue
        place = _earlier(s.ring[ring], span)
        if place >= 0:
            now += s.ring[ring].quantity[(s.ring[ring].count - 1) % OI_SAMPLES]
            then += s.ring[ring].quantity[place]
    return now / then - 1.0 if then > 0 else math.nan


@compiled
def _velocity(s: State, slot: int, time: int) -> float:
    """Change per second over about a minute, base units; NaN where no venue has a figure one to two minutes older.

    Each venue at its own distance between figures; one not heard of for five minutes is left out.
    """
    me = s.slot[slot]
    known = False
    change = 0.0
    for venue in range(N_VENUES):
        ring = me.oi_ring[venue]
        if ring < 0:
            continue
        newest = (s.ring[ring].count - 1) % OI_SAMPLES
        place = _earlier(s.ring[ring], _MINUTE)
        if place >= 0 and s.ring[ring].time[newest] >= time - _SPANS[1]:
            gap = (s.ring[ring].time[newest] - s.ring[ring].time[place]) * 1e-9
            change += (s.ring[ring].quantity[newest] - s.ring[ring].quantity[place]) / gap
            known = True
    return change if known else math.nan


@compiled
def _earlier(ring: Ring, span: int) -> int:
    """Where the newest figure at least ``span`` older than the latest lies; -1 where it is older than two spans."""
    count = ring.count
    latest = ring.time[(count - 1) % OI_SAMPLES]
    oldest = max(0, count - OI_SAMPLES)
    low, high = oldest, count
    while low < high:
        middle = (low + high) // 2
        if ring.time[middle % OI_SAMPLES] <= latest - span:
            low = middle + 1
        else:
            high = middle
    place = (low - 1) % OI_SAMPLES
    return place if low > oldest and ring.time[place] >= latest - 2 * span else -1


@compiled
def funding(s: State, slot: int, venue: int, time: int, rate: float) -> None:
    """Take in one rate per 8 h; older than the newest of that venue is ignored."""
    me = s.slot[slot]
    if time < me.funding_at[venue]:
        return
    me.funding_at[venue] = time
    me.funding[venue] = rate
    total = 0.0
    known = 0
    for v in range(N_VENUES):
        if not math.isnan(me.funding[v]):
            total += me.funding[v]
            known += 1
    mean = total / known
    hour = time // _HOUR
    place = hour % HOURS
    if me.funding_hour[place] != hour:
        me.funding_hour[place] = hour
        me.funding_most[place] = 0.0
    me.funding_last[place] = mean
    me.funding_most[place] = max(me.funding_most[place], abs(mean))
    me.context[RATE] = mean
    earlier = (hour - 1) % HOURS
    if me.funding_hour[earlier] == hour - 1:
        me.context[TREND] = mean - me.funding_last[earlier]
    else:
        me.context[TREND] = math.nan
    me.measured.funding[0] = me.context[TREND]
    before = (hour - 2) % HOURS
    if me.funding_hour[earlier] == hour - 1 and me.funding_hour[before] == hour - 2:
        me.measured.funding[1] = me.context[TREND] - (me.funding_last[earlier] - me.funding_last[before])
    else:
        me.measured.funding[1] = math.nan
    largest = 0.0
    for k in range(HOURS):
        if me.funding_hour[k] > hour - HOURS:
            largest = max(largest, me.funding_most[k])
    me.context[RATE_MAX] = largest


@compiled
def fall(me: Slot) -> float:
    """The larger fall of open interest within 1 and 5 minutes, as a positive fraction; NaN where unknown."""
    short = me.context[OI_1M]
    longer = me.context[OI_1M + 1]
    if math.isnan(short):
        return max(0.0, -longer) if not math.isnan(longer) else math.nan
    if math.isnan(longer):
        return max(0.0, -short)
    return max(0.0, -short, -longer)
