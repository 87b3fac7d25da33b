"""The history on disk: Parquet files by dataset and UTC day, each whole from the moment it is visible.

    history/<dataset>/dt=YYYY-MM-DD/part-<writer>-<first>-<last>.parquet

The writer of an archive worker is the partition it reads.

A file is written below ``history/_tmp``, synced, and renamed into place: a reader never sees half of one. Its name says
who wrote it and which rows of that writer's sequence it spans. After a crash the writer resumes at its last snapshot:
files past it are removed and their rows come again from the source, so each row is there once.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.batches import Batch, Tick
from schemas.clock import HOUR, Clock, seconds, system_clock
from schemas.columns import Columnar
from schemas.errors import HistoryError, UsageError
from schemas.tables import DATASETS, StoredRecord, columns_table, dataset_of, liquidation_table, table
from sinks.files import EMPTY, explained, history_dir, lay_out, write_whole

DAY = 24 * HOUR
_WRITER = re.compile(r"[A-Za-z0-9_.]+")
_PART = re.compile(r"part-(?P<writer>[^-]+)-(?P<first>\d{12})-(?P<last>\d{12})\.parquet")


@dataclass(slots=True)
class _Buffer:
    """Rows of one dataset waiting for their file."""

    first: int
    since: int
    rows: int = 0
    parts: list[Batch | StoredRecord | pa.Table] = field(default_factory=list)


@dataclass(slots=True)
class _Part:
    """A file to write: its name is settled, so trying again cannot make a second one."""

    dataset: str
    name: str
    day: str
    table: pa.Table

    @property
    def rows(self) -> int:
        """How many."""
        return int(self.table.num_rows)


class ParquetHistory:
    """Writes records to the history, one file per dataset, day and flush.

    Exactly once, together with a source that can rewind: keep what ``snapshot`` returns with the source's position, and
    after a crash call ``rewind`` with it before feeding the source's rows again. Not for several threads.

    :arg writer: who writes; its files are its own to rewind. Must stay the same over restarts that rewind, and must
        never be used by two runs that do not: by default each instance has its own.
    :arg flush_seconds: the longest a row waits for its file.
    :arg flush_rows: rows of one dataset that make a file at once.
    :arg keep_rows: rows kept in memory while the disk refuses them; of more, the oldest are dropped and counted.
    :raises HistoryError: where the directory cannot be written.
    """

    def __init__(
        self,
        data_dir: Path,
        writer: str = "",
        *,
        flush_seconds: float = 60.0,
        flush_rows: int = 50_000,
        keep_rows: int = 1_000_000,
        clock: Clock = system_clock,
    ) -> None:
        self.writer = writer or f"{clock():x}.{os.getpid():x}"
        if not _WRITER.fullmatch(self.writer):
            raise UsageError(f"the name of a history writer is letters, digits, '_' and '.', not {writer!r}")
        self.root = history_dir(data_dir)
        self.sequence = 0
        """Rows taken so far."""
        self.rows: Counter[str] = Counter()
        """Rows written by dataset."""
        self.files = 0
        self.dropped = 0
        """Rows lost because the disk refused them for too long."""
        self._flush_every, self._flush_rows, self._keep_rows = seconds(flush_seconds), flush_rows, keep_rows
        self._clock = clock
        self._buffers: dict[str, _Buffer] = {}
        self._sealed: list[_Part] = []
        self._retry_at = 0
        lay_out(data_dir)
        for left in (self.root / "_tmp").glob(f"{self.writer}-*"):
            left.unlink(missing_ok=True)

    def append(self, batch: Batch) -> None:
        """Take everything in a batch; nothing is written before a flush."""
        if len(batch.liquidations):
            self._take("liquidations", batch, len(batch.liquidations))
        for _, record in batch.others:
            if not isinstance(record, Tick):
                self.add(record)

    def add(self, record: StoredRecord) -> None:
        """Take one record; nothing is written before a flush. Control records are not kept."""
        dataset = dataset_of(record)
        if dataset is not None:
            self._take(dataset, record, 1)

    def extend(self, rows: Columnar) -> None:
        """Take rows that are columns already; nothing is written before a flush."""
        if len(rows):
            self._take(rows.dataset, columns_table(rows.dataset, rows.columns()), len(rows))

    def _take(self, dataset: str, part: Batch | StoredRecord | pa.Table, rows: int) -> None:
        buffer = self._buffers.get(dataset)
        if buffer is None:
            buffer = self._buffers[dataset] = _Buffer(self.sequence, self._clock())
        buffer.parts.append(part)
        buffer.rows += rows
        self.sequence += rows

    @property
    def waiting(self) -> int:
        """Rows in memory that are in no file yet."""
        return sum(b.rows for b in self._buffers.values()) + sum(p.rows for p in self._sealed)

    def flush_due(self, now: int) -> int:
        """Write what has waited long enough or is enough for a file; the number of files written.

        :arg now: nanoseconds by the same clock as the constructor's.
        :raises HistoryError: as ``flush``; the next attempt is due after ``flush_seconds``.
        """
        buffers = self._buffers
        if self._sealed:
            due = list(buffers) if now >= self._retry_at else None
        elif any(now - b.since >= self._flush_every for b in buffers.values()):
            due = list(buffers)
        else:
            due = [name for name, b in buffers.items() if b.rows >= self._flush_rows] or None
        if due is None:
            self._bound()
            return 0
        return self._flush(due)

    def flush(self) -> int:
        """Write everything taken so far; the number of files written.

        :raises HistoryError: naming the path and the remedy. What was not written is kept for the next attempt.
        """
        return self._flush(list(self._buffers))

    def _flush(self, datasets: Iterable[str]) -> int:
        for dataset in datasets:
            self._sealed += self._seal(dataset, self._buffers.pop(dataset))
        written = 0
        try:
            while self._sealed:
                part = self._sealed[0]
                path = self.root / part.dataset / f"dt={part.day}" / part.name
                temporary = self.root / "_tmp" / f"{self.writer}-{part.dataset}-{part.day}"
                with explained(path):
                    write_whole(part.table, path, temporary)
                del self._sealed[0]
                self.rows[part.dataset] += part.rows
                self.files += 1
                written += 1
        except HistoryError as error:
            self._retry_at = self._clock() + self._flush_every
            self._bound()
            lost = f"; {self.dropped} rows were dropped" if self.dropped else ""
            raise HistoryError(f"{error} ({self.waiting} rows wait in memory{lost})") from error
        return written

    def _seal(self, dataset: str, buffer: _Buffer) -> Iterator[_Part]:
        """The buffer as one part per day."""
        rows = pa.concat_tables(list(_tables(dataset, buffer.parts)), promote_options="none").unify_dictionaries()
        name = f"part-{self.writer}-{buffer.first:012d}-{self.sequence:012d}.parquet"
        time = rows.column(DATASETS[dataset].time).cast(pa.int64()).to_numpy()
        days = time // DAY
        for day in np.unique(days):
            chosen = rows if (days == day).all() else rows.filter(pa.array(days == day))
            yield _Part(dataset, name, str(np.datetime64(int(day), "D")), chosen)

    def _bound(self) -> None:
        """Give up the oldest rows where the disk has refused too many."""
        while self._sealed and self.waiting > self._keep_rows:
            self.dropped += self._sealed.pop(0).rows

    def written(self) -> list[Path]:
        """The files of this writer."""
        return sorted(self.root.glob(f"*/dt=*/part-{self.writer}-*.parquet"))

    def snapshot(self) -> int:
        """Write everything and return the position to ``rewind`` to. Each snapshot makes files: take few.

        :raises HistoryError: as ``flush``.
        """
        self.flush()
        return self.sequence

    def rewind(self, sequence: int) -> int:
        """Go back to a snapshot: remove the files of this writer past it; how many. 0 is the beginning.

        :raises HistoryError: where a file spans the position, so that it is no snapshot of this writer's.
        """
        self._buffers.clear()
        self._sealed.clear()
        removed = 0
        with explained(self.root):
            for path in self.written():
                part = _PART.fullmatch(path.name)
                if part is None or int(part["last"]) <= sequence:
                    continue
                if int(part["first"]) < sequence:
                    raise HistoryError(f"{path} spans {sequence}: that is no snapshot of writer {self.writer!r}")
                path.unlink(missing_ok=True)
                removed += 1
        self.sequence = sequence
        return removed

    def close(self) -> None:
        """Write what waits. The history can be used again after.

        :raises HistoryError: as ``flush``.
        """
        self.flush()


def _tables(dataset: str, parts: list[Batch | StoredRecord | pa.Table]) -> Iterator[pa.Table]:
    """The parts in order, neighbours of one kind together."""
    for names, group in groupby(parts, _names):
        if names == _COLUMNS:
            yield from group
        elif names is None:
            yield table(dataset, group)  # type: ignore[arg-type] # no names means records
        else:
            yield _joined(list(group))


_COLUMNS = (0, 0)


def _names(part: Any) -> tuple[int, int] | None:
    if isinstance(part, pa.Table):
        return _COLUMNS
    return (id(part.instruments), id(part.assets)) if isinstance(part, Batch) else None


def _joined(batches: list[Any]) -> pa.Table:
    columns = type(batches[0].liquidations).concatenate([batch.liquidations for batch in batches])
    return liquidation_table(columns, batches[0].instruments, batches[0].assets)


__all__ = ["EMPTY", "ParquetHistory", "history_dir", "lay_out"]
