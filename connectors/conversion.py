"""Native numbers of forced closes as base units and USD: a whole batch at once, by tables.

A pending forced close is one packed row in the venue's own terms. What it means in coins and dollars depends on its
contract alone (``connectors.catalogue``), so it is worked out here for all venues alike.
"""

from __future__ import annotations

import math
import struct
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from connectors.catalogue import Contract, ContractColumns
from connectors.identity import event_ids
from schemas.batches import LiquidationColumns
from schemas.clock import SECOND
from schemas.instruments import CONTRACT_UNITS
from schemas.records import CAUSES, COVERAGES, POSITIONS, PRICE_KINDS, TIME_SOURCES, Cause, Position, PriceKind

Unit = Literal["contracts", "base", "quote"]
"""What a native quantity counts: contracts, the venue's base coins, or quote currency."""
UNITS: tuple[Unit, ...] = ("contracts", "base", "quote")

SKEW_LIMIT = 10 * SECOND
"""An event this far ahead of its receipt was stamped by a wrong clock."""
TOO_LATE = 2**63
"""Nanoseconds no signed 64-bit clock can hold."""


def terms(
    position: Position,
    price_kind: PriceKind,
    unit: Unit,
    cause: Cause = "liquidation",
    *,
    backfill: bool = False,
) -> int:
    """Everything constant about a kind of forced close as one small integer; dialects compute it once."""
    return (
        POSITIONS.index(position)
        | CAUSES.index(cause) << 1
        | PRICE_KINDS.index(price_kind) << 3
        | UNITS.index(unit) << 6
        | backfill << 8
    )


BACKFILL = 1 << 8
"""Or-ed into ``terms``: the venue replayed this on subscribe."""

SAMPLED = COVERAGES.index("sampled") << 9
"""Or-ed into ``terms``: a sampled feed of a venue whose coverage is otherwise ``complete``."""


ROW = np.dtype(
    [
        ("code", np.int32),
        ("terms", np.int32),
        ("price", np.float64),
        ("quantity", np.float64),
        ("time", np.int64),
        ("key", np.uint64),
    ]
)
"""A pending forced close, native terms."""
pack = struct.Struct("<iiddqQ").pack
"""The same as bytes: checks each type and makes the row at once, so that no row is ever half there."""


class Rows(NamedTuple):
    """The pending forced closes as arrays."""

    code: NDArray[np.int32]
    terms: NDArray[np.int32]
    price: NDArray[np.float64]
    quantity: NDArray[np.float64]
    time: NDArray[np.int64]
    key: NDArray[np.uint64]
    rate: NDArray[np.float64]


def converted(
    rows: Rows,
    table: ContractColumns,
    coverage: NDArray[np.int8],
    received: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> tuple[LiquidationColumns, NDArray[np.bool_]]:
    """Pending rows as columns in base units and USD, and which of them make sense.

    :arg coverage: by venue code. :arg received: receive time of each row. :arg ends: one past each frame's last row.
    """
    code = rows.code
    unit = rows.terms >> 6 & 3
    by_contract = unit == UNITS.index("contracts")
    kind = np.where(by_contract, table.unit[code], -1)
    price = rows.price / table.divisor[code]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        native = rows.quantity * np.where(by_contract, table.size[code], 1.0)
        is_base = (unit == UNITS.index("base")) | (kind == CONTRACT_UNITS.index("base"))
        is_quanto = kind == CONTRACT_UNITS.index("quanto")
        base = np.where(
            is_base,
            np.where(by_contract, native, native * table.coin[code]),
            np.where(is_quanto, native * rows.rate, native / price),
        )
        quoted = np.where(is_base | is_quanto, base * price, native)
        usd = np.where(is_quanto, quoted, quoted * rows.rate)
    event_time, received, source = _times(rows.time, received)
    sound = np.isfinite(usd) & (usd > 0) & np.isfinite(base) & (base > 0) & (price > 0) & np.isfinite(price)
    sound &= usd < 1e12
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64) if len(ends) else ends
    ids = event_ids(table.salt[code], rows.terms & 0b111, rows.time, rows.price, rows.quantity, rows.key, starts, ends)
    columns = LiquidationColumns(
        event_id=ids,
        venue=table.venue[code],
        instrument=code,
        asset=table.asset[code],
        position=(rows.terms & 1).astype(np.int8),
        cause=(rows.terms >> 1 & 3).astype(np.int8),
        price=price,
        price_kind=(rows.terms >> 3 & 7).astype(np.int8),
        quantity=base,
        notional_usd=usd,
        event_time=event_time,
        receive_time=received,
        coverage=np.maximum(coverage[table.venue[code]], rows.terms >> 9 & 3).astype(np.int8),
        backfill=(rows.terms & BACKFILL) != 0,
        time_source=source,
    )
    return columns, sound


def _times(
    time: NDArray[np.int64], received: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
    """Event time, receive time and time source: what one clock lacks, the other fills in."""
    received = np.where(received == 0, np.maximum(time, 0), received)
    skewed = (time - received) > SKEW_LIMIT
    absent = time <= 0
    source = np.where(absent, np.where(received > 0, TIME_SOURCES.index("receive"), TIME_SOURCES.index("none")), 0)
    source = np.where(skewed, TIME_SOURCES.index("skew"), source).astype(np.int8)
    return np.where(absent | skewed, received, time), received, source


def complaint(rows: Rows, row: int, contract: Contract) -> str:
    """What is wrong with a row that makes no sense, and what to do."""
    price, quantity = float(rows.price[row]), float(rows.quantity[row])
    symbol = contract.instrument.instrument
    if math.isnan(rows.rate[row]):
        return f"{symbol}: no USD price of {contract.reference} seen yet; re-drive after its mark price"
    if not (math.isfinite(price) and price > 0):
        return f"{symbol}: price {price!r} is not a positive number"
    if not (math.isfinite(quantity) and quantity > 0):
        return f"{symbol}: quantity {quantity!r} is not a positive number"
    return f"{symbol}: {quantity!r} at {price!r} is no possible notional; check its contract size"
