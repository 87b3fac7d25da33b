"""One SQL question over the history, answered as a stream: a table for people, CSV, JSON or Parquet for programs.

A question may only read, and only the history: it is one SELECT whose syntax tree holds nothing else (DuckDB accepts a
COPY inside WITH as a SELECT), on a connection that can open no other file and whose settings are locked.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import duckdb
import msgspec
import pyarrow.parquet as pq

from schemas.errors import HistoryError, UsageError
from sinks.duckdb import asked, vanishing
from sinks.files import history_dir
from sinks.views import EXAMPLES

Format = Literal["table", "csv", "json", "parquet"]
FORMATS: tuple[Format, ...] = ("table", "csv", "json", "parquet")

_READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_CHUNK = 10_000
_SHOWN = 100
_WIDE = 200
_FRACTIONS = frozenset({"DOUBLE", "FLOAT"})
_NUMBERS = _FRACTIONS | {"BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UBIGINT", "UINTEGER", "HUGEINT", "DECIMAL"}

Item = TypeVar("Item")


def query(data_dir: Path, sql: str, format: Format = "table", out: BinaryIO | Path | None = None) -> None:
    """Answer one SELECT.

    :arg out: a binary stream or a path; standard output where neither is given.
    :raises UsageError: where the question is no single SELECT, or DuckDB does not understand it; with DuckDB's words.
    :raises HistoryError: where the history cannot be read.
    """
    if format not in FORMATS:
        raise UsageError(f"no format {format!r}; choose from {', '.join(FORMATS)}")
    with opened(out) as stream:
        ask(data_dir, sql, format, stream)


def ask(data_dir: Path, sql: str, format: Format, stream: BinaryIO) -> None:
    """Answer one SELECT on a stream; as ``query``."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        lock(connection, data_dir)
        answer(connection, sql, format, stream)

    asked(data_dir, work)


def lock(connection: duckdb.DuckDBPyConnection, data_dir: Path) -> None:
    """Let the connection read the history and nothing else, for good."""
    root = str(history_dir(data_dir)).replace("'", "''")
    connection.execute("SET python_enable_replacements = false")
    connection.execute(f"SET allowed_directories = ['{root}/']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def answer(connection: duckdb.DuckDBPyConnection, sql: str, format: Format, stream: BinaryIO) -> None:
    """Answer one SELECT on an open connection.

    :raises Vanished: where files were compacted away before anything was put out.
    """
    with told(connection):
        select = single_select(connection, sql)
        with vanishing():
            relation = connection.sql(select)
        WRITERS[format](relation, stream)


def single_select(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The question, if it is exactly one statement that only reads.

    :raises UsageError: where it is not.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError(f"one SELECT at a time, and nothing else: the history is only read; e.g. {EXAMPLES[0]!r}")
    select = str(statements[0].query)
    tree = connection.execute("SELECT json_serialize_sql(?)", [select]).fetchall()[0][0]
    other = set(_nodes(msgspec.json.decode(tree))) - _READING
    if other:
        raise UsageError(f"a question may only read, this one holds {', '.join(sorted(other))}")
    return select


def _nodes(tree: Any) -> Iterator[str]:
    """The kind of every query in a syntax tree."""
    pending = [tree]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            kind = item.get("type")
            if isinstance(kind, str) and kind.endswith("_NODE"):
                yield kind
            pending += item.values()
        elif isinstance(item, list):
            pending += item


def _primed(make: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    """An iterator whose first item is already there, so that its errors come before any output."""
    with vanishing():
        items = make()
        first = list(islice(items, 1))
    return chain(first, items)


def _texts(relation: Any) -> Iterator[list[tuple[Any, ...]]]:
    """The rows as text, as DuckDB writes it, in chunks."""
    for batch in relation.project("COLUMNS(*)::VARCHAR").to_arrow_reader(_CHUNK):
        yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _write_csv(relation: Any, stream: BinaryIO) -> None:
    chunks = _primed(lambda: _texts(relation))
    text = io.TextIOWrapper(stream, "utf-8", newline="", write_through=True)
    try:
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(relation.columns)
        for chunk in chunks:
            rows.writerows(chunk)
    finally:
        text.detach()


def _write_json(relation: Any, stream: BinaryIO) -> None:
    """An array with one object per line; what is not finite is null, JSON having no word for it."""
    quoted = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name, kind in _columns(relation) if kind in _FRACTIONS]
    finite = ", ".join(f"if(isfinite({name}), {name}, NULL) AS {name}" for name in quoted)
    objects = relation.project(f"* REPLACE ({finite})" if finite else "*").set_alias("row").project("to_json(row)")
    chunks = _primed(lambda: _texts(objects))
    separator = b"[\n"
    for chunk in chunks:
        stream.write(separator + ",\n".join(row for (row,) in chunk).encode())
        separator = b",\n"
    stream.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def _write_parquet(relation: Any, stream: BinaryIO) -> None:
    reader = relation.to_arrow_reader(_CHUNK)
    batches = _primed(lambda: iter(reader))
    with pq.ParquetWriter(stream, reader.schema, compression="zstd") as file:
        for batch in batches:
            file.write_batch(batch)


def _write_table(relation: Any, stream: BinaryIO) -> None:
    """The first rows, each value on a line of its own where they are too wide."""
    rows = [row for chunk in _primed(lambda: _texts(relation.limit(_SHOWN + 1))) for row in chunk]
    numeric = [kind in _NUMBERS for _, kind in _columns(relation)]
    cells = [[_cell(value, number) for value, number in zip(row, numeric, strict=True)] for row in rows[:_SHOWN]]
    text = io.TextIOWrapper(stream, "utf-8", write_through=True)
    try:
        _draw(relation.columns, numeric, cells, text)
        if len(rows) > _SHOWN:
            text.write(f"the first {_SHOWN} rows; format csv, json or parquet gives all\n")
        elif not rows:
            text.write("no rows\n")
    finally:
        text.detach()


def _columns(relation: Any) -> list[tuple[str, str]]:
    """Name and type, without the type's own terms."""
    return [(name, str(kind).partition("(")[0]) for name, kind in zip(relation.columns, relation.types, strict=True)]


def _draw(names: list[str], numeric: list[bool], rows: list[list[str]], text: io.TextIOWrapper) -> None:
    from rich.console import Console  # noqa: PLC0415 - start-up time
    from rich.table import Table  # noqa: PLC0415 - start-up time

    console = Console(file=text, width=None if text.isatty() else _WIDE, highlight=False, markup=False)
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    if rows and sum(widths) + 3 * len(widths) + 1 > console.width:
        longest = max(map(len, names))
        for number, row in enumerate(rows, 1):
            text.write(f"-- {number} " + "-" * longest + "\n")
            text.writelines(f"{name:<{longest}}  {value}\n" for name, value in zip(names, row, strict=True))
        return
    table = Table(header_style="bold")
    for name, right in zip(names, numeric, strict=True):
        table.add_column(name, justify="right" if right else "left", overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _cell(value: str | None, number: bool) -> str:
    if value is None:
        return "-"
    if number and "." in value:
        with suppress(ValueError):
            return f"{float(value):,.2f}" if abs(float(value)) >= 100 else f"{float(value):.6g}"
    return value


WRITERS: dict[Format, Callable[[Any, BinaryIO], None]] = {
    "table": _write_table,
    "csv": _write_csv,
    "json": _write_json,
    "parquet": _write_parquet,
}


@contextmanager
def opened(out: BinaryIO | Path | None) -> Iterator[BinaryIO]:
    """Where an answer goes: a stream, a path, or standard output."""
    if out is None:
        import sys  # noqa: PLC0415 - only the default needs it

        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif isinstance(out, Path):
        try:
            with out.open("wb") as file:
                yield file
        except OSError as error:
            raise HistoryError(f"cannot write {out}: {error.strerror or error}") from error
    else:
        yield out


@contextmanager
def told(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Turn what DuckDB raises into our exceptions, its words included."""
    try:
        yield
    except duckdb.CatalogException as error:
        raise UsageError(f"{error}\nviews: {', '.join(view_names(connection))}") from error
    except duckdb.PermissionException as error:
        raise UsageError(f"{error}\na question may read the history and no other file") from error
    except duckdb.ProgrammingError as error:
        raise UsageError(str(error)) from error
    except duckdb.Error as error:
        raise HistoryError(str(error)) from error


def view_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """What can be asked, without the views of bare files."""
    return [row[0] for row in connection.execute("SHOW TABLES").fetchall()]
