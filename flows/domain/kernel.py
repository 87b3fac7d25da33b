"""One pass over arrivals: windows, score, levels, cascades. Compiled; driven by ``flows.domain.detector``.

Everything that happens is appended to ``Told`` in the order it happened. When a buffer or an array is full the pass
stops *before* the row that does not fit and says why; the caller makes room and goes on from there. Nothing depends on
where a batch ends.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.domain import decays, measured
from flows.domain.constants import MICRO, N_VENUES, NEVER
from flows.domain.context import fall, funding, has_ring, open_interest
from flows.domain.rings import add, align, at, insert, locate, read, reserve
from flows.domain.score import components, composite, effective_venues, level
from flows.domain.state import (
    ADL,
    FLOOR,
    LONG_N,
    LONG_USD,
    PARTIAL,
    RATE,
    SHORT,
    SHORT_N,
    SHORT_USD,
    Events,
    Shard,
    Slot,
    State,
)
from flows.domain.telling import CLOSES, MARGIN, OPENS, UPDATES, Told, has_room, tell_cascade, tell_signal, tell_windows
from schemas.compiled import compiled
from schemas.records import CAUSES, COVERAGES, POSITIONS, TIME_SOURCES

TICK, OPEN_INTEREST, FUNDING = range(3)
"""Kinds of arrival that are no liquidation."""
DONE, FULL, MORE_ARENA, MORE_RINGS = range(4)
"""Why the pass stopped."""
TICK_GRID = 100_000_000
"""Receive time moves the clock in steps of this many nanoseconds."""
SHORT_CODE, ADL_CODE, UNPROVEN_CODE = POSITIONS.index("short"), CAUSES.index("adl"), CAUSES.index("unknown")
COMPLETE_CODE, PARTIAL_CODE = COVERAGES.index("complete"), COVERAGES.index("partial")
TIMELESS_CODE = TIME_SOURCES.index("none")
Parameters = NDArray[np.float64]
"""See ``flows.domain.score``."""
_RECENT = 10 * 1_000_000_000
"""A cascade counts in what happened this long before it was recognised."""
_ROSE, _OPENED, _JOINED = 1, 2, 4
"""Bits: the level rose, a cascade opened, a venue new to the open cascade came in."""


class Closes(NamedTuple):
    """The columns of the liquidations that matter here, as in ``schemas.batches.LiquidationColumns``."""

    key: NDArray[np.uint64]
    venue: NDArray[np.int8]
    asset: NDArray[np.int32]
    position: NDArray[np.int8]
    cause: NDArray[np.int8]
    usd: NDArray[np.float64]
    price: NDArray[np.float64]
    event_time: NDArray[np.int64]
    receive_time: NDArray[np.int64]
    coverage: NDArray[np.int8]
    backfill: NDArray[np.bool_]
    time_source: NDArray[np.int8]


class Others(NamedTuple):
    """What else arrived, each with the number of liquidations before it."""

    before: NDArray[np.int64]
    kind: NDArray[np.int8]
    slot: NDArray[np.int32]
    venue: NDArray[np.int8]
    time: NDArray[np.int64]
    value: NDArray[np.float64]  # open interest in base units, funding per 8 h


@compiled
def _join(me: Slot, time: int, usd: int, what: int) -> bool:
    """Count an event into the open cascade; true where its venue is new to it."""
    add(me.cascade, usd, what, 1)
    me.changed = True
    me.started = min(me.started, time)
    venue = what & (N_VENUES - 1)
    entered = me.entry[venue]
    if entered == NEVER or time < entered:
        me.entry[venue] = time
    return entered == NEVER


@compiled
def _open_cascade(event: Events, me: Slot, time: int, key: int) -> None:
    """A cascade begins with the oldest event of the last ten seconds."""
    me.open = True
    me.opened = time
    me.started = time
    me.peak_level = me.level
    me.key = key
    me.peak = me.score
    me.cascade[:] = 0
    me.entry[:] = NEVER
    index = locate(event, me, time - _RECENT, me.tail[0])
    while index < me.last:
        place = at(me, index)
        _join(me, event[place].time, event[place].usd, event[place].what)
        index += 1


@compiled
def _judge(
    event: Events, me: Slot, shard: Shard, time: int, key: int,
    p: Parameters,
) -> int:  # fmt: skip
    """Read the windows at ``time``, score them, move the level; which of the bits below it came to."""
    sums, earlier, venues, parts = shard.sums, shard.earlier, shard.counts, shard.parts
    read(event, me, time, shard.span, sums, earlier, venues)
    count = sums[LONG_N] + sums[SHORT_N]
    shard.before = earlier[LONG_N] + earlier[SHORT_N]
    usd = (sums[LONG_USD] + sums[SHORT_USD]) / MICRO
    seconds = p[0]
    acceleration = (count - shard.before) / (seconds * seconds)
    components(count, shard.before, usd, effective_venues(venues), me.context[RATE], fall(me), p, parts)
    score = composite(parts, acceleration, p)
    me.score = score
    shard.acceleration = acceleration
    reached = level(score, count / seconds, acceleration, p)
    for step in range(1, reached + 1):
        me.reached[step] = max(me.reached[step], time)
    happened = 0
    if reached > me.level and time + shard.hold > shard.clock:
        happened = _ROSE
        me.level = reached
        shard.falls_due = min(shard.falls_due, me.reached[reached] + shard.hold)
        if reached >= shard.open_level and not me.open:
            happened |= _OPENED
            _open_cascade(event, me, time, key)
        elif me.open:
            me.peak_level = max(me.peak_level, reached)
    if me.open:
        me.peak = max(me.peak, score)
    return happened


@compiled
def _take(
    event: Events, me: Slot, shard: Shard, time: int, usd: int, what: int, price: float, key: int, p: Parameters
) -> int:  # fmt: skip
    """Take one event into a slot; which of the bits below it came to."""
    insert(event, me, time, usd, what, shard.span)
    if not what & ADL:
        side, venue = (1 if what & SHORT else 0), what & (N_VENUES - 1)
        decays.take(me.decays, time, usd, side, venue)
        if shard.measures:
            cover = (2 if what & PARTIAL else 1) if what & FLOOR else 0
            measured.take(me.measured, time, usd, side, venue, cover, price)
    happened = 0
    if me.open and _join(me, time, usd, what):
        happened = _JOINED
    return happened | _judge(event, me, shard, time, key, p)


@compiled
def _tell(s: State, out: Told, slot: int, time: int, previous: int, row: int, happened: int) -> None:
    """Say what an event brought about in a slot."""
    me = s.slot[slot]
    if happened & _ROSE:
        tell_signal(s, out, slot, time, previous, row)
    if happened & _OPENED:
        tell_cascade(s, out, slot, time, OPENS)
    elif me.open:
        tell_cascade(s, out, slot, time, UPDATES)


@compiled
def _fall(s: State, out: Told, slot: int, due: int) -> None:
    """The level of ``slot`` was not reached for ``hold``: it falls to the highest that still holds."""
    me = s.slot[slot]
    shard = s.shard[0]
    previous = me.level
    reached = 0
    for step in range(1, previous):
        if me.reached[step] + shard.hold > due:
            reached = step
    me.level = reached
    align(s.event, me, max(due, me.now), shard.span)
    read(s.event, me, me.now, shard.span, shard.sums, shard.earlier, shard.counts)
    shard.acceleration = 0.0
    shard.parts[:] = np.nan
    tell_signal(s, out, slot, due, previous, -1)
    if me.open:
        if reached == 0:
            me.open = False
            tell_cascade(s, out, slot, due, CLOSES)
        else:
            tell_cascade(s, out, slot, due, UPDATES)


@compiled
def _next_fall(s: State) -> int:
    """The slot whose level falls first; sets ``due``. -1 where all are at rest."""
    found = -1
    soonest = -NEVER
    for slot in range(len(s.slot)):
        if s.slot[slot].level:
            due = s.slot[slot].reached[s.slot[slot].level] + s.shard[0].hold
            if due < soonest:
                soonest, found = due, slot
    s.shard[0].falls_due = soonest
    return found


@compiled
def _advance(s: State, out: Told, time: int) -> bool:
    """Let everything due until ``time`` happen, in order of its due time; false where the buffers are full."""
    if time <= s.shard[0].clock:
        return True
    while True:
        told_due = s.shard[0].grid_due if s.shard[0].dirty else -NEVER
        falls_due = s.shard[0].falls_due
        if min(told_due, falls_due) > time:
            break
        if not has_room(out):
            return False
        if falls_due <= told_due:
            slot = _next_fall(s)
            if slot >= 0 and s.shard[0].falls_due <= min(time, told_due):
                _fall(s, out, slot, s.shard[0].falls_due)
                _next_fall(s)
            continue
        if s.shard[0].told == 0:
            # By number, whatever arrived first; the market last: it is measured by what its assets came to.
            put_in_order(s.dirty, s.shard[0].dirty)
        slot = s.dirty[s.shard[0].dirty - 1 - s.shard[0].told]
        s.slot[slot].is_dirty = False
        tell_windows(s, out, slot, told_due)
        s.shard[0].told += 1
        if s.shard[0].told == s.shard[0].dirty:
            s.shard[0].dirty = 0
            s.shard[0].told = 0
    s.shard[0].clock = time
    return True


@compiled
def put_in_order(numbers: NDArray[np.int64], count: int) -> None:
    """Sort the first ``count``; few, and compiled in a blink."""
    for i in range(1, count):
        moved = numbers[i]
        k = i
        while k > 0 and numbers[k - 1] > moved:
            numbers[k] = numbers[k - 1]
            k -= 1
        numbers[k] = moved


@compiled
def _nothing_due(shard: Shard, time: int) -> bool:
    """Whether no level falls and no window is told until ``time``."""
    return shard.falls_due > time and (shard.dirty == 0 or shard.grid_due > time)


@compiled
def _touch(s: State, slot: int) -> None:
    """The windows of ``slot`` are to be told at the next grid point."""
    shard = s.shard[0]
    if shard.dirty == 0:
        shard.grid_due = (shard.clock // shard.snapshot + 1) * shard.snapshot
    s.slot[slot].is_dirty = True
    s.dirty[shard.dirty] = slot
    shard.dirty += 1


@compiled
def _enter(event: Events, me: Slot, shard: Shard, time: int) -> bool:
    """Make room for an event at ``time``; false where the arena must grow first."""
    if time > me.now:
        align(event, me, time, shard.span)
    return reserve(event, me, shard)


@compiled
def _other(s: State, out: Told, o: Others, i: int) -> int:
    """Take in context, or let time pass; DONE, or what must be made room for first."""
    kind, slot, venue, time = o.kind[i], o.slot[i], o.venue[i], o.time[i]
    if kind == TICK:
        return DONE if _advance(s, out, time // TICK_GRID * TICK_GRID - s.shard[0].delay) else FULL
    if kind == OPEN_INTEREST:
        if not has_ring(s, slot, venue):
            return MORE_RINGS
        open_interest(s, slot, venue, time, o.value[i])
    else:
        funding(s, slot, venue, time, o.value[i])
    return DONE


@compiled(inline="always")
def _bits(venue: int, position: int, cause: int, coverage: int) -> int:
    """Venue, position, cause and coverage as ``what``."""
    what = venue
    if position == SHORT_CODE:
        what |= SHORT
    if cause == ADL_CODE:
        what |= ADL
    if coverage != COMPLETE_CODE:
        what |= FLOOR
    if coverage == PARTIAL_CODE:
        what |= PARTIAL
    return what


@compiled(nogil=True)
def process(  # noqa: C901 - one plain loop: calls that take the state cost more than the arithmetic
    s: State, out: Told, c: Closes, o: Others, row: int, other: int, p: Parameters
) -> tuple[int, int, int]:
    """Work through arrivals from these rows on; how far it came in each, and why it stopped."""
    event, slots, shard, market = s.event, s.slot, s.shard[0], s.slot[0]
    # Taken out of their tuples once: each taking is counted, and there are millions of rows.
    keys, venues, assets, positions, causes, worth, prices, times, received, coverages, backfill, sources = c
    before, n, room, rows = o.before, out.n, len(out.order) - MARGIN, len(c.key)
    while True:
        while other < len(before) and before[other] <= row:
            why = _other(s, out, o, other)
            if why != DONE:
                return row, other, why
            other += 1
        if row == rows:
            return row, other, DONE
        cause = causes[row]
        if backfill[row] or cause == UNPROVEN_CODE or sources[row] == TIMELESS_CODE:
            row += 1
            continue
        cell = received[row] // TICK_GRID
        if cell > shard.cell:
            if not _advance(s, out, cell * TICK_GRID - shard.delay):
                return row, other, FULL
            shard.cell = cell
        # An event cannot have happened after it was received: a fast venue clock must not make others late.
        time = min(times[row], received[row])
        if time < shard.clock - shard.lateness:
            n[5] += 1
            row += 1
            continue
        if time > shard.clock and not _nothing_due(shard, time) and not _advance(s, out, time):
            return row, other, FULL
        if n[3] >= room:
            return row, other, FULL
        shard.clock = max(shard.clock, time)
        slot = assets[row] + 1
        if not (_enter(event, slots[slot], shard, time) and _enter(event, market, shard, time)):
            return row, other, MORE_ARENA
        usd = np.int64(np.rint(worth[row] * MICRO)) if worth[row] > 0.0 else np.int64(0)
        what = _bits(np.int64(venues[row]), positions[row], cause, coverages[row])
        key = np.int64(keys[row])
        for k in range(2):
            place = slot if k == 0 else 0
            me = slots[place]
            previous = me.level
            happened = _take(event, me, shard, time, usd, what, prices[row] if k == 0 else np.nan, key, p)
            if shard.snapshot and not me.is_dirty:
                _touch(s, place)
            if happened:
                _tell(s, out, place, time, previous, row, happened)
        n[4] += 1
        row += 1
