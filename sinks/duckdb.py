"""SQL over the history: ``history.duckdb`` holds nothing but views of the Parquet files, so everyone may open it.

Any number of readers may query while the pipeline writes: DuckDB never holds a file the writer needs.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import duckdb

from schemas.errors import HistoryError
from schemas.tables import DATASETS
from sinks.parquet import history_dir, lay_out
from sinks.views import file_view, statements, views

FILE = "history.duckdb"


def create_views(data_dir: Path) -> Path:
    """Make ``history.duckdb`` unless it is there and fits; any number of processes may do so at once.

    It is made anew when the data directory has moved or the views have changed.

    :raises HistoryError: where it cannot be written.
    """
    lay_out(data_dir)
    root = history_dir(data_dir)
    path = root.parent / FILE
    wanted = list(statements(root))
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
        return _in_memory(history_dir(data_dir))
    with suppress(HistoryError, duckdb.Error):
        return _set(duckdb.connect(str(create_views(data_dir)), read_only=True))
    return _in_memory(history_dir(data_dir))


def _set(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """UTC, and without the optimisers that may lose rows of many files (see ``sinks.views``)."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET disabled_optimizers = 'top_n_window_elimination,late_materialization'")
    return connection


def _in_memory(root: Path) -> duckdb.DuckDBPyConnection:
    connection = _set(duckdb.connect())
    connection.execute("CREATE SCHEMA files")
    for dataset in DATASETS.values():
        if any(root.glob(f"{dataset.name}/dt=*/*.parquet")):
            connection.execute(file_view(root, dataset))
        else:
            connection.register("nothing", dataset.schema.empty_table())
            connection.execute(f"CREATE TABLE files.{dataset.name} AS FROM nothing")
            connection.execute(f"ALTER TABLE files.{dataset.name} ADD COLUMN dt DATE")
            connection.unregister("nothing")
    for statement in views():
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


__all__ = ["FILE", "connect", "create_views"]
