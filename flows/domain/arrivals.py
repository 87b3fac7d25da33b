"""A batch as the kernel wants it: one row per arrival that matters to the score, in arrival order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.domain.kernel import FUNDING, LIQUIDATION, OPEN_INTEREST, TICK, Arrivals
from flows.domain.state import ADL, FLOOR, MICRO, SHORT
from schemas.batches import Batch, LiquidationColumns
from schemas.batches import Tick as TickItem
from schemas.records import CAUSES, COVERAGES, POSITIONS, TIME_SOURCES, VENUES, Funding, OpenInterest

TICK_GRID = 100_000_000
"""Receive time moves the clock in steps of this many nanoseconds."""
_FUNDING_HOURS = 8.0
_UNPROVEN = CAUSES.index("unknown")
_TIMELESS = TIME_SOURCES.index("none")
_VENUE = {venue: code for code, venue in enumerate(VENUES)}


@dataclass(frozen=True, slots=True)
class Extra:
    """An arrival that is no liquidation."""

    before: int
    kind: int
    slot: int = 0
    venue: int = 0
    time: int = 0
    value: float = 0.0


def scorable(batch: Batch) -> NDArray[np.bool_]:
    """Which liquidations are scored: no backfill, no unproven cause, no event without any time."""
    c = batch.liquidations
    mask: NDArray[np.bool_] = ~c.backfill & (c.cause != _UNPROVEN) & (c.time_source != _TIMELESS)
    return mask


def extras(batch: Batch, rows: NDArray[np.bool_]) -> list[Extra]:
    """Ticks and context of the batch, placed among its scorable liquidations."""
    if not batch.others:
        return []
    place = np.concatenate([[0], np.cumsum(rows)])
    found = []
    for before, record in batch.others:
        at = int(place[before])
        if isinstance(record, TickItem):
            found.append(Extra(at, TICK, time=record.receive_time // TICK_GRID * TICK_GRID))
        elif isinstance(record, OpenInterest):
            if record.quantity is not None:
                slot = batch.assets.code(record.asset) + 1
                found.append(Extra(at, OPEN_INTEREST, slot, _VENUE[record.venue], record.event_time, record.quantity))
        elif isinstance(record, Funding) and not record.settled:
            slot = batch.assets.code(record.asset) + 1
            rate = record.rate * _FUNDING_HOURS / record.interval_hours
            found.append(Extra(at, FUNDING, slot, _VENUE[record.venue], record.event_time, rate))
    return found


def ticks(receive_time: NDArray[np.int64], last: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Rows before which receive time enters a new cell of the grid, those grid times, and the newest cell."""
    cell = receive_time // TICK_GRID
    highest = np.maximum.accumulate(np.concatenate([[last], cell]))
    rows = np.flatnonzero(cell > highest[:-1])
    return rows, cell[rows] * TICK_GRID, int(highest[-1])


def arrivals(batch: Batch, last_cell: int) -> tuple[Arrivals, NDArray[np.int64], int]:
    """The arrivals, the liquidation row of each (-1 for others), and the newest grid cell seen."""
    mask = scorable(batch)
    rows = np.flatnonzero(mask)
    c = batch.liquidations
    if len(rows) != len(c):
        c = c.take(rows)
    tick_rows, tick_times, cell = ticks(c.receive_time, last_cell)
    others = extras(batch, mask)
    n = len(c)
    made = _liquidations(c, n)
    origin = rows.astype(np.int64)
    if len(tick_rows) or others:
        made, origin = _merge(made, origin, tick_rows, tick_times, others)
    return made, origin, cell


def _liquidations(c: LiquidationColumns, n: int) -> Arrivals:
    what = c.venue.astype(np.int16)
    what |= np.where(c.position == POSITIONS.index("short"), SHORT, 0).astype(np.int16)
    what |= np.where(c.cause == CAUSES.index("adl"), ADL, 0).astype(np.int16)
    what |= np.where(c.coverage != COVERAGES.index("complete"), FLOOR, 0).astype(np.int16)
    return Arrivals(
        kind=np.full(n, LIQUIDATION, np.int8),
        slot=c.asset + np.int32(1),
        venue=c.venue,
        time=np.minimum(c.event_time, c.receive_time),
        usd=np.rint(c.notional_usd * MICRO).astype(np.int64),
        what=what,
        value=np.zeros(n, np.float64),
        key=c.event_id.view(np.int64),
        late=np.zeros(n, np.bool_),
    )


def _merge(
    made: Arrivals,
    origin: NDArray[np.int64],
    tick_rows: NDArray[np.int64],
    tick_times: NDArray[np.int64],
    others: list[Extra],
) -> tuple[Arrivals, NDArray[np.int64]]:
    """Put context and ticks in their places: what arrived before a row, then the tick of that row, then the row."""
    n, t, m = len(made.kind), len(tick_rows), len(others)
    order = np.argsort(
        np.concatenate([np.arange(n) * 3 + 2, tick_rows * 3 + 1, np.array([x.before for x in others], np.int64) * 3]),
        kind="stable",
    )
    extra = Arrivals(
        kind=np.array([TICK] * t + [x.kind for x in others], np.int8),
        slot=np.array([0] * t + [x.slot for x in others], np.int32),
        venue=np.array([0] * t + [x.venue for x in others], np.int8),
        time=np.concatenate([tick_times, np.array([x.time for x in others], np.int64)]),
        usd=np.zeros(t + m, np.int64),
        what=np.zeros(t + m, np.int16),
        value=np.array([0.0] * t + [x.value for x in others], np.float64),
        key=np.zeros(t + m, np.int64),
        late=np.zeros(t + m, np.bool_),
    )
    merged = Arrivals(*(np.concatenate([a, b])[order] for a, b in zip(made, extra, strict=True)))
    return merged, np.concatenate([origin, np.full(t + m, -1)])[order]
