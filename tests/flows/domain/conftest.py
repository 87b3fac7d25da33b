"""Liquidations by hand and by Hypothesis, for the thinking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from schemas.batches import Batch, LiquidationColumns, Names
from schemas.clock import MILLISECOND
from schemas.records import CAUSES, COVERAGES, POSITIONS, VENUES

T0 = 1_760_130_900_000_000_000
"""2025-10-10 21:15:00 UTC."""


@dataclass(frozen=True)
class Event:
    """One liquidation, times in milliseconds after ``T0``."""

    time: int
    usd: float = 1000.0
    asset: str = "BTC"
    venue: str = "bybit"
    position: str = "long"
    cause: str = "liquidation"
    coverage: str = "complete"
    receive: int | None = None
    id: int | None = None
    price: float = 1.0


def assets(*names: str) -> Names:
    """Codes of assets in this order."""
    made = Names()
    for name in names or ("BTC", "ETH", "SOL"):
        made.code(name)
    return made


def columns(events: Sequence[Event], names: Names, first_id: int = 1) -> LiquidationColumns:
    """The events as columns, in this order."""
    n = len(events)
    time = np.array([T0 + e.time * MILLISECOND for e in events], np.int64)
    receive = [T0 + (e.time if e.receive is None else e.receive) * MILLISECOND for e in events]
    return LiquidationColumns(
        event_id=np.array([first_id + i if e.id is None else e.id for i, e in enumerate(events)], np.uint64),
        venue=np.array([VENUES.index(e.venue) for e in events], np.int8),
        instrument=np.zeros(n, np.int32),
        asset=np.array([names.code(e.asset) for e in events], np.int32),
        position=np.array([POSITIONS.index(e.position) for e in events], np.int8),
        cause=np.array([CAUSES.index(e.cause) for e in events], np.int8),
        price=np.array([e.price for e in events], np.float64),
        price_kind=np.zeros(n, np.int8),
        quantity=np.array([e.usd for e in events], np.float64),
        notional_usd=np.array([e.usd for e in events], np.float64),
        event_time=time,
        receive_time=np.array(receive, np.int64),
        coverage=np.array([COVERAGES.index(e.coverage) for e in events], np.int8),
        backfill=np.zeros(n, np.bool_),
        time_source=np.zeros(n, np.int8),
    )


def batch(events: Sequence[Event], names: Names, first_id: int = 1) -> Batch:
    """The events as one batch."""
    return Batch(columns(events, names, first_id), ["X"], names)


@st.composite
def histories(draw: st.DrawFn, longest: int = 120) -> list[Event]:
    """Arrivals with bursts, silences, equal times, late events, several venues, both sides and ADL."""
    found: list[Event] = []
    clock = 0
    for _ in range(draw(st.integers(1, longest))):
        clock += draw(st.sampled_from([0, 0, 1, 3, 20, 90, 100, 400, 1000, 1900, 2000, 2100, 9000, 30_000, 310_000]))
        late = draw(st.sampled_from([0, 0, 0, 0, 1, 100, 700, 2500, 4999, 5000, 5001, 60_000]))
        found.append(
            Event(
                time=clock - late,
                usd=draw(st.integers(1, 50_000_000)) / 8,
                asset=draw(st.sampled_from(["BTC", "ETH", "SOL"])),
                venue=draw(st.sampled_from(["binance_usdm", "bybit", "okx", "gate"])),
                position=draw(st.sampled_from(["long", "short"])),
                cause=draw(st.sampled_from(["liquidation"] * 5 + ["adl"])),
                coverage=draw(st.sampled_from(["complete", "sampled", "partial"])),
                receive=clock,
                price=draw(st.sampled_from([math.nan, 99.95, 100.05, 100.15, 100.25, 101.05, 110.05, 0.0123])),
            )
        )
    return found
