"""A range of the history as files to hand on, with a manifest that says what they are.

The same history gives the same bytes, compacted or not: rows come through the views, each once, in one order (time,
then what makes a row unique), in row groups of one size, and nothing tells when it was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Literal

import duckdb
import msgspec
import pyarrow.parquet as pq

from schemas.clock import MICROSECOND, SECOND
from schemas.errors import HistoryError, UsageError
from schemas.tables import DATASETS, SCHEMA_VERSION
from sinks.compaction import regrouped
from sinks.duckdb import asked
from sinks.files import ROW_GROUP, placed
from sinks.query import WRITERS
from sinks.views import KEYS, view_of

ExportFormat = Literal["parquet", "csv", "json"]
FORMATS: tuple[ExportFormat, ...] = ("parquet", "csv", "json")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export."""

    datasets: tuple[str, ...] = ("liquidations",)
    since: int | None = None
    """First time, nanoseconds; nothing: from the beginning."""
    until: int | None = None
    """The time that no row reaches, nanoseconds; nothing: to the end."""
    assets: tuple[str, ...] = ()
    """Base assets; none: all."""


class Exported(msgspec.Struct, frozen=True):
    """One file, as the manifest has it."""

    file: str
    dataset: str
    rows: int
    bytes: int
    sha256: str
    columns: dict[str, str]
    """Name to type, as DuckDB calls it."""


def export(data_dir: Path, out: Path, wanted: Wanted, format: ExportFormat, version: str) -> list[Exported]:
    """Write one file per dataset and a manifest: ``manifest.json``, or ``<file>.manifest.json`` beside a single file.

    :arg out: a directory; or a file, by its ending, for one dataset. What is there is replaced, the manifest last.
    :arg version: of Breakwater, for the manifest.
    :raises UsageError: where there is no such dataset, or none by asset.
    :raises HistoryError: where the history cannot be read or a file not written.
    """
    _check(wanted, format)
    single = out.suffix == f".{format}"
    if single and len(wanted.datasets) > 1:
        raise UsageError(f"{out} is one file, for one dataset: name a directory for {', '.join(wanted.datasets)}")
    paths = {name: out if single else out / f"{name}.{format}" for name in wanted.datasets}
    manifest = out.with_name(f"{out.name}.manifest.json") if single else out / "manifest.json"
    try:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.unlink(missing_ok=True)
        files = [_file(data_dir, name, path, wanted, format) for name, path in paths.items()]
        with placed(manifest, manifest.with_name(f"{manifest.name}.part")) as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(_told(files, wanted, format, version))) + b"\n")
    except OSError as error:
        raise HistoryError(f"cannot write {error.filename or out}: {error.strerror or error}") from error
    return files


def _check(wanted: Wanted, format: str) -> None:
    if format not in FORMATS:
        raise UsageError(f"no format {format!r}; choose from {', '.join(FORMATS)}")
    for name in wanted.datasets:
        if name not in DATASETS:
            raise UsageError(f"no dataset {name!r}; choose from {', '.join(DATASETS)}")
        if wanted.assets and "asset" not in DATASETS[name].schema.names:
            raise UsageError(f"{name} are not by asset: leave the asset out, or the dataset")
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise UsageError(f"nothing lies from {_utc(wanted.since)} to {_utc(wanted.until)}: the range is empty")


def _file(data_dir: Path, dataset: str, path: Path, wanted: Wanted, format: ExportFormat) -> Exported:
    def work(connection: duckdb.DuckDBPyConnection) -> tuple[int, dict[str, str]]:
        with TemporaryDirectory() as spill, placed(path, path.with_name(f"{path.name}.part")) as stream:
            connection.execute(f"SET temp_directory = '{spill}'")
            connection.execute(f"CREATE TEMP TABLE chosen AS {question(dataset, wanted)}")
            chosen = connection.sql("FROM chosen")
            (_write_parquet if format == "parquet" else WRITERS[format])(chosen, stream)
            count = connection.execute("SELECT count(*) FROM chosen").fetchall()[0][0]
            return count, dict(zip(chosen.columns, map(str, chosen.types), strict=True))

    try:
        rows, columns = asked(data_dir, work)
    except duckdb.Error as error:
        raise HistoryError(f"cannot export {dataset}: {error}") from error
    with path.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
    return Exported(path.name, dataset, rows, path.stat().st_size, digest, columns)


def question(dataset: str, wanted: Wanted) -> str:
    """The rows of a dataset that are wanted, in their order, as SQL."""
    time, conditions = DATASETS[dataset].time, []
    if wanted.since is not None:
        day = f"dt >= make_timestamp({wanted.since // MICROSECOND})::DATE"
        conditions += [day, f"{time} >= make_timestamp({wanted.since // MICROSECOND})"]
    if wanted.until is not None:
        day = f"dt <= make_timestamp({wanted.until // MICROSECOND})::DATE"
        conditions += [day, f"{time} < make_timestamp({wanted.until // MICROSECOND})"]
    if wanted.assets:
        names = ", ".join("'" + asset.replace("'", "''") + "'" for asset in wanted.assets)
        conditions.append(f"asset IN ({names})")
    chosen = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    key = ["window_name" if name == "window" else name for name in KEYS[dataset][0]]
    order = ", ".join(dict.fromkeys([time, *key]))
    return f"SELECT * EXCLUDE (dt) FROM {view_of(dataset)} {chosen} ORDER BY {order}"  # noqa: S608 - our own names


def _write_parquet(relation: Any, stream: BinaryIO) -> None:
    reader = relation.to_arrow_reader(ROW_GROUP)
    with pq.ParquetWriter(stream, reader.schema, compression="zstd") as file:
        for group in regrouped(reader):
            file.write_table(group, row_group_size=ROW_GROUP)


def _told(files: Sequence[Exported], wanted: Wanted, format: ExportFormat, version: str) -> dict[str, Any]:
    return {
        "breakwater": version,
        "schema": SCHEMA_VERSION,
        "format": format,
        "from": None if wanted.since is None else _utc(wanted.since),
        "to": None if wanted.until is None else _utc(wanted.until),
        "assets": sorted(wanted.assets),
        "rows": sum(file.rows for file in files),
        "files": files,
    }


def _utc(time: int) -> str:
    moment = datetime.fromtimestamp(time // SECOND, UTC).replace(microsecond=time % SECOND // MICROSECOND)
    return moment.isoformat().replace("+00:00", "Z")
