"""Compaction: the many parts of a day that is over become one sorted file in which each row is there once.

A run *seals* and *sweeps*, under a lock that a dying process releases:

1. ``dt=D/day-<n>.parquet`` is written from the parts that no seal of the day holds yet: each row once (the first
   received), none that an earlier seal has, sorted by asset and time so that statistics pick an asset's rows; its rows
   are counted against the parts. Nobody reads it yet.
2. The manifest names it and the parts it replaces: one rename, from which on everyone reads the seal. The views are
   made anew. Views from before still read the parts, which are still there.
3. Parts replaced for longer than ``grace`` are removed, after the marker that older views name
   (``sinks.files.marker``): such a view fails, and its question is asked again on new ones.

A process killed anywhere leaves nothing lost or twice: before 2 the file is in nobody's way and is written anew, after
2 the removal is taken up by the next run.

A running writer is not disturbed. It may add rows of a sealed day (late ones, a venue's replay): they are read beside
the seal, but for those the seal has, and sealed by the next run as a file of their own. It may rewind and write again
what was sealed meanwhile: the same, rows are known by their keys; and a rewind only removes parts, it needs none. A
part is removed only if it is still the very file that was replaced: one that a rewound writer wrote anew stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from itertools import count
from pathlib import Path
from shutil import rmtree
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.clock import MINUTE, SECOND
from schemas.errors import HistoryError, UsageError
from schemas.manifest import FILE, LOCK, Manifest, Replaced, Seal, Sealed, columns_of, read_manifest
from schemas.tables import DATASETS, Dataset
from sinks.duckdb import create_views, in_memory
from sinks.files import ROW_GROUP, empty_file, explained, history_dir, lay_out, marker, placed, settled
from sinks.views import HOURS, hours_of, keyed, once, read, same

GRACE = 10 * MINUTE
"""How long replaced parts stay for readers that began before, ns."""
_OVER = 15 * MINUTE
"""How long after its end a day counts as over: what was on its way has come."""
_MEMORY = "1GB"
"""What sorting may take; more goes through files below ``_tmp``."""


@dataclass(slots=True)
class Compacted:
    """What a run did."""

    days: int = 0
    """Days of datasets sealed, or sealed further."""
    rows: int = 0
    """Rows in new seals."""
    doubles: int = 0
    """Rows left out because they were there already."""
    replaced: int = 0
    """Parts that new seals stand for."""
    removed: int = 0
    """Parts removed."""
    waiting: int = 0
    """Replaced parts still there for readers that began before."""


def last_closed(now: int) -> date:
    """The day before which all days are over."""
    return day_of(now - _OVER)


def day_of(time: int) -> date:
    """The UTC day of a time in nanoseconds."""
    return datetime.fromtimestamp(time // SECOND, UTC).date()


def compact(data_dir: Path, now: int, before: date | None = None, grace: int = GRACE) -> Compacted:
    """Seal the days before ``before`` and remove the parts replaced long enough ago.

    :arg now: nanoseconds.
    :arg before: a day; by default today (UTC), from a quarter of an hour after midnight.
    :arg grace: nanoseconds replaced parts stay.
    :raises UsageError: where a day is not over.
    :raises HistoryError: where another run is at work, or the history cannot be read or written.
    """
    closed = last_closed(now)
    if before is not None and before > closed:
        raise UsageError(f"only days that are over are compacted, those before {closed}; {before} is later")
    root = history_dir(data_dir)
    if not root.is_dir():
        raise HistoryError(f"there is no history below {data_dir}; run the pipeline first, or give --data-dir")
    lay_out(data_dir)
    done = Compacted()
    with alone(root), explained(root), _told():
        for dataset in DATASETS.values():
            for folder in sorted(root.glob(f"{dataset.name}/dt=*")):
                day = folder.name.removeprefix("dt=")
                if day < str(before or closed):
                    _seal(root, dataset, day, now, done)
        if not _sweep(data_dir, root, now - grace, done):
            create_views(data_dir)
    return done


@contextmanager
def _told() -> Iterator[None]:
    """Turn what reading and sorting raise into our exception."""
    try:
        yield
    except (duckdb.Error, pa.ArrowInvalid) as error:
        raise HistoryError(f"cannot compact: {error}; what was sealed before stays, run it again") from error


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Nobody else seals or removes meanwhile; released when the process ends, however it ends.

    :raises HistoryError: where somebody does.
    """
    with (root / LOCK).open("ab") as held:
        try:
            flock(held, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise HistoryError("another process is compacting or retaining this history: wait for it") from None
        # A writer's name has no dash, so what begins with one is never a writer's.
        for left in (root / "_tmp").glob("-compact*"):
            rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        if not (root / FILE).exists():
            save(root, read_manifest(root))
        yield


def save(root: Path, manifest: Manifest) -> None:
    """Make this the manifest, at once and for good."""
    with placed(root / FILE, root / "_tmp" / "-compact-manifest") as file:
        file.write(msgspec.json.encode(manifest))


def _seal(root: Path, dataset: Dataset, day: str, now: int, done: Compacted) -> None:
    manifest = read_manifest(root)
    state, folder = manifest.of(dataset.name), root / dataset.name / f"dt={day}"
    parts = sorted(path for path in folder.glob("part-*.parquet") if manifest.shows(dataset.name, path))
    if not parts:
        return
    stats = [path.stat() for path in parts]
    seals = state.days.get(day, ())
    held = sum(_rows(path) for path in parts)
    name = _next(seals)
    rows = _write(root, dataset, folder, parts, [folder / seal.file for seal in seals], folder / name)
    seals += (Seal(name, rows, columns_of(dataset.schema)),) if rows else ()
    gone = {
        f"{folder.name}/{path.name}": Replaced(stat.st_size, stat.st_mtime_ns, now)
        for path, stat in zip(parts, stats, strict=True)
    }
    after = str(date.fromordinal(date.fromisoformat(day).toordinal() + 1))
    days = {**state.days, day: seals} if seals else state.days
    sealed = Sealed(max(state.until, after), state.swept, days, {**state.replaced, **gone})
    save(root, Manifest(datasets={**manifest.datasets, dataset.name: sealed}))
    done.days += 1
    done.rows += rows
    done.doubles += held - rows
    done.replaced += len(gone)


def _rows(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except pa.ArrowInvalid as error:
        raise HistoryError(f"{path} is no Parquet ({error}): move it away; days before it are sealed") from error


def _next(seals: tuple[Seal, ...]) -> str:
    """A name no seal has had; a file of that name that nobody named is written over."""
    taken = {seal.file for seal in seals}
    return next(name for n in count(1) if (name := f"day-{n}.parquet") not in taken)


def _write(root: Path, dataset: Dataset, folder: Path, parts: list[Path], seals: list[Path], path: Path) -> int:
    """Write the rows of the parts that no seal holds; how many. The sums by hour go before the rows they are of."""
    name = dataset.name
    with in_memory() as connection:
        connection.execute(f"SET memory_limit = '{_MEMORY}'")
        connection.execute(
            f"SET temp_directory = '{str(root / '_tmp' / '-compact-sort').replace(chr(39), chr(39) * 2)}'"
        )
        empty = empty_file(root, name)
        connection.execute(f"CREATE VIEW parts AS {read([empty, *parts], union=True, rows=True)}")
        connection.execute(f"CREATE VIEW seals AS {read([empty, *seals], union=True)}")
        connection.execute(
            f"CREATE VIEW fresh AS SELECT * FROM {once('parts', name, 'filename, file_row_number')} AS part "  # noqa: S608 - our own names
            f"WHERE NOT EXISTS (SELECT 1 FROM seals AS day WHERE {same(name, 'day', 'part')})"
        )
        rows = _expected(connection, name)
        if not rows:
            return 0
        if name == "liquidations":
            hours = connection.sql(f"{hours_of('fresh')} ORDER BY ALL").project("* EXCLUDE (dt)")
            _store(hours, None, root, root / HOURS / folder.name / path.name)
        _store(connection.sql(_sorted(dataset)), dataset.schema, root, path)
    written = _rows(path)
    if written != rows:
        path.unlink()
        raise HistoryError(f"{folder}: {rows} rows to seal but {written} were written; nothing was changed")
    return rows


def _expected(connection: duckdb.DuckDBPyConnection, dataset: str) -> int:
    """How many rows a seal must have, counted apart from the query that makes it."""
    keys = f"SELECT DISTINCT part.* FROM (SELECT dt, {keyed(dataset)} FROM parts) AS part"  # noqa: S608 - our own names
    asked = f"SELECT count(*) FROM ({keys} ANTI JOIN seals AS day ON {same(dataset, 'day', 'part')})"  # noqa: S608 - same
    return int(connection.execute(asked).fetchall()[0][0])


def _sorted(dataset: Dataset) -> str:
    """By asset and receipt, equal ones as they came: an asset's rows are together, and replay keeps their order."""
    names = dataset.schema.names
    order = [
        f'"{name}"' for name in ("asset", "receive_time" if "receive_time" in names else dataset.time) if name in names
    ]
    columns = ", ".join(f'"{name}"' for name in names)
    return f"SELECT {columns} FROM fresh ORDER BY {', '.join(order)}, filename, file_row_number"  # noqa: S608 - our own names


def _store(relation: Any, schema: pa.Schema | None, root: Path, path: Path) -> None:
    reader = relation.to_arrow_reader(ROW_GROUP)
    schema = schema or reader.schema
    temporary = root / "_tmp" / f"-compact-{path.parent.parent.name}"
    with placed(path, temporary) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in regrouped(reader):
            writer.write_table(group.cast(schema), row_group_size=ROW_GROUP)


def regrouped(reader: Any) -> Iterator[pa.Table]:
    """The rows of a reader in tables of one row group each, however they come."""
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in reader:
        waiting.append(batch)
        held += batch.num_rows
        while held >= ROW_GROUP:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, ROW_GROUP)
            waiting = table.slice(ROW_GROUP).to_batches()
            held -= ROW_GROUP
    if held:
        yield pa.Table.from_batches(waiting)


def _sweep(data_dir: Path, root: Path, until: int, done: Compacted) -> bool:
    """Remove the parts replaced until then; whether there were any, and so the views were made anew."""
    manifest = read_manifest(root)
    due: dict[str, dict[str, Replaced]] = {}
    for name, state in manifest.datasets.items():
        if long_ago := {file: old for file, old in state.replaced.items() if old.since <= until}:
            due[name] = long_ago
        done.waiting += len(state.replaced) - len(long_ago)
    if not due:
        return False
    outdate(data_dir, root, due)
    for name, files in due.items():
        for file, old in files.items():
            if old.is_file(path := root / name / file):
                path.unlink(missing_ok=True)
                done.removed += 1
    states = read_manifest(root).datasets
    for name, files in due.items():
        left = {file: old for file, old in states[name].replaced.items() if file not in files}
        states[name] = msgspec.structs.replace(states[name], replaced=left)
    save(root, Manifest(datasets=states))
    return True


def outdate(data_dir: Path, root: Path, datasets: Collection[str]) -> None:
    """Let every view made before fail, so that files it reads can be removed."""
    manifest = read_manifest(root)
    before = [marker(root, name, manifest) for name in datasets]
    states = {name: manifest.of(name) for name in datasets}
    raised = {name: msgspec.structs.replace(state, swept=state.swept + 1) for name, state in states.items()}
    save(root, Manifest(datasets={**manifest.datasets, **raised}))
    create_views(data_dir)
    with settled(root):
        for path in before:
            path.unlink(missing_ok=True)
