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
from flows.domain.cascade import follow, join
from flows.domain.constants import MICRO, N_VENUES, NEVER
from flows.domain.context import funding, has_ring, open_interest
from flows.domain.judge import JOINED, OPENED, ROSE, Parameters, judge
from flows.domain.model import STEP
from flows.domain.passing import advance, nothing_due, touch
from flows.domain.rings import align, insert, reserve
from flows.domain.state import (
    ADL,
    FLOOR,
    PARTIAL,
    SHORT,
    Events,
    Forecasts,
    Shard,
    Slot,
    State,
)
from flows.domain.telling import MARGIN, OPENS, UPDATES, Told, tell_cascade, tell_signal
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
def _take(
    event: Events, me: Slot, market: Slot, shard: Shard, forecast: Forecasts, time: int, usd: int, what: int,
    asset: int, price: float, key: int, p: Parameters,
) -> int:  # fmt: skip
    """Take one event into a slot; which of the bits below it came to."""
    insert(event, me, time, usd, what, asset, shard.span)
    if not what & ADL:
        if me.began == NEVER:
            me.began = time
        side, venue = (1 if what & SHORT else 0), what & (N_VENUES - 1)
        decays.take(me.decays, time, usd, side, venue)
        if shard.measures:
            cover = (2 if what & PARTIAL else 1) if what & FLOOR else 0
            measured.take(me.measured, time, usd, side, venue, cover, price)
    happened = 0
    if me.open:
        if join(me, time, usd, what, asset):
            happened = JOINED
        follow(me, shard)
    return happened | judge(event, me, market, shard, forecast, time, key, p)


@compiled
def _tell(s: State, out: Told, slot: int, time: int, previous: int, row: int, happened: int) -> None:
    """Say what an event brought about in a slot."""
    me = s.slot[slot]
    if happened & ROSE:
        tell_signal(s, out, slot, time, previous, row)
    if happened & OPENED:
        tell_cascade(s, out, slot, time, OPENS)
    elif me.open:
        tell_cascade(s, out, slot, time, UPDATES)


@compiled
def _enter(event: Events, me: Slot, shard: Shard, time: int) -> bool:
    """Make room for an event at ``time``; false where the arena must grow first."""
    if time > me.now:
        align(event, me, time, shard.span)
    return reserve(event, me, shard)


@compiled(inline="always")
def _notice(shard: Shard, forecasts: int) -> None:
    """The first liquidation of all, or after a silence: forecasts go on at the next grid point."""
    if forecasts and shard.learn_due == -NEVER:
        shard.learn_due = (shard.clock // STEP + 1) * STEP


@compiled
def _other(s: State, out: Told, o: Others, i: int) -> int:
    """Take in context, or let time pass; DONE, or what must be made room for first."""
    kind, slot, venue, time = o.kind[i], o.slot[i], o.venue[i], o.time[i]
    if kind == TICK:
        return DONE if advance(s, out, time // TICK_GRID * TICK_GRID - s.shard[0].delay) else FULL
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
    event, slots, shard, market, forecast = s.event, s.slot, s.shard[0], s.slot[0], s.forecast
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
            if not advance(s, out, cell * TICK_GRID - shard.delay):
                return row, other, FULL
            shard.cell = cell
        # An event cannot have happened after it was received: a fast venue clock must not make others late.
        time = min(times[row], received[row])
        if time < shard.clock - shard.lateness:
            n[5] += 1
            row += 1
            continue
        if time > shard.clock and not nothing_due(shard, time) and not advance(s, out, time):
            return row, other, FULL
        if n[3] >= room:
            return row, other, FULL
        shard.clock = max(shard.clock, time)
        if cause != ADL_CODE:
            _notice(shard, len(forecast))
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
            price = prices[row] if k == 0 else np.nan
            happened = _take(event, me, market, shard, forecast, time, usd, what, slot, price, key, p)
            if shard.snapshot and not me.is_dirty:
                touch(s, place)
            if happened:
                _tell(s, out, place, time, previous, row, happened)
        n[4] += 1
        row += 1
