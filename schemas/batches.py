"""Columnar micro-batches: what travels in the hot path instead of one object per event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.records import (
    CAUSES,
    COVERAGES,
    POSITIONS,
    PRICE_KINDS,
    TIME_SOURCES,
    VENUES,
    Liquidation,
    MarketRecord,
)


class Tick(NamedTuple):
    """Time passed without anything arriving."""

    receive_time: int


LIQUIDATION_COLUMNS: dict[str, str] = {
    "event_id": "uint64",
    "venue": "int8",
    "instrument": "int32",
    "asset": "int32",
    "position": "int8",
    "cause": "int8",
    "price": "float64",
    "price_kind": "int8",
    "quantity": "float64",
    "notional_usd": "float64",
    "event_time": "int64",
    "receive_time": "int64",
    "coverage": "int8",
    "backfill": "bool",
    "time_source": "int8",
}
"""Column -> dtype. Codes index the tuples of ``schemas.records`` (venue -> ``VENUES``) or the batch's ``Names``."""


class Names:
    """An append-only dictionary between names and the small integers columns carry."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._names: list[str] = []

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, code: int) -> str:
        return self._names[code]

    def code(self, name: str) -> int:
        """The code of ``name``, given now if it is new."""
        known = self._codes.get(name)
        if known is None:
            known = self._codes[name] = len(self._names)
            self._names.append(name)
        return known

    def find(self, name: str) -> int | None:
        """The code of ``name``, or nothing."""
        return self._codes.get(name)


@dataclass(slots=True)
class LiquidationColumns:
    """Forced closes in arrival order, one array per column of ``LIQUIDATION_COLUMNS``."""

    event_id: NDArray[np.uint64]
    venue: NDArray[np.int8]
    instrument: NDArray[np.int32]
    asset: NDArray[np.int32]
    position: NDArray[np.int8]
    cause: NDArray[np.int8]
    price: NDArray[np.float64]
    price_kind: NDArray[np.int8]
    quantity: NDArray[np.float64]
    notional_usd: NDArray[np.float64]
    event_time: NDArray[np.int64]
    receive_time: NDArray[np.int64]
    coverage: NDArray[np.int8]
    backfill: NDArray[np.bool_]
    time_source: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.event_id)

    @classmethod
    def empty(cls) -> LiquidationColumns:
        """No rows."""
        return cls(**{name: np.empty(0, dtype) for name, dtype in LIQUIDATION_COLUMNS.items()})

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64] | slice) -> LiquidationColumns:
        """The chosen rows, in order."""
        return LiquidationColumns(**{name: getattr(self, name)[rows] for name in LIQUIDATION_COLUMNS})

    @classmethod
    def concatenate(cls, parts: list[LiquidationColumns]) -> LiquidationColumns:
        """The rows of all parts, in order."""
        if not parts:
            return cls.empty()
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in LIQUIDATION_COLUMNS})


@dataclass(slots=True)
class Batch:
    """What a run of frames turned into, in arrival order."""

    liquidations: LiquidationColumns
    instruments: Sequence[str]
    """Venue symbol by instrument code."""
    assets: Names
    others: list[tuple[int, MarketRecord | Tick]] = field(default_factory=list)
    """Every other record, with the number of liquidations that arrived before it (non-decreasing)."""
    frames: int = 0

    def relabelled(self, assets: Names) -> Batch:
        """The same batch with its assets coded by ``assets``."""
        if assets is self.assets:
            return self
        codes = np.array([assets.code(self.assets[code]) for code in range(len(self.assets))], np.int32)
        columns = self.liquidations.take(slice(None))
        columns.asset = codes[columns.asset] if len(columns) else columns.asset
        return Batch(columns, self.instruments, assets, self.others, self.frames)

    def liquidation(self, row: int) -> Liquidation:
        """Row ``row`` as a record."""
        c = self.liquidations
        return Liquidation(
            event_id=f"{c.event_id[row]:016x}",
            venue=VENUES[c.venue[row]],
            instrument=self.instruments[c.instrument[row]],
            asset=self.assets[c.asset[row]],
            position=POSITIONS[c.position[row]],
            cause=CAUSES[c.cause[row]],
            price=float(c.price[row]),
            price_kind=PRICE_KINDS[c.price_kind[row]],
            quantity=float(c.quantity[row]),
            notional_usd=float(c.notional_usd[row]),
            event_time=int(c.event_time[row]),
            receive_time=int(c.receive_time[row]),
            coverage=COVERAGES[c.coverage[row]],
            backfill=bool(c.backfill[row]),
            time_source=TIME_SOURCES[c.time_source[row]],
        )

    def records(self) -> Iterator[MarketRecord]:
        """Everything as records, in arrival order. For people and tests, not for the hot path."""
        row = 0
        for before, record in self.others:
            while row < before:
                yield self.liquidation(row)
                row += 1
            if not isinstance(record, Tick):
                yield record
        for rest in range(row, len(self.liquidations)):
            yield self.liquidation(rest)
