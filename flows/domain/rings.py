"""Exact trailing windows over the event rings: insert, evict, align, read. Compiled; see ``flows.domain.state``.

The sums of the signal window and of the one before it run along as entries come in and leave. Any other stretch is
summed by whole blocks, which carry their sums, and the entries at its two ends.

A block is a ring of its own, cut at any place: for a late event only the entries behind it in its block move; each
newer block is handed one entry at its front and hands on one from its end by moving its cut (a tiered vector, after
Goodrich and Kloss 1999).
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
    FLOOR_N,
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
    STRIDE,
    Events,
    Shard,
    Slot,
)
from schemas.compiled import compiled

_STEPS = 8
"""Tried next to the hint before bisecting."""
IN, OUT = np.int64(1), np.int64(-1)
"""How often an entry is counted. numba compiles a function anew for each integer of Python's it is called with."""


@compiled(inline="always")
def at(me: Slot, index: int) -> int:
    """Where in the arena entry ``index`` of ``slot`` lies."""
    block = me.blocks[(index >> POWER) & (BLOCKS - 1)]
    return (block >> POWER) + ((index + block) & (BLOCK - 1))


@compiled
def add(sums: NDArray[np.int64], usd: int, what: int, by: int) -> None:
    """Count one event into ``sums`` (``by`` = ``IN``), or ``OUT`` of them."""
    usd *= by
    if what & ADL:
        sums[ADL_N] += by
        sums[ADL_USD] += usd
        return
    short = np.int64((what & SHORT) != 0)
    sums[LONG_N + short] += by
    sums[LONG_USD + short] += usd
    if what & FLOOR:
        sums[FLOOR_USD] += usd
        sums[FLOOR_N] += by


@compiled(inline="always")
def _block(me: Slot, index: int) -> int:
    """Where in the arena the block of entry ``index`` begins."""
    return me.blocks[(index >> POWER) & (BLOCKS - 1)] >> POWER


@compiled(inline="always")
def _carried(event: Events, block: int, k: int) -> int:
    """Number ``k`` behind the entries of a block: its sums, then the events of its venues, four to a number."""
    place = event[block + BLOCK + (k >> 1)]
    return place.usd if k & 1 else place.time


@compiled(inline="always")
def _carry(event: Events, block: int, k: int, amount: int) -> None:
    place = event[block + BLOCK + (k >> 1)]
    if k & 1:
        place.usd += amount
    else:
        place.time += amount


@compiled
def _weigh(event: Events, block: int, usd: int, what: int, by: int) -> None:
    """Count one entry into what its block carries, or out of it."""
    if what & ADL:
        _carry(event, block, ADL_N, by)
        _carry(event, block, ADL_USD, by * usd)
        return
    short = np.int64((what & SHORT) != 0)
    venue = what & (N_VENUES - 1)
    _carry(event, block, LONG_N + short, by)
    _carry(event, block, LONG_USD + short, by * usd)
    _carry(event, block, N_SUMS + (venue >> 2), np.int64(by) << ((venue & 3) << 4))
    if what & FLOOR:
        _carry(event, block, FLOOR_USD, by * usd)
        _carry(event, block, FLOOR_N, by)


@compiled
def _scan(
    event: Events, me: Slot, start: int, end: int, by: int, sums: NDArray[np.int64], venues: NDArray[np.int32]
) -> None:  # fmt: skip
    """Count entries ``start`` to ``end`` (exclusive) ``by`` times, one by one."""
    for index in range(start, end):
        place = event[at(me, index)]
        what = place.what
        add(sums, place.usd, what, by)
        if not what & ADL:
            venues[what & (N_VENUES - 1)] += by


@compiled
def _whole(event: Events, block: int, sums: NDArray[np.int64], venues: NDArray[np.int32], by: int) -> None:
    """Count a block ``by`` times by what it carries."""
    for k in range(N_SUMS):
        sums[k] += by * _carried(event, block, k)
    for v in range(N_VENUES):
        venues[v] += by * ((_carried(event, block, N_SUMS + (v >> 2)) >> ((v & 3) << 4)) & 0xFFFF)


@compiled
def _below(
    event: Events, me: Slot, index: int, by: int, sums: NDArray[np.int64], venues: NDArray[np.int32]
) -> None:  # fmt: skip
    """Count what stands before ``index`` in its block ``by`` times, the shorter way round."""
    begin = index & ~(BLOCK - 1)
    if index == begin:
        return
    end = min(begin + BLOCK, me.last)
    if index - begin <= end - index:
        _scan(event, me, begin, index, by, sums, venues)
    else:
        _whole(event, _block(me, begin), sums, venues, by)
        _scan(event, me, index, end, -by, sums, venues)


@compiled
def between(
    event: Events, me: Slot, start: int, end: int, sums: NDArray[np.int64], venues: NDArray[np.int32]
) -> None:  # fmt: skip
    """Sums of entries ``start`` to ``end`` (exclusive), and the events of each venue among them, ADL left out."""
    sums[:] = 0
    venues[:] = 0
    if end - start < BLOCK >> 2:
        _scan(event, me, start, end, IN, sums, venues)
        return
    _below(event, me, start, OUT, sums, venues)
    for number in range(start >> POWER, end >> POWER):
        _whole(event, _block(me, number << POWER), sums, venues, IN)
    _below(event, me, end, IN, sums, venues)


@compiled
def locate(event: Events, me: Slot, time: int, hint: int) -> int:
    """The first entry newer than ``time``, searched from ``hint``: a few steps, then by bisection."""
    low, high = me.first, me.last
    index = min(max(hint, low), high)
    for _ in range(_STEPS):
        if index < high and event[at(me, index)].time <= time:
            index += 1
            low = index
        elif index > low and event[at(me, index - 1)].time > time:
            index -= 1
            high = index
        else:
            return index
    return _bisected(event, me, time, low, high)


@compiled
def first_after(event: Events, me: Slot, time: int, high: int) -> int:
    """The first entry newer than ``time``, by bisection below ``high``."""
    return _bisected(event, me, time, me.first, high)


@compiled
def _bisected(event: Events, me: Slot, time: int, low: int, high: int) -> int:
    while low < high:
        middle = (low + high) >> 1
        if event[at(me, middle)].time <= time:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _evict(event: Events, me: Slot, until: int) -> None:
    """Forget entries of ``until`` or older, and take them out of the signal window."""
    first, last = me.first, me.last
    while first < last and event[at(me, first)].time <= until:
        first += 1
    for index in range(me.tail[1], min(me.tail[0], first)):
        add(me.window[1], event[at(me, index)].usd, event[at(me, index)].what, OUT)
    _scan(event, me, me.tail[0], first, OUT, me.window[0], me.venues)
    me.tail[0] = max(me.tail[0], first)
    me.tail[1] = max(me.tail[1], first)
    me.first = first


@compiled
def _free(event: Events, me: Slot, shard: Shard) -> None:
    """Give blocks back whose entries are all forgotten; they are chained by the ``time`` of their first entry."""
    while me.freed < me.first // BLOCK:
        block = _block(me, me.freed << POWER)
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
    elif shard.arena_used + STRIDE <= len(event):
        block = shard.arena_used
        shard.arena_used += STRIDE
    else:
        return False
    for place in range(block + BLOCK, block + STRIDE):
        event[place].time = 0
        event[place].usd = 0
    me.blocks[number & (BLOCKS - 1)] = block << POWER
    me.taken = number + 1
    return True


@compiled
def align(event: Events, me: Slot, time: int, span: int) -> None:
    """Move the signal window of ``slot`` forward to ``time``."""
    me.now = time
    last = me.last
    index = me.tail[0]
    while index < last:
        place = event[at(me, index)]
        if place.time > time - span:
            break
        what = place.what
        add(me.window[0], place.usd, what, OUT)
        add(me.window[1], place.usd, what, IN)
        if not what & ADL:
            me.venues[what & (N_VENUES - 1)] -= 1
        index += 1
    me.tail[0] = index
    index = me.tail[1]
    while index < last:
        place = event[at(me, index)]
        if place.time > time - 2 * span:
            break
        add(me.window[1], place.usd, place.what, OUT)
        index += 1
    me.tail[1] = index


@compiled
def insert(event: Events, me: Slot, time: int, usd: int, what: int, asset: int, span: int) -> None:
    """Take in one event at its place; equal times keep arrival order. ``reserve`` was called."""
    if time > me.now:
        align(event, me, time, span)
    index = me.last
    if index > me.first and event[at(me, index - 1)].time > time:
        index = locate(event, me, time, index - 1)
        _make_way(event, me, index)
    place = event[at(me, index)]
    place.time = time
    place.usd = usd
    place.what = what
    place.asset = asset
    _weigh(event, _block(me, index), usd, what, IN)
    me.last += 1
    _shift(me, index, time, usd, what, span)


@compiled
def _make_way(event: Events, me: Slot, index: int) -> None:
    """Move what stands from ``index`` on by one."""
    last = me.last
    number = index >> POWER
    end = (number + 1) << POWER
    if last >= end:
        spare = event[at(me, end - 1)]
        time, usd, what, asset = spare.time, spare.usd, spare.what, spare.asset
        _weigh(event, _block(me, index), usd, what, OUT)
    for k in range(min(last, end - 1), index, -1):
        place, moved = event[at(me, k)], event[at(me, k - 1)]
        place.time = moved.time
        place.usd = moved.usd
        place.what = moved.what
        place.asset = moved.asset
    while last >= end:
        number += 1
        end += BLOCK
        at_number = number & (BLOCKS - 1)
        block = me.blocks[at_number] >> POWER
        cut = (me.blocks[at_number] - 1) & (BLOCK - 1)
        me.blocks[at_number] = (block << POWER) + cut
        _weigh(event, block, usd, what, IN)
        place = event[block + cut]
        if last >= end:
            _weigh(event, block, place.usd, place.what, OUT)
        # What stood before the cut was the end of the block: the entry handed on.
        time, place.time = place.time, time
        usd, place.usd = place.usd, usd
        what, place.what = place.what, what
        asset, place.asset = place.asset, asset


@compiled
def _shift(me: Slot, index: int, time: int, usd: int, what: int, span: int) -> None:
    """Move every remembered boundary behind the entry just inserted at ``index``, and count it where it belongs."""
    counted = not what & ADL
    venue = what & (N_VENUES - 1)
    if index > me.tail[0] or (index == me.tail[0] and time > me.now - span):
        add(me.window[0], usd, what, IN)
        if counted:
            me.venues[venue] += 1
    else:
        me.tail[0] += 1
        if index > me.tail[1] or (index == me.tail[1] and time > me.now - 2 * span):
            add(me.window[1], usd, what, IN)
        else:
            me.tail[1] += 1


@compiled
def read(
    event: Events, me: Slot, time: int, span: int, now: NDArray[np.int64], before: NDArray[np.int64],
    venues: NDArray[np.int32],
) -> None:  # fmt: skip
    """The signal window at ``time`` (not newer than the slot's ``now``) and the one before it."""
    if time < me.now:
        newest = locate(event, me, time, me.last)
        start = locate(event, me, time - span, me.tail[0])
        between(event, me, locate(event, me, time - 2 * span, me.tail[1]), start, before, venues)
        between(event, me, start, newest, now, venues)
        return
    for k in range(N_SUMS):
        now[k] = me.window[0, k]
        before[k] = me.window[1, k]
    for v in range(N_VENUES):
        venues[v] = me.venues[v]


@compiled
def tell(event: Events, me: Slot, time: int, out: NDArray[np.int64], venues: NDArray[np.int32]) -> None:
    """All six windows at ``time``, not older than any entry. ``out`` W x (8 + 2): sums, then count and USD before."""
    for w in range(N_WINDOWS):
        sums = out[w, :N_SUMS]
        start = first_after(event, me, time - LENGTHS[w], me.last)
        between(event, me, first_after(event, me, time - 2 * LENGTHS[w], start), start, sums, venues[w])
        out[w, N_SUMS] = sums[LONG_N] + sums[SHORT_N]
        out[w, N_SUMS + 1] = sums[LONG_USD] + sums[SHORT_USD]
        between(event, me, start, me.last, sums, venues[w])


@compiled
def look(event: Events, me: Slot, time: int, out: NDArray[np.int64], venues: NDArray[np.int32]) -> None:
    """Sums (W x 8) of all six windows at ``time``, not older than any entry; ``venues`` is scratch."""
    for w in range(N_WINDOWS):
        between(event, me, first_after(event, me, time - LENGTHS[w], me.last), me.last, out[w], venues)
