"""The SQL views and macros over the history, as text. Each row is there once, however often it was told.

``dt``, the UTC day, is a column of every view and part of every key: a condition on it reads only those days. Times are
UTC without a zone, microseconds; ``utc_now()`` is the present in the same terms. The column ``window`` is shown as
``window_name``, the word being SQL's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from schemas.tables import DATASETS, Dataset

_KEYS: dict[str, tuple[str, str]] = {
    "liquidations": ("event_id", "receive_time"),
    "windows": ('asset, "window", time, count, usd', "time"),
    "cascades": ("cascade_id, time, state, events", "time"),
    "signals": ("signal_id", "receive_time"),
    "open_interest": ("venue, instrument, event_time", "receive_time"),
    "funding": ("venue, instrument, event_time, settled", "receive_time"),
    "mark_prices": ("venue, instrument, event_time", "receive_time"),
    "trades": ("venue, instrument, trade_id, event_time", "receive_time"),
    "feeds": ("venue, feed, event_time, state, reason, gap_from", "event_time"),
    "account_events": ("event_id", "receive_time"),
    "dead_letters": ("venue, feed, receive_time, reason, raw", "receive_time"),
}
"""Dataset -> what makes a row the same row within a day, and which of the same rows is kept: the first by this."""

_VIEW_OF = {"cascades": "cascade_updates"}

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
    "from cascades order by started desc limit 5",
    "from totals(24)",
    "from around((select cascade_id from cascades order by usd desc limit 1), 30)",
)


def statements(root: Path) -> Iterator[str]:
    """Everything that makes the views over the files below ``root``, in order."""
    yield "CREATE SCHEMA files"
    for dataset in DATASETS.values():
        yield file_view(root, dataset)
    yield from views()


def file_view(root: Path, dataset: Dataset) -> str:
    """Makes ``files.<dataset>``: what is in the files, row by row."""
    folder = re.sub(r"([*?\[])", r"[\1]", str(root / dataset.name)).replace("'", "''")
    options = "hive_partitioning = true, hive_types = {'dt': DATE}, union_by_name = true"
    return f"CREATE VIEW files.{dataset.name} AS FROM read_parquet('{folder}/dt=*/*.parquet', {options})"


def views() -> Iterator[str]:
    """The views over ``files.<dataset>``, and the macros."""
    for dataset in DATASETS.values():
        yield _view(dataset)
    yield from (part.strip() for part in _DERIVED.split(";\n") if part.strip())


def _view(dataset: Dataset) -> str:
    key, first = _KEYS[dataset.name]
    shown = [f"{name}::TIMESTAMP AS {name}" for name in _columns(dataset, pa.timestamp("ns"))]
    shown += [f"printf('%016x', {name}) AS {name}" for name in _columns(dataset, pa.uint64())]
    renamed = ' RENAME ("window" AS window_name)' if "window" in dataset.schema.names else ""
    name = _VIEW_OF.get(dataset.name, dataset.name)
    # Not row_number() = 1: DuckDB 2.0 makes that a join on file numbers, and a filter that skips files renumbers them
    # in one of its two scans, so that rows are lost (duckdb/duckdb#26044).
    once = f"(FROM files.{dataset.name} QUALIFY lag(dt) OVER (PARTITION BY dt, {key} ORDER BY {first}) IS NULL)"
    return f"CREATE VIEW {name} AS SELECT * REPLACE ({', '.join(shown)}){renamed} FROM {once}"  # noqa: S608 - our own names


def _columns(dataset: Dataset, kind: pa.DataType) -> list[str]:
    return [column.name for column in dataset.schema if column.type == kind]
