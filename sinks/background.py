"""The history in a thread of its own, so that a slow disk never holds up what makes the records."""

from __future__ import annotations

from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any

from schemas.batches import Batch
from schemas.clock import Clock, system_clock
from schemas.columns import Columnar
from schemas.errors import HistoryError
from schemas.tables import StoredRecord
from sinks.parquet import ParquetHistory

_LOOK = 0.25
"""Seconds between looks for what is due when nothing arrives."""
_END = object()


@dataclass(frozen=True, slots=True)
class _Rows:
    """Columns on their way."""

    rows: Columnar


class BackgroundHistory:
    """Hands records to a ``ParquetHistory`` in another thread; at most once, and what is lost is counted.

    :arg depth: hand-overs that may wait; one more is dropped and counted, the caller never waits.
    """

    def __init__(self, history: ParquetHistory, *, depth: int = 10_000, clock: Clock = system_clock) -> None:
        self.history = history
        self.error: HistoryError | None = None
        """Why the last attempt to write failed; nothing once one succeeds."""
        self._dropped = 0
        self._clock = clock
        self._queue: Queue[Any] = Queue(depth)
        self._thread = Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Hand-overs lost to a full queue, and rows lost to a refusing disk."""
        return self._dropped + self.history.dropped

    def append(self, batch: Batch) -> None:
        """Hand over a batch."""
        self._put(batch)

    def add(self, record: StoredRecord) -> None:
        """Hand over a record."""
        self._put(record)

    def extend(self, rows: Columnar) -> None:
        """Hand over rows that are columns already."""
        self._put(_Rows(rows))

    def _put(self, item: Batch | StoredRecord | _Rows) -> None:
        try:
            self._queue.put_nowait(item)
        except Full:
            self._dropped += 1

    def _run(self) -> None:
        try:
            while (item := self._next()) is not _END:
                if isinstance(item, Batch):
                    self.history.append(item)
                elif isinstance(item, _Rows):
                    self.history.extend(item.rows)
                elif item is not None:
                    self.history.add(item)
                self._flush()
        except Exception as error:  # noqa: BLE001 - the thread must not end without a word
            self.error = HistoryError(f"the history stopped: {type(error).__name__}: {error}")

    def _next(self) -> Any:
        try:
            return self._queue.get(timeout=_LOOK)
        except Empty:
            return None

    def _flush(self) -> None:
        try:
            if self.history.flush_due(self._clock()):
                self.error = None
        except HistoryError as error:
            self.error = error

    def close(self) -> None:
        """Write everything handed over.

        :raises HistoryError: where rows could not be written.
        """
        while self._thread.is_alive():
            try:
                self._queue.put(_END, timeout=_LOOK)
                self._thread.join()
            except Full:
                continue
        self.history.close()
