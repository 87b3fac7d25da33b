"""How far a long run has come: a bar on stderr where that is a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

Piece = TypeVar("Piece")
Result = TypeVar("Result")
_RESULTS = {"windows", "cascades", "signals", "dead_letters"}


def shown(
    files: Iterable[Path],
    read: Callable[[Path], Iterator[Piece]],
    count: Callable[[Piece], int],
    console: Console | None = None,
) -> Iterator[Piece]:
    """What ``read`` makes of each file, with a bar: files, bytes, rows so far, time left.

    Within a Parquet file bytes go by rows; how much of a recording is left nobody knows, it counts when it is over.
    """
    files = list(files)
    told = console or Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=told, disable=not told.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=sum(map(size, files)), rows=0)
        before = rows = 0
        for number, file in enumerate(files, 1):
            bar.update(task, description=f"{file.name} ({number}/{len(files)})")
            begun, whole, bytes_ = rows, rows_of(file), size(file)
            for piece in read(file):
                yield piece
                rows += count(piece)
                share = min((rows - begun) / whole, 1.0) if whole else 0.0
                bar.update(task, completed=before + share * bytes_, rows=rows)
            before += bytes_
            bar.update(task, completed=before)


def done(results: Iterable[Result], total: int, what: str, console: Console | None = None) -> Iterator[Result]:
    """The results as they come, with a bar: how many of how many, and the time left."""
    told = console or Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=told, disable=not told.is_terminal, transient=True) as bar:
        yield from bar.track(results, total=total, description=what)


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a directory."""
    return sum(file.stat().st_size for file in _files(path))


def rows_of(path: Path) -> int:
    """Rows of the Parquet files at or below a path, 0 where there are none that can be read."""
    total = 0
    for file in _files(path):
        if file.suffix == ".parquet":
            try:
                total += pq.read_metadata(file).num_rows
            except (OSError, pa.ArrowInvalid):
                continue
    return total


def _files(path: Path) -> Iterator[Path]:
    """Of a history, what a replay reads: its results it makes anew."""
    if not path.is_dir():
        yield path
    else:
        yield from (file for file in path.rglob("*.parquet") if not _RESULTS.intersection(file.parts))
