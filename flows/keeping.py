"""What of an outcome goes into the history."""

from __future__ import annotations

from typing import Protocol

from flows.settings import HistorySettings
from flows.stages import Outcome
from schemas.batches import Batch, Tick
from schemas.columns import Columnar
from schemas.records import MarkPrice, Trade
from schemas.tables import StoredRecord


class Keeper(Protocol):
    """What the archive needs of a history writer."""

    def append(self, batch: Batch) -> None:
        """Take everything in a batch."""

    def add(self, record: StoredRecord) -> None:
        """Take one record."""

    def extend(self, rows: Columnar) -> None:
        """Take rows that are columns already."""


class Archive:
    """Hands outcomes to a history, leaving out what the settings do not keep."""

    def __init__(self, history: Keeper, settings: HistorySettings) -> None:
        self._history = history
        self._left_out: tuple[type, ...] = (Tick,)
        if not settings.trades:
            self._left_out += (Trade,)
        if not settings.mark_prices:
            self._left_out += (MarkPrice,)

    def take(self, outcome: Outcome) -> None:
        """Keep one outcome."""
        batch = outcome.batch
        kept = [other for other in batch.others if not isinstance(other[1], self._left_out)]
        if len(batch.liquidations) or kept:
            self._history.append(Batch(batch.liquidations, batch.instruments, batch.assets, kept, batch.frames))
        for record in outcome.detections.records:
            self._history.add(record)
        for rows in outcome.detections.windows:
            self._history.extend(rows)
        for measures in outcome.detections.measures:
            self._history.extend(measures)
