"""Topics → Parquet: everything told, for SQL. Into the folders the live pipeline writes as well.

Reads: every topic of records. Writes: Parquet below ``data_dir``. Key: the partition, in ``LANES`` lanes. Guarantee:
each message is in the history exactly once, whatever is killed: files past the last snapshot are removed and their rows
come again; what was told twice (the same event, or the same words) is kept once. A disk that refuses makes it wait.
"""

from __future__ import annotations

import atexit
import sys
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import bytewax.operators as op
import numpy as np
import structlog
from bytewax.dataflow import Dataflow

from connectors.kafka import Arrivals, Run
from flows import metrics
from flows.domain.duplicates import Seen
from flows.reading import RunReader, schemas
from flows.recovery import writer_of
from flows.worker import Worker
from schemas.batches import Batch
from schemas.clock import seconds
from schemas.codec import encode
from schemas.errors import HistoryError
from schemas.records import MarkPrice, Trade
from schemas.tables import StoredRecord
from schemas.topics import LIQUIDATIONS, MARKET, RAW, TOPICS
from sinks.ids import IdLog
from sinks.parquet import ParquetHistory
from sinks.rewind import RewindSink
from sinks.upkeep import Upkeep

log = structlog.get_logger(__name__)

LANES = 4
"""Among how many workers the writing can be divided; each makes files of its own."""
_REMEMBERED = 1 << 20
"""Messages of a lane whose doubles are found, at least: more than anybody tells between two snapshots of his own, which
is what he repeats after a crash. A worker that catches up tells a hundred thousand a second."""
_PAUSE = 1.0
"""Seconds between two attempts on a disk that refuses."""
_CASCADES_TELLS = frozenset({LIQUIDATIONS.name, MARKET.name})
"""Topics whose unreadable messages the cascades worker has made dead letters of already."""
Place = tuple[int, int]
"""How many rows and how many ids a lane has taken."""
Rows = list[tuple[bytes, StoredRecord]]
"""Records, each with the bytes that tell it from others."""


def build(config: str | None = None, *, bounded: bool = False, recovery: str | None = None) -> Dataflow:
    """The flow, ready to be run."""
    worker = Worker.begin("archive", config, bounded=bounded, recovery=recovery)
    topics = [topic for topic in TOPICS.values() if topic is not RAW]
    flow = Dataflow("archive")
    arrivals = op.input("topics", flow, worker.source(topics))
    pieces = op.flat_map("read", arrivals, ArchiveReader(worker).read)
    name = writer_of(Path(recovery)) if recovery else "archive"
    sink = RewindSink(lanes(), lambda lane, resume: Lane(worker, f"{name}.{lane}", resume, upkeep(worker, lane)))
    op.output("history", pieces, sink)
    return flow


def upkeep(worker: Worker, lane: str) -> Upkeep | None:
    """What looks after the days that are over: one lane does it for all."""
    kept = worker.settings.history
    if not kept.upkeep or lane != lanes()[0]:
        return None
    found = Upkeep(worker.settings.data_dir, kept.keep, seconds(kept.upkeep), worker.clock)
    # A thread inside DuckDB must not be torn down with the interpreter.
    atexit.register(found.close)
    return found


def lanes() -> list[str]:
    """Their names."""
    return [f"lane{number}" for number in range(LANES)]


class ArchiveReader:
    """Runs in; closes in columns and other records with their bytes out, by lane."""

    def __init__(self, worker: Worker) -> None:
        kept = worker.settings.history
        left_out = [record for record, keep in ((Trade, kept.trades), (MarkPrice, kept.mark_prices)) if not keep]
        self._unused = schemas(*left_out)
        self._reader = RunReader(worker.bus)

    def read(self, arrived: Arrivals) -> list[tuple[str, Batch | Rows]]:
        """What goes into which lane."""
        return [(f"lane{run.partition % LANES}", piece) for run in arrived.runs for piece in self._pieces(run)]

    def _pieces(self, run: Run) -> list[Batch | Rows]:
        found: list[Batch | Rows] = []
        if run.topic == LIQUIDATIONS.name:
            batch, letters = self._reader.closes(run)
            found = [batch]
        else:
            rows, letters = self._reader.records(run, self._unused if run.topic == MARKET.name else ())
            found = [rows]
        if letters and run.topic not in _CASCADES_TELLS:
            found.append([(encode(record).value, record) for record in letters])
        return found


class Lane:
    """A writer, and what it has written lately."""

    def __init__(self, worker: Worker, writer: str, resume: Place | None, upkeep: Upkeep | None = None) -> None:
        kept = worker.settings.history
        self._worker, self._upkeep = worker, upkeep
        self._history = ParquetHistory(
            worker.settings.data_dir, writer, flush_seconds=kept.flush, flush_rows=kept.flush_rows,
            keep_rows=sys.maxsize, clock=worker.clock,
        )  # fmt: skip
        self._seen, self._ids = Seen(_REMEMBERED), IdLog(worker.settings.data_dir, writer, _REMEMBERED)
        self._told: Counter[str] = Counter()
        sequence, known = (0, 0) if resume is None else resume
        self._seen.restore(self._ids.rewind(known))
        removed = self._history.rewind(sequence)
        if removed:
            log.info("rows past the last snapshot come again", writer=writer, files_removed=removed)

    def take(self, items: list[Batch | Rows]) -> None:
        """Keep what is new."""
        for item in items:
            if isinstance(item, Batch):
                metrics.duplicates.inc(self._seen.drop(item))
                self._ids.append(item.liquidations.event_id)
                self._history.append(item)
            else:
                self._add(item)
        self._written(lambda: self._history.flush_due(self._worker.clock()), self._history.flush)
        if self._upkeep is not None and self._upkeep.due(self._worker.clock()) and self._upkeep.error is not None:
            log.error("days that are over could not be looked after; tried again", error=str(self._upkeep.error))

    def _add(self, rows: Rows) -> None:
        if rows:
            told = [int.from_bytes(blake2b(value, digest_size=8).digest()) for value, _ in rows]
            ids = np.array(told, np.uint64)
            fresh = self._seen.unseen(ids)
            self._ids.append(ids[fresh])
            for (_, record), is_new in zip(rows, fresh.tolist(), strict=True):
                if is_new:
                    self._history.add(record)

    def snapshot(self) -> Place:
        """Everything taken is in files; where to go back to."""
        self._written(self._flush, self._flush)
        return self._history.sequence, self._ids.count

    def _flush(self) -> None:
        self._history.flush()
        self._ids.snapshot()

    def _written(self, flush: Callable[[], Any], again: Callable[[], Any]) -> None:
        """Until the disk takes it: nothing more is read meanwhile, so nothing is lost.

        :raises HistoryError: the disk refuses and the worker is to stop; the rows come again after the next start.
        """
        while True:
            try:
                flush()
                break
            except HistoryError as error:
                metrics.history_flush_failures.inc()
                log.error("the disk refuses; trying again", error=str(error))
                if self._worker.waits(str(error), _PAUSE):
                    raise
                flush = again
        for dataset, rows in self._history.rows.items():
            metrics.history_rows.labels(dataset).inc(rows - self._told[dataset])
        self._told = Counter(self._history.rows)
