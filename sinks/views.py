"""The SQL views and macros over the history, as text. Each row is there once, however often it was told.

``dt``, the UTC day, is a column of every view and part of every key: a condition on it reads only those days. Times are
UTC without a zone, microseconds; ``utc_now()`` is the present in the same terms. The column ``window`` is shown as
``window_name``, the word being SQL's own.

What is read follows from one manifest (``schemas.manifest``), so that a question never sees a sealed day twice or not
at all: sealed days are named file by file and need no search for doubles; parts are found as they come; of the parts of
days that may be sealed, only rows that no seal holds are taken. The ``swept`` file named beside them is removed before
any file is, so that views older than that fail instead of missing rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from schemas.manifest import Manifest, Sealed, columns_of
from schemas.tables import DATASETS, Dataset
from sinks.files import empty_file, marker

KEYS: dict[str, tuple[tuple[str, ...], str]] = {
    "liquidations": (("event_id",), "receive_time"),
    "windows": (("asset", "window", "time", "count", "usd"), "time"),
    "measures": (("asset", "time"), "time"),
    "cascades": (("cascade_id", "time", "state", "events"), "time"),
    "signals": (("signal_id",), "receive_time"),
    "open_interest": (("venue", "instrument", "event_time"), "receive_time"),
    "funding": (("venue", "instrument", "event_time", "settled"), "receive_time"),
    "mark_prices": (("venue", "instrument", "event_time"), "receive_time"),
    "trades": (("venue", "instrument", "trade_id", "event_time"), "receive_time"),
    "feeds": (("venue", "feed", "event_time", "state", "reason", "gap_from"), "event_time"),
    "account_events": (("event_id",), "receive_time"),
    "executions": (("sequence", "time"), "time"),
    "dead_letters": (("venue", "feed", "receive_time", "reason", "raw"), "receive_time"),
}
"""Dataset -> what makes a row the same row within a day, and which of the same rows is kept: the first by this."""

HOURS = "liquidations_1h"
"""The folder of sums by hour that are written with each seal of ``liquidations``."""

_VIEW_OF = {"cascades": "cascade_updates"}

_PARTS = "dt=*/[_p]*.parquet"

_DERIVED = """
CREATE MACRO utc_now() AS (now() AT TIME ZONE 'UTC');

CREATE VIEW cascades AS
  SELECT * FROM cascade_updates
  QUALIFY lag(dt) OVER (PARTITION BY cascade_id ORDER BY time DESC, events DESC, state = 'close' DESC) IS NULL;

CREATE VIEW liquidations_1m AS
  SELECT time_bucket(INTERVAL '1 minute', event_time) AS minute, asset, venue, position,
         count(*) FILTER (cause <> 'adl') AS count,
         coalesce(sum(notional_usd) FILTER (cause <> 'adl'), 0) AS usd,
         coalesce(max(notional_usd) FILTER (cause <> 'adl'), 0) AS largest_usd,
         count(*) FILTER (cause = 'adl') AS adl_count,
         coalesce(sum(notional_usd) FILTER (cause = 'adl'), 0) AS adl_usd,
         bool_or(coverage <> 'complete') AS floor, dt
  FROM liquidations GROUP BY ALL;

CREATE VIEW liquidations_1h AS
  FROM files.liquidations_hours UNION ALL BY NAME FROM files.liquidations_fresh_hours;

CREATE VIEW venue_leads AS
  SELECT asset, time, unnest(lead_venues) AS leader, unnest(lag_venues) AS follower, unnest(lead_bursts) AS bursts,
         unnest(lead_seconds) AS seconds, dt
  FROM measures;

CREATE VIEW contagion AS
  SELECT asset, time, unnest(igniters) AS igniter, unnest(ignited) AS ignited, unnest(ignitions) AS ignitions,
         unnest(ignition_seconds) AS seconds, dt
  FROM measures;

CREATE VIEW price_levels AS
  SELECT asset, time, price AS last_price, unnest(level_prices) AS price, unnest(level_usd) AS usd,
         unnest(level_shares) AS share, unnest(level_long_shares) AS long_share, unnest(level_distances) AS distance, dt
  FROM measures;

CREATE VIEW rolling AS
  SELECT asset, time, '15m' AS length, unnest(rolling_15m), dt FROM measures
  UNION ALL SELECT asset, time, '1h', unnest(rolling_1h), dt FROM measures
  UNION ALL SELECT asset, time, '4h', unnest(rolling_4h), dt FROM measures;

CREATE MACRO totals(hours) AS TABLE
  SELECT position, count(*) AS count, sum(notional_usd) AS usd, max(notional_usd) AS largest_usd,
         bool_or(coverage <> 'complete') AS floor
  FROM liquidations
  WHERE cause <> 'adl' AND event_time > utc_now() - to_seconds(hours * 3600)
    AND dt >= (utc_now() - to_seconds(hours * 3600))::DATE
  GROUP BY position ORDER BY position;

CREATE MACRO around(id, secs) AS TABLE
  WITH span AS (
    SELECT asset AS cascade_asset, started, started - to_seconds(secs) AS since,
           coalesce(closed, time) + to_seconds(secs) AS until
    FROM cascades WHERE cascade_id = id),
  near AS (
    SELECT l.*, epoch(l.event_time - span.started) AS seconds_from_start
    FROM liquidations l, span
    WHERE l.dt BETWEEN (SELECT since::DATE FROM span) AND (SELECT until::DATE FROM span)
      AND l.event_time BETWEEN since AND until AND cascade_asset IN (l.asset, '*'))
  SELECT near.*, m.price AS mark_price
  FROM near ASOF LEFT JOIN mark_prices m
    ON m.venue = near.venue AND m.instrument = near.instrument AND near.event_time >= m.event_time
  ORDER BY near.event_time;
"""

EXAMPLES = (
    "from liquidations_1m where dt = current_date order by usd desc limit 10",
    "select hour, sum(usd) usd from liquidations_1h group by hour order by usd desc limit 10",
    "from cascades order by started desc limit 5",
    "from totals(24)",
    "from around((select cascade_id from cascades order by usd desc limit 1), 30)",
)


def statements(root: Path, manifest: Manifest) -> Iterator[str]:
    """Everything that makes the views over the files below ``root``, in order."""
    yield "CREATE SCHEMA files"
    for dataset in DATASETS.values():
        yield from file_views(root, dataset, manifest)
    yield from views(root, manifest)


def file_views(root: Path, dataset: Dataset, manifest: Manifest) -> Iterator[str]:
    """Makes ``files.<dataset>_parts`` and ``files.<dataset>_days``: what is in the files, row by row.

    Where there is no file at all, both read ``files.<dataset>_nothing``.
    """
    name, state = dataset.name, manifest.of(dataset.name)
    marks = [_literal(path) for path in (marker(root, name, manifest),) if path.exists()]
    # The pattern finds parts and the empty file, which is there where no part is: a pattern must find something.
    parts = _PARTS if empty_file(root, name).exists() or any(root.glob(f"{name}/{_PARTS}")) else ""
    found = {
        "parts": [*([f"{_literal(root / name)}/{parts}"] if parts else []), *marks],
        "days": [*marks, *_sealed(root / name, state)],
    }
    current = columns_of(dataset.schema)
    differ = any(seal.columns != current for seals in state.days.values() for seal in seals)
    for kind, files in found.items():
        read = _read(files, union=differ or kind == "parts") if files else f"FROM files.{name}_nothing"
        yield f"CREATE VIEW files.{name}_{kind} AS {read}"


def views(root: Path, manifest: Manifest) -> Iterator[str]:
    """The views over the files, and the macros."""
    hours = _sealed(root / HOURS, manifest.of("liquidations"))
    for dataset in DATASETS.values():
        name = dataset.name
        yield f"CREATE VIEW files.{name} AS FROM files.{name}_days UNION ALL BY NAME FROM files.{name}_parts"
        yield from _fresh(name, manifest.of(name))
        yield _view(dataset)
    yield f"CREATE VIEW files.liquidations_fresh_hours AS {hours_of('files.liquidations_fresh')}"
    sealed = _read(hours) if hours else "FROM files.liquidations_fresh_hours LIMIT 0"
    yield f"CREATE VIEW files.liquidations_hours AS {sealed}"
    yield from (part.strip() for part in _DERIVED.split(";\n") if part.strip())


def hours_of(relation: str) -> str:
    """The sums by hour of forced closes, each there once, as ``liquidations_1h`` has them."""
    return f"""
  SELECT date_trunc('hour', event_time::TIMESTAMP) AS hour, asset, venue, position,
         count(*) FILTER (cause <> 'adl') AS count,
         coalesce(sum(notional_usd) FILTER (cause <> 'adl'), 0) AS usd,
         coalesce(max(notional_usd) FILTER (cause <> 'adl'), 0) AS largest_usd,
         count(*) FILTER (cause = 'adl') AS adl_count,
         coalesce(sum(notional_usd) FILTER (cause = 'adl'), 0) AS adl_usd,
         bool_or(coverage <> 'complete') AS floor, dt
  FROM {relation} GROUP BY ALL"""  # noqa: S608 - our own names


def _literal(path: Path) -> str:
    """A path as DuckDB reads it in a list of patterns."""
    return re.sub(r"([*?\[])", r"[\1]", str(path)).replace("'", "''")


def read(files: list[Path], *, union: bool = False, rows: bool = False) -> str:
    """Reads files of one dataset, ``dt`` from the folder.

    :arg union: whether some may lack columns.
    :arg rows: with ``filename`` and ``file_row_number``.
    """
    return _read([_literal(file) for file in files], union=union, rows=rows)


def _read(patterns: list[str], *, union: bool = False, rows: bool = False) -> str:
    named = ", ".join(f"'{pattern}'" for pattern in patterns)
    more = ", union_by_name = true" if union else ""
    more += ", filename = true, file_row_number = true" if rows else ""
    return f"FROM read_parquet([{named}], hive_partitioning = true, hive_types = {{'dt': DATE}}{more})"


def _sealed(folder: Path, state: Sealed) -> list[str]:
    return [f"{_literal(folder)}/dt={day}/{seal.file}" for day, seals in sorted(state.days.items()) for seal in seals]


def once(relation: str, dataset: str, then: str = "") -> str:
    """A query for each row of ``relation`` once: the first of those with the same key.

    :arg then: columns that decide between rows received at the same time.
    """
    first = KEYS[dataset][1]
    # Not row_number() = 1: DuckDB 2.0 makes that a join on file numbers, and a filter that skips files renumbers them
    # in one of its two scans, so that rows are lost (duckdb/duckdb#26044).
    order = f"{first}, {then}" if then else first
    return f"(FROM {relation} QUALIFY lag(dt) OVER (PARTITION BY dt, {keyed(dataset)} ORDER BY {order}) IS NULL)"


def keyed(dataset: str) -> str:
    """The columns of the key."""
    return ", ".join(f'"{name}"' for name in KEYS[dataset][0])


def same(dataset: str, left: str, right: str) -> str:
    """The condition that two rows are the same row."""
    keys = " AND ".join(f'{left}."{name}" IS NOT DISTINCT FROM {right}."{name}"' for name in KEYS[dataset][0])
    return f"{left}.dt = {right}.dt AND {keys}"


def _fresh(name: str, state: Sealed) -> Iterator[str]:
    """Makes ``files.<dataset>_fresh``: the rows of parts, each once, that no seal holds."""
    yield f"CREATE VIEW files.{name}_parts_once AS {once(f'files.{name}_parts', name)}"
    # Of the sealed days only those that late rows are of are read: DuckDB skips files by the days of ``late``.
    late = f"""
  UNION ALL BY NAME
  (WITH late AS MATERIALIZED (SELECT * FROM files.{name}_parts_once WHERE dt < DATE '{state.until}')
   SELECT part.* FROM late AS part ANTI JOIN
     (FROM files.{name}_days WHERE dt IN (SELECT dt FROM late)) AS day ON {same(name, "day", "part")})"""  # noqa: S608 - our own names
    new = f"SELECT * FROM files.{name}_parts_once"  # noqa: S608 - same
    yield f"CREATE VIEW files.{name}_fresh AS " + (
        f"{new} WHERE dt >= DATE '{state.until}'{late}" if state.days else new
    )


def _view(dataset: Dataset) -> str:
    shown = [f"{name}::TIMESTAMP AS {name}" for name in _columns(dataset, pa.timestamp("ns"))]
    shown += [f"printf('%016x', {name}) AS {name}" for name in _columns(dataset, pa.uint64())]
    renamed = ' RENAME ("window" AS window_name)' if "window" in dataset.schema.names else ""
    rows = f"(FROM files.{dataset.name}_days UNION ALL BY NAME FROM files.{dataset.name}_fresh)"
    return f"CREATE VIEW {view_of(dataset.name)} AS SELECT * REPLACE ({', '.join(shown)}){renamed} FROM {rows}"  # noqa: S608 - same


def view_of(dataset: str) -> str:
    """The view of a dataset's rows."""
    return _VIEW_OF.get(dataset, dataset)


def _columns(dataset: Dataset, kind: pa.DataType) -> list[str]:
    return [column.name for column in dataset.schema if column.type == kind]
