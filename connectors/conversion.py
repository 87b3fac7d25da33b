"""Native numbers of forced closes as base units and USD: a whole batch at once, by tables.

A pending forced close is one packed row in the venue's own terms. What it means in coins and dollars depends on its
contract alone (``connectors.catalogue``), so it is worked out here for all venues alike.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from connectors.catalogue import Contract, ContractColumns
from connectors.identity import event_ids
from schemas.batches import LiquidationColumns
from schemas.clock import SECOND
from schemas.compiled import compiled
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


Rows = NDArray[Any]
"""An array of ``ROW``."""
_CONTRACTS, _COINS = UNITS.index("contracts"), UNITS.index("base")
_BASE, _QUANTO = CONTRACT_UNITS.index("base"), CONTRACT_UNITS.index("quanto")
_VENUE, _RECEIVE, _SKEW, _NONE = (TIME_SOURCES.index(source) for source in ("venue", "receive", "skew", "none"))
_LARGEST_USD = 1e12
"""No forced close is worth more; a contract size must be wrong."""


def converted(
    rows: Rows,
    rates: dict[int, float],
    table: ContractColumns,
    coverage: NDArray[np.int8],
    received: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> tuple[LiquidationColumns, NDArray[np.bool_]]:
    """Pending rows as columns in base units and USD, and which of them make sense.

    :arg rates: USD of the reference asset, by row, of the few that need one; NaN unknown.
    :arg coverage: by venue code.
    :arg received: receive time of each frame. :arg ends: one past each frame's last row.
    """
    count = len(rows)
    rate = np.ones(count)
    for row, known in rates.items():
        rate[row] = known
    numbers, clocks = np.empty((3, count)), np.empty((2, count), np.int64)
    codes, small, flags = np.empty((2, count), np.int32), np.empty((6, count), np.int8), np.empty((2, count), np.bool_)
    _work_out(
        rows, rate, table.unit, table.size, table.coin, table.divisor, table.venue, table.asset, coverage, received,
        ends, numbers, clocks, codes, small, flags,
    )  # fmt: skip
    columns = LiquidationColumns(
        event_id=event_ids(rows, table.salt, ends),
        venue=small[0],
        instrument=codes[0],
        asset=codes[1],
        position=small[1],
        cause=small[2],
        price=numbers[0],
        price_kind=small[3],
        quantity=numbers[1],
        notional_usd=numbers[2],
        event_time=clocks[0],
        receive_time=clocks[1],
        coverage=small[4],
        backfill=flags[0],
        time_source=small[5],
    )
    return columns, flags[1]


@compiled(error_model="numpy")
def _work_out(
    rows: Rows,
    rate: NDArray[np.float64],
    unit_of: NDArray[np.int8],
    size: NDArray[np.float64],
    coin: NDArray[np.float64],
    divisor: NDArray[np.float64],
    venue_of: NDArray[np.int8],
    asset_of: NDArray[np.int32],
    coverage: NDArray[np.int8],
    received: NDArray[np.int64],
    ends: NDArray[np.int64],
    numbers: NDArray[np.float64],
    clocks: NDArray[np.int64],
    codes: NDArray[np.int32],
    small: NDArray[np.int8],
    flags: NDArray[np.bool_],
) -> None:
    row = 0
    for frame in range(len(ends)):
        while row < ends[frame]:
            code, terms = rows[row].code, rows[row].terms
            unit = terms >> 6 & 3
            native = rows[row].quantity * (size[code] if unit == _CONTRACTS else 1.0)
            price = rows[row].price / divisor[code]
            if unit == _COINS or (unit == _CONTRACTS and unit_of[code] == _BASE):
                base = native * coin[code] if unit == _COINS else native
                usd = base * price * rate[row]
            elif unit == _CONTRACTS and unit_of[code] == _QUANTO:
                base = native * rate[row]
                usd = base * price
            else:
                base = native / price
                usd = native * rate[row]
            numbers[0, row], numbers[1, row], numbers[2, row] = price, base, usd
            # What one clock lacks, the other fills in.
            time = rows[row].time
            arrived = received[frame] if received[frame] != 0 else max(time, 0)
            source = _VENUE
            if time - arrived > SKEW_LIMIT:
                source = _SKEW
            elif time <= 0:
                source = _RECEIVE if arrived > 0 else _NONE
            clocks[0, row] = time if source == _VENUE else arrived
            clocks[1, row] = arrived
            codes[0, row], codes[1, row] = code, asset_of[code]
            venue = venue_of[code]
            small[0, row], small[1, row], small[2, row] = venue, terms & 1, terms >> 1 & 3
            small[3, row], small[4, row] = terms >> 3 & 7, max(coverage[venue], terms >> 9 & 3)
            small[5, row] = source
            flags[0, row] = (terms & BACKFILL) != 0
            flags[1, row] = 0.0 < usd < _LARGEST_USD and 0.0 < base < math.inf and 0.0 < price < math.inf
            row += 1


def complaint(row: Any, rate: float, contract: Contract) -> str:
    """What is wrong with one of ``ROW`` that makes no sense, and what to do."""
    price, quantity = float(row["price"]), float(row["quantity"])
    symbol = contract.instrument.instrument
    if math.isnan(rate):
        return f"{symbol}: no USD price of {contract.reference} seen yet; re-drive after its mark price"
    if not (math.isfinite(price) and price > 0):
        return f"{symbol}: price {price!r} is not a positive number"
    if not (math.isfinite(quantity) and quantity > 0):
        return f"{symbol}: quantity {quantity!r} is not a positive number"
    return f"{symbol}: {quantity!r} at {price!r} is no possible notional; check its contract size"
