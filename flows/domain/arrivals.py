"""A batch as the kernel wants it: its columns as they are, and context and ticks placed among them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain.kernel import FUNDING, OPEN_INTEREST, TICK, TIMELESS_CODE, UNPROVEN_CODE, Closes, Others
from schemas.batches import Batch, LiquidationColumns
from schemas.batches import Tick as TickItem
from schemas.records import VENUES, Funding, OpenInterest

_FUNDING_HOURS = 8.0
_VENUE = {venue: code for code, venue in enumerate(VENUES)}


def scorable(batch: Batch) -> NDArray[np.bool_]:
    """Which liquidations are scored: no backfill, no unproven cause, no event without any time."""
    c = batch.liquidations
    mask: NDArray[np.bool_] = ~c.backfill & (c.cause != UNPROVEN_CODE) & (c.time_source != TIMELESS_CODE)
    return mask


def closes(c: LiquidationColumns) -> Closes:
    """The columns the kernel reads."""
    return Closes(
        _plain(c.event_id, np.uint64),
        _plain(c.venue, np.int8),
        _plain(c.asset, np.int32),
        _plain(c.position, np.int8),
        _plain(c.cause, np.int8),
        _plain(c.notional_usd, np.float64),
        _plain(c.price, np.float64),
        _plain(c.event_time, np.int64),
        _plain(c.receive_time, np.int64),
        _plain(c.coverage, np.int8),
        _plain(c.backfill, np.bool_),
        _plain(c.time_source, np.int8),
    )


def _plain(column: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The column as the kernel was compiled for: another layout would be compiled anew, for seconds."""
    flags = column.flags
    return column if column.dtype == dtype and flags.c_contiguous and flags.writeable else np.array(column, dtype)


def others(batch: Batch) -> Others:
    """Ticks and context of the batch, each with the number of liquidations before it."""
    found = [row for before, record in batch.others if (row := _other(batch, before, record)) is not None]
    if not found:
        return NONE
    before, kind, slot, venue, time, value = zip(*found, strict=True)
    return Others(
        np.array(before, np.int64),
        np.array(kind, np.int8),
        np.array(slot, np.int32),
        np.array(venue, np.int8),
        np.array(time, np.int64),
        np.array(value, np.float64),
    )


def _other(batch: Batch, before: int, record: object) -> tuple[int, int, int, int, int, float] | None:
    if isinstance(record, TickItem):
        return before, TICK, 0, 0, record.receive_time, 0.0
    if isinstance(record, OpenInterest):
        if record.quantity is None:
            return None
        slot = batch.assets.code(record.asset) + 1
        return before, OPEN_INTEREST, slot, _VENUE[record.venue], record.event_time, record.quantity
    if isinstance(record, Funding) and not record.settled:
        slot = batch.assets.code(record.asset) + 1
        rate = record.rate * _FUNDING_HOURS / record.interval_hours
        return before, FUNDING, slot, _VENUE[record.venue], record.event_time, rate
    return None


_EMPTY: list[Any] = [np.empty(0, t) for t in (np.int64, np.int8, np.int32, np.int8, np.int64, np.float64)]
NONE = Others(*_EMPTY)
"""Nothing else arrived."""
