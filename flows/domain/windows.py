"""Windows as they are told: rows of the kernel's table, as columns to store and as records to send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import MICRO, N_VENUES
from flows.domain.state import (
    ADL_N,
    ADL_USD,
    FLOOR_USD,
    LONG_N,
    LONG_USD,
    N_SUMS,
    SHORT_N,
    SHORT_USD,
)
from schemas.batches import Names
from schemas.cascades import MARKET, WINDOWS, WindowMetrics
from schemas.clock import SECOND
from schemas.columns import Column, Maps, Named, spelled
from schemas.records import VENUES

_NAMES = tuple(WINDOWS)
_SECONDS = np.array([length / SECOND for length in WINDOWS.values()])


@dataclass(slots=True)
class WindowRows:
    """Windows told, columnar: ``WindowMetrics`` before they are spelled out."""

    figures: NDArray[np.int64]
    """N x (2 + W x 10): slot, time, then per window eight sums, and count and USD of the preceding window."""
    venues: NDArray[np.int32]
    """N x W x V."""
    assets: Names
    dataset: str = "windows"
    """Where they are stored."""

    def __len__(self) -> int:
        return len(self.figures) * len(_NAMES)

    def columns(self) -> dict[str, Column]:
        """The fields of ``WindowMetrics``, in their order; W rows for each row here."""
        told = np.ascontiguousarray(self.figures[:, 2:]).reshape(-1, N_SUMS + 2)
        count, usd = told[:, LONG_N] + told[:, SHORT_N], told[:, LONG_USD] + told[:, SHORT_USD]
        rows, seconds = len(self.figures), np.tile(_SECONDS, len(self.figures))
        assets = [MARKET, *(self.assets[code] for code in range(len(self.assets)))]
        venues = self.venues.reshape(-1, N_VENUES)
        present = venues > 0
        leader = np.where(present.any(axis=1), venues.argmax(axis=1), len(VENUES))
        return {
            "asset": Named(np.repeat(self.figures[:, 0], len(_NAMES)), assets),
            "window": Named(np.tile(np.arange(len(_NAMES)), rows), _NAMES),
            "time": np.repeat(self.figures[:, 1], len(_NAMES)),
            "count": count,
            "usd": usd / MICRO,
            "long_count": told[:, LONG_N],
            "short_count": told[:, SHORT_N],
            "long_usd": told[:, LONG_USD] / MICRO,
            "short_usd": told[:, SHORT_USD] / MICRO,
            "adl_count": told[:, ADL_N],
            "adl_usd": told[:, ADL_USD] / MICRO,
            "floor_usd": told[:, FLOOR_USD] / MICRO,
            "events_per_second": count / seconds,
            "usd_per_second": usd / MICRO / seconds,
            "acceleration": (count - told[:, N_SUMS]) / seconds**2,
            "usd_acceleration": (usd - told[:, N_SUMS + 1]) / MICRO / seconds**2,
            "venues": Maps(present.sum(axis=1), Named(np.nonzero(present)[1], VENUES), venues[present]),
            "leading_venue": Named(leader, (*VENUES, None)),
        }

    def records(self) -> list[WindowMetrics]:
        """Every window as a record."""
        columns: list[list[Any]] = [spelled(column) for column in self.columns().values()]
        return [WindowMetrics(*row) for row in zip(*columns, strict=True)]
