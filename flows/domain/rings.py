"""Exact trailing windows over the event rings: insert, evict, align, read. Compiled; see ``flows.domain.state``.

Running totals along each ring make a window sum the difference of two entries, so a late event costs one pass over the
entries newer than itself and a read costs two look-ups, whatever the window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import N_VENUES
from flows.domain.state import (
    ADL,
    ADL_N,
    ADL_USD,
    BLOCK,
    BLOCKS,
    FLOOR,
    FLOOR_USD,
    LENGTHS,
    LONG_N,
    LONG_USD,
    N_SUMS,
    N_WINDOWS,
    POWER,
    RETENTION,
    SHORT,
    SHORT_N,
    SHORT_USD,
    Events,
    Shard,
    Slot,
)
from schemas.compiled import compiled


@compiled(inline="always")
def at(me: Slot, index: int) -> int:
    """Where in the arena entry ``index`` of ``slot`` lies."""
    return me.blocks[(index >> POWER) & (BLOCKS - 1)] + (index & (BLOCK - 1))


@compiled
def add(sums: NDArray[np.int64], usd: int, what: int) -> None:
    """Count one event into ``sums``."""
    if what & ADL:
        sums[ADL_N] += 1
        sums[ADL_USD] += usd
        return
    if what & SHORT:
        sums[SHORT_N] += 1
        sums[SHORT_USD] += usd
    else:
        sums[LONG_N] += 1
        sums[LONG_USD] += usd
    if what & FLOOR:
        sums[FLOOR_USD] += usd


@compiled
def between(event: Events, me: Slot, start: int, end: int, out: NDArray[np.int64]) -> None:
    """Sums of entries ``start`` to ``end`` (exclusive)."""
    low = me.before if start <= me.first else event[at(me, start - 1)].sums
    high = me.before if end <= me.first else event[at(me, end - 1)].sums
    for k in range(N_SUMS):
        out[k] = high[k] - low[k]


@compiled
def locate(event: Events, me: Slot, time: int, hint: int) -> int:
    """The first entry newer than ``time``, searched from ``hint``."""
    first, last = me.first, me.last
    index = min(max(hint, first), last)
    while index < last and event[at(me, index)].time <= time:
        index += 1
    while index > first and event[at(me, index - 1)].time > time:
        index -= 1
    return index


@compiled
def _evict(event: Events, me: Slot, until: int) -> None:
    """Forget entries of ``until`` or older, and take them out of what was last told."""
    first, last = me.first, me.last
    start = first
    while first < last and event[at(me, first)].time <= until:
        first += 1
    if first == start:
        return
    for w in range(N_WINDOWS):
        index = me.span[w]
        stop = min(first, me.span_end)
        while index < stop:
            what = event[at(me, index)].what
            if not what & ADL:
                me.span_venues[w, what & (N_VENUES - 1)] -= 1
            index += 1
        me.span[w] = max(me.span[w], first)
    me.span_end = max(me.span_end, first)
    place = at(me, first - 1)
    for k in range(N_SUMS):
        me.before[k] = event[place].sums[k]
    me.first = first


@compiled
def _free(event: Events, me: Slot, shard: Shard) -> None:
    """Give blocks back whose entries are all forgotten; they are chained by the ``time`` of their first entry."""
    while me.freed < me.first // BLOCK:
        block = me.blocks[me.freed & (BLOCKS - 1)]
        event[block].time = shard.free
        shard.free = block
        me.freed += 1


@compiled
def reserve(event: Events, me: Slot, shard: Shard) -> bool:
    """Make room for one more entry; false where the arena must grow first (nothing is lost then).

    More than ``BLOCK x BLOCKS`` entries within twice the longest window are not kept: the oldest block is forgotten.
    """
    if me.last & (BLOCK - 1):
        return True
    number = me.last // BLOCK
    if me.taken > number:
        return True
    _evict(event, me, min(me.now, shard.clock) - RETENTION - shard.lateness)
    if number - me.first // BLOCK >= BLOCKS - 1:
        _evict(event, me, event[at(me, (me.first // BLOCK + 1) * BLOCK - 1)].time)
    _free(event, me, shard)
    block = shard.free
    if block >= 0:
        shard.free = event[block].time
    elif shard.arena_used + BLOCK <= len(event):
        block = shard.arena_used
        shard.arena_used += BLOCK
    else:
        return False
    me.blocks[number & (BLOCKS - 1)] = block
    me.taken = number + 1
    return True


@compiled
def align(event: Events, me: Slot, time: int, span: int) -> None:
    """Move the signal window of ``slot`` forward to ``time``."""
    me.now = time
    last = me.last
    index = me.tail[0]
    while index < last:
        place = at(me, index)
        if event[place].time > time - span:
            break
        what = event[place].what
        if not what & ADL:
            me.venues[what & (N_VENUES - 1)] -= 1
        index += 1
    me.tail[0] = index
    index = max(me.tail[1], me.first)
    while index < last and event[at(me, index)].time <= time - 2 * span:
        index += 1
    me.tail[1] = index


@compiled
def insert(event: Events, me: Slot, time: int, usd: int, what: int, span: int) -> None:
    """Take in one event at its place; equal times keep arrival order. ``reserve`` was called."""
    if time > me.now:
        align(event, me, time, span)
    index = me.last
    while index > me.first:
        newer = at(me, index - 1)
        if event[newer].time <= time:
            break
        place = at(me, index)
        event[place].time = event[newer].time
        event[place].usd = event[newer].usd
        event[place].what = event[newer].what
        event[place].sums = event[newer].sums
        add(event[place].sums, usd, what)
        index -= 1
    place = at(me, index)
    event[place].time = time
    event[place].usd = usd
    event[place].what = what
    earlier = me.before if index <= me.first else event[at(me, index - 1)].sums
    for k in range(N_SUMS):
        event[place].sums[k] = earlier[k]
    add(event[place].sums, usd, what)
    me.last += 1
    _shift(me, index, time, what, span)


@compiled
def _shift(me: Slot, index: int, time: int, what: int, span: int) -> None:
    """Move every remembered boundary behind the entry just inserted at ``index``, and count it where it belongs."""
    counted = not what & ADL
    venue = what & (N_VENUES - 1)
    for k in range(2):
        edge = me.now - (k + 1) * span
        if index < me.tail[k] or (index == me.tail[k] and time <= edge):
            me.tail[k] += 1
        elif k == 0 and counted:
            me.venues[venue] += 1
    told = me.told
    known = index < me.span_end or (index == me.span_end and time <= told)
    if known:
        me.span_end += 1
    for w in range(N_WINDOWS):
        start = me.span[w]
        if index < start or (index == start and time <= told - LENGTHS[w]):
            me.span[w] += 1
        elif known and counted:
            me.span_venues[w, venue] += 1


@compiled
def read(
    event: Events, me: Slot, time: int, span: int, now: NDArray[np.int64], before: NDArray[np.int64],
    venues: NDArray[np.int32],
) -> None:  # fmt: skip
    """The signal window at ``time`` (not newer than the slot's ``now``) and the one before it."""
    newest, start, earlier = me.last, me.tail[0], me.tail[1]
    for v in range(N_VENUES):
        venues[v] = me.venues[v]
    if time < me.now:
        newest = locate(event, me, time, newest)
        begin = locate(event, me, time - span, start)
        earlier = locate(event, me, time - 2 * span, earlier)
        for index in range(max(newest, start), me.last):
            _count(event, me, index, -1, venues)
        for index in range(begin, min(newest, start)):
            _count(event, me, index, 1, venues)
        start = begin
    between(event, me, start, newest, now)
    between(event, me, earlier, start, before)


@compiled
def _count(event: Events, me: Slot, index: int, by: int, venues: NDArray[np.int32]) -> None:
    what = event[at(me, index)].what
    if not what & ADL:
        venues[what & (N_VENUES - 1)] += by


@compiled
def tell(event: Events, me: Slot, shard: Shard, time: int, out: NDArray[np.int64], venues: NDArray[np.int32]) -> None:
    """All six windows at ``time``, not older than any entry. ``out`` W x (7 + 2): sums, then count and USD before."""
    last = me.last
    sums = shard.sums
    for w in range(N_WINDOWS):
        for index in range(me.span_end, last):
            _count(event, me, index, 1, me.span_venues[w])
        start = max(me.span[w], me.first)
        while start < last and event[at(me, start)].time <= time - LENGTHS[w]:
            _count(event, me, start, -1, me.span_venues[w])
            start += 1
        me.span[w] = start
        between(event, me, start, last, sums)
        for k in range(N_SUMS):
            out[w, k] = sums[k]
        earlier = _first_after(event, me, time - 2 * LENGTHS[w], start)
        between(event, me, earlier, start, sums)
        out[w, N_SUMS] = sums[LONG_N] + sums[SHORT_N]
        out[w, N_SUMS + 1] = sums[LONG_USD] + sums[SHORT_USD]
        for v in range(N_VENUES):
            venues[w, v] = me.span_venues[w, v]
    me.span_end = last
    me.told = time


@compiled
def look(event: Events, me: Slot, time: int, out: NDArray[np.int64]) -> None:
    """Sums (W x 7) of all six windows at ``time``, not older than any entry. Changes nothing."""
    if me.last == me.first:
        return
    for w in range(N_WINDOWS):
        between(event, me, _first_after(event, me, time - LENGTHS[w], me.last), me.last, out[w])


@compiled
def _first_after(event: Events, me: Slot, time: int, high: int) -> int:
    """Like ``locate``, by bisection below ``high``."""
    low = me.first
    while low < high:
        middle = (low + high) // 2
        if event[at(me, middle)].time <= time:
            low = middle + 1
        else:
            high = middle
    return low
