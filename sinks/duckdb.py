"""SQL over the history: ``history.duckdb`` holds nothing but views of the Parquet files, so everyone may open it.

Any number of readers may query while the pipeline writes: DuckDB never holds a file the writer needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import duckdb

from schemas.errors import HistoryError
from schemas.manifest import read_manifest
from schemas.tables import DATASETS
from sinks.files import history_dir, lay_out
from sinks.views import file_views, statements, views

FILE = "history.duckdb"

Answer = TypeVar("Answer")


def create_views(data_dir: Path) -> Path:
    """Make ``history.duckdb`` unless it is there and fits; any number of processes may do so at once.

    It is made anew when the data directory has moved or the views have changed.

    :raises HistoryError: where it cannot be written.
    """
    lay_out(data_dir)
    root = history_dir(data_dir)
    path = root.parent / FILE
    wanted = list(statements(root, read_manifest(root)))
    mark = _mark(wanted)
    if _mark_of(path) == mark:
        return path
    temporary = root / "_tmp" / f"{FILE}.{os.getpid()}"
    try:
        temporary.unlink(missing_ok=True)
        with duckdb.connect(str(temporary)) as made:
            for statement in wanted:
                made.execute(statement)
            made.execute(f"CREATE VIEW files.about AS SELECT '{mark}' AS mark")
        temporary.replace(path)
    except (OSError, duckdb.Error) as error:
        temporary.unlink(missing_ok=True)
        raise HistoryError(f"cannot write {path}: {error}; see that the directory can be written") from error
    return path


def connect(data_dir: Path) -> duckdb.DuckDBPyConnection:
    """Open the views for reading; in memory where the file cannot be made or opened. One connection per thread.

    A directory without a history is left as it is and has empty views.

    :raises HistoryError: where there is no such directory.
    """
    if not Path(data_dir).is_dir():
        raise HistoryError(f"there is no data directory {data_dir}; run the pipeline first, or give --data-dir")
    if not history_dir(data_dir).is_dir():
        return _with_views(history_dir(data_dir))
    with suppress(HistoryError, duckdb.Error):
        return _set(duckdb.connect(str(create_views(data_dir)), read_only=True))
    return _with_views(history_dir(data_dir))


class Vanished(HistoryError):
    """Files were compacted away after the views were opened, before anything was put out: opened anew, all is there."""


def asked(data_dir: Path, work: Callable[[duckdb.DuckDBPyConnection], Answer], tries: int = 5) -> Answer:
    """What ``work`` makes of the opened history; again on views made anew where files went away.

    :arg work: puts nothing out before it has read, or turns what DuckDB raises after that into something else.
    :raises HistoryError: as ``connect``, or where files went away each time.
    """
    with closing(connect(data_dir)) as connection, suppress(Vanished), vanishing():
        return work(connection)
    for _ in range(tries - 1):
        # In memory: a file that is open elsewhere in this process would be given with the views it had then.
        with closing(_with_views(history_dir(data_dir))) as connection, suppress(Vanished), vanishing():
            return work(connection)
    raise HistoryError(f"files were compacted away while reading, {tries} times: ask again")


@contextmanager
def vanishing() -> Iterator[None]:
    """Tell of a file that is gone as ``Vanished``. For what comes before the first output only."""
    try:
        yield
    except duckdb.IOException as error:
        if "No such file" in str(error) or "No files found" in str(error):
            raise Vanished("files were compacted away while reading: ask again") from error
        raise


def _set(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """UTC, and without the optimisers that may lose rows of many files (see ``sinks.views``)."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET disabled_optimizers = 'top_n_window_elimination,late_materialization'")
    # The views' sizes are guessed far too low, and an as-of join of few rows would be done row by row.
    connection.execute("SET asof_loop_join_threshold = 0")
    return connection


def in_memory() -> duckdb.DuckDBPyConnection:
    """A connection without views, set as all are."""
    return _set(duckdb.connect())


def _with_views(root: Path) -> duckdb.DuckDBPyConnection:
    """The views as the manifest has them now; a dataset without any file is an empty table."""
    connection, manifest = in_memory(), read_manifest(root)
    connection.execute("CREATE SCHEMA files")
    for dataset in DATASETS.values():
        connection.register("nothing", dataset.schema.empty_table())
        connection.execute(f"CREATE TABLE files.{dataset.name}_nothing AS FROM nothing")
        connection.execute(f"ALTER TABLE files.{dataset.name}_nothing ADD COLUMN dt DATE")
        connection.unregister("nothing")
        for statement in file_views(root, dataset, manifest):
            connection.execute(statement)
    for statement in views(root, manifest):
        connection.execute(statement)
    return connection


def _mark(wanted: list[str]) -> str:
    return blake2b("\n".join(wanted).encode(), digest_size=8).hexdigest()


def _mark_of(path: Path) -> str:
    """What the file was made from; nothing where it is absent or no such file."""
    if not path.exists():
        return ""
    try:
        with duckdb.connect(str(path), read_only=True) as made:
            row = made.execute("SELECT mark FROM files.about").fetchall()
            return str(row[0][0])
    except duckdb.IOException as held:
        if "lock" in str(held):
            raise
        return ""
    except duckdb.Error:
        return ""


__all__ = ["FILE", "Vanished", "asked", "connect", "create_views", "in_memory", "vanishing"]
