"""Breakwater's own history read back: forced closes as columns, everything else as records, letters as frames.

Reads one file (in the order it was written), one day, a dataset, or a whole data directory; from a directory, rows come
by receive time and each event once, as in the SQL views.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from connectors.exchange import Frame
from schemas.batches import Batch, LiquidationColumns, Names, Tick
from schemas.errors import RecordingError
from schemas.manifest import FILE as MANIFEST
from schemas.manifest import Manifest, read_manifest
from schemas.records import MarketRecord
from schemas.tables import DATASETS, dataset_name, liquidation_columns, records

CONTEXT = ("open_interest", "funding", "mark_prices", "trades", "feeds")
"""The datasets that go with forced closes when a whole data directory is replayed."""
_ROW_GROUP = 65_536

Other = tuple[int, MarketRecord]


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file.

    :raises RecordingError: where it cannot be read.
    """
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise RecordingError(f"cannot read {path}: {error}") from error


def is_history(path: Path) -> bool:
    """Whether the path is a file or directory Breakwater's history wrote."""
    if path.is_dir():
        return bool(_days(path))
    return dataset_name(open_parquet(path).schema_arrow) in DATASETS


def read_history(path: Path, rows: int = 10_000) -> Iterator[Batch]:
    """The rows of a file, day, dataset or data directory, ``rows`` at a time.

    :raises RecordingError: where the path is none of these.
    """
    names, assets = Names(), Names()
    if path.is_file():
        yield from _of_file(path, rows, names, assets)
        return
    days = _days(path)
    if not days:
        raise RecordingError(f"{path} holds no history: give a data directory, a dataset, a day or a file")
    instruments = _Names(names)
    for day in sorted(days):
        columns, others = _of_day(days[day], names, assets)
        yield from batches(columns, others, instruments, assets, rows)


def read_dead_letters(path: Path) -> Iterator[Frame]:
    """The dead letters of a file, day or dataset as the frames they were, to be read again.

    :raises RecordingError: where there are none to be read.
    """
    files = [path] if path.is_file() else [file for day in _days(path).values() for file in day.get("dead_letters", [])]
    for file in sorted(files):
        opened = open_parquet(file)
        if dataset_name(opened.schema_arrow) != "dead_letters":
            raise RecordingError(f"{file} holds no dead letters")
        for letter in records(opened.read()):
            yield Frame(letter.venue, letter.feed, letter.raw, letter.receive_time)


def batches(
    columns: LiquidationColumns, others: Sequence[Other], instruments: Sequence[str], assets: Names, rows: int
) -> Iterator[Batch]:
    """Forced closes and other records in their common order, ``rows`` of both together at a time."""
    place = np.array([before for before, _ in others], np.int64) + np.arange(len(others))
    total = len(columns) + len(others)
    for start in range(0, total, rows):
        end = min(start + rows, total)
        first, last = (int(index) for index in np.searchsorted(place, [start, end]))
        row = start - first
        chosen: list[tuple[int, MarketRecord | Tick]] = [
            (before - row, record) for before, record in others[first:last]
        ]
        yield Batch(columns.take(slice(row, end - last)), instruments, assets, chosen)


class _Names(Sequence[str]):
    """Names as the sequence a batch carries."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, code: Any) -> Any:
        return self._names[code]


def _of_file(path: Path, rows: int, names: Names, assets: Names) -> Iterator[Batch]:
    file = open_parquet(path)
    dataset = dataset_name(file.schema_arrow)
    if dataset not in DATASETS:
        raise RecordingError(f"{path} was not written by Breakwater")
    instruments = _Names(names)
    for part in file.iter_batches(_ROW_GROUP):
        if dataset == "liquidations":
            columns = liquidation_columns(part, names, assets)
            yield from batches(columns, (), instruments, assets, rows)
        else:
            others = [(0, record) for record in records(part, dataset)]
            yield from batches(LiquidationColumns.empty(), others, instruments, assets, rows)


def _days(path: Path) -> dict[str, dict[str, list[Path]]]:
    """Day -> dataset -> files, of a compacted day those that stand for it."""
    for pattern in ("history/*/dt=*/*.parquet", "*/dt=*/*.parquet", "dt=*/*.parquet", "*.parquet"):
        days: dict[str, dict[str, list[Path]]] = {}
        manifests: dict[Path, Manifest | None] = {}
        for file in sorted(path.resolve().glob(pattern)):
            day, dataset, root = file.parent.name, file.parent.parent.name, file.parents[2]
            if not day.startswith("dt=") or dataset not in DATASETS or file.name.startswith(("_", "swept-")):
                continue
            if root not in manifests:
                manifests[root] = read_manifest(root) if (root / MANIFEST).exists() else None
            manifest = manifests[root]
            if manifest is None or manifest.shows(dataset, file):
                days.setdefault(day, {}).setdefault(dataset, []).append(file)
        if days:
            return days
    return {}


def _of_day(files: dict[str, list[Path]], names: Names, assets: Names) -> tuple[LiquidationColumns, list[Other]]:
    columns = LiquidationColumns.concatenate(
        [liquidation_columns(open_parquet(file).read(), names, assets) for file in files.get("liquidations", [])]
    )
    columns = in_order(_once(columns))
    wanted = CONTEXT if len(files) > 1 else tuple(files)
    told = [
        record
        for dataset in wanted
        if dataset != "liquidations"
        for file in files.get(dataset, [])
        for record in records(open_parquet(file).read(), dataset)
    ]
    return columns, placed(columns.receive_time, told)


def _once(columns: LiquidationColumns) -> LiquidationColumns:
    ordered = np.sort(columns.event_id)
    if not (ordered[1:] == ordered[:-1]).any():
        return columns
    return columns.take(np.sort(np.unique(columns.event_id, return_index=True)[1]))


def in_order(columns: LiquidationColumns) -> LiquidationColumns:
    """The rows by receive time, equal ones in the order they were."""
    times = columns.receive_time
    return columns if (times[1:] >= times[:-1]).all() else columns.take(np.argsort(times, kind="stable"))


def placed(times: NDArray[np.int64], others: Sequence[Any]) -> list[Other]:
    """Each record with the number of forced closes received before it, by receive time."""
    received = np.array([_received(record) for record in others], np.int64)
    order = np.argsort(received, kind="stable")
    before = np.searchsorted(times, received[order], side="right")
    return [(int(count), others[index]) for count, index in zip(before, order, strict=True)]


def _received(record: Any) -> int:
    time = getattr(record, "receive_time", None)
    return int(record.event_time if time is None else time)
