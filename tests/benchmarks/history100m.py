"""The usual questions over a long history, through the views a user asks: 100 million forced closes in 90 days.

``python -m tests.benchmarks.history100m --rows N`` sets another size. The history is made in a temporary directory
(about 3 GB for 100 million, removed after), a day at a time: most days as compaction leaves them, two as a live run's
parts that our compaction then seals, the last as parts nobody sealed. Each question is asked three times on an open
connection; told is the middle, and the range.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.batches import LIQUIDATION_COLUMNS, LiquidationColumns
from schemas.clock import HOUR, MINUTE, SECOND
from schemas.manifest import Manifest, Seal, Sealed, columns_of
from schemas.records import CAUSES, COVERAGES, VENUES
from schemas.tables import DATASETS, liquidation_table
from sinks.compaction import compact, save
from sinks.duckdb import connect, in_memory
from sinks.files import history_dir, lay_out, write_whole
from sinks.views import HOURS, hours_of, read
from tests.benchmarks.figures import Row, Target, kept, middle, row, show, spread

ROWS = 100_000_000
_DAYS = 90
_FIRST = date(2026, 8, 1)
_DAY = 24 * HOUR
_PARTS = 288
"""Parts of a day that is compacted here: one for five minutes."""
_ASSETS = 200
_TARGET = Target("≤", 1.0)

_CLOSES = "SELECT * FROM liquidations WHERE asset = 'A1' AND dt"
_INTEREST = "SELECT * FROM open_interest WHERE asset = 'A1' AND dt"
_RATIO = "SELECT count(*), sum(l.notional_usd / o.notional_usd)"
_AS_OF = "ON l.venue = o.venue AND l.event_time >= o.event_time"

QUESTIONS = {
    "one asset, one day": """
        SELECT venue, position, count(*), sum(notional_usd) FROM liquidations
        WHERE dt = DATE '{day}' AND asset = 'A1' AND cause <> 'adl' GROUP BY ALL""",
    "one asset, minutes of one day": """
        SELECT minute, sum(usd) FROM liquidations_1m WHERE dt = DATE '{day}' AND asset = 'A1' GROUP BY minute""",
    "largest of one day": """
        SELECT event_time, venue, asset, notional_usd FROM liquidations
        WHERE dt = DATE '{day}' ORDER BY notional_usd DESC LIMIT 20""",
    "top hours, all days": """
        SELECT hour, sum(usd) AS usd FROM liquidations_1h GROUP BY hour ORDER BY usd DESC LIMIT 10""",
    "sums by venue, all days": """
        SELECT venue, sum(count), sum(usd), bool_or(floor) FROM liquidations_1h GROUP BY venue""",
    "one asset by day, all days": """
        SELECT dt, sum(usd) FROM liquidations_1h WHERE asset = 'A3' GROUP BY dt""",
    "open interest as of each event: one asset, one day": f"""
        {_RATIO} FROM ({_CLOSES} = DATE '{{day}}') l
        ASOF JOIN ({_INTEREST} BETWEEN DATE '{{day}}' - 1 AND DATE '{{day}}') o {_AS_OF}""",
    "open interest as of each event: one asset, a week": f"""
        {_RATIO} FROM ({_CLOSES} BETWEEN DATE '{{day}}' - 6 AND DATE '{{day}}') l
        ASOF JOIN ({_INTEREST} BETWEEN DATE '{{day}}' - 7 AND DATE '{{day}}') o {_AS_OF}""",
}
SCANS = {
    "every row: sums by venue": "SELECT venue, count(*), sum(notional_usd) FROM liquidations GROUP BY venue",
    "every row: top hours": """
        SELECT date_trunc('hour', event_time) AS hour, sum(notional_usd) AS usd FROM liquidations
        GROUP BY hour ORDER BY usd DESC LIMIT 10""",
}
"""What the same costs without the sums by hour; no target, for comparison."""


def history100m(*, quick: bool, rows: int = ROWS) -> list[Row]:
    """How long each question takes, beside what DuckDB read for it."""
    rows = 200_000 if quick else rows
    days = [_FIRST + timedelta(days=number) for number in range(6 if quick else _DAYS)]
    with TemporaryDirectory() as name:
        data_dir = Path(name)
        began = time.perf_counter()
        sealing = _made(data_dir, days, rows // len(days), 12 if quick else _PARTS)
        made = time.perf_counter() - began
        size = sum(path.stat().st_size for path in data_dir.rglob("*.parquet"))
        with closing(connect(data_dir)) as connection:
            count = connection.execute("SELECT count(*) FROM liquidations").fetchall()[0][0]
            day = str(days[len(days) // 2])
            asked = [_asked(connection, title, sql.format(day=day), _TARGET) for title, sql in QUESTIONS.items()]
            scans = [_asked(connection, title, sql, None) for title, sql in SCANS.items()]
            rollup = _differences(connection)
        return [
            *asked, *scans,
            row("hours that differ from the sum of their rows", rollup, "hours", Target("≤", 0)),
            row("compaction of a day", sealing, "M rows/s"),
            row("on disk", size / 1e9, "GB"),
            row("made in", made, "s"),
            kept("history", rows // len(days) * len(days), count),
        ]  # fmt: skip


def _asked(connection: duckdb.DuckDBPyConnection, title: str, sql: str, target: Target | None) -> Row:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        connection.execute(sql).fetchall()
        times.append(time.perf_counter() - began)
    plan = str(connection.execute(f"EXPLAIN ANALYZE {sql}").fetchall()[0][1])
    files = sum(int(found) for found in re.findall(r"Total Files Read: (\d+)", plan))
    groups = [(int(some), int(of)) for some, of in re.findall(r"Row Groups Scanned: (\d+) / (\d+)", plan)]
    read_ = f"{files} files, {sum(some for some, _ in groups)} of their {sum(of for _, of in groups)} row groups"
    return row(title, middle(times), "s", target, baseline=read_, spread=spread(times, 3))


def _differences(connection: duckdb.DuckDBPyConnection) -> int:
    """Hours, assets and venues whose kept sums are not those of the rows; dollars to a millionth."""
    raw = hours_of("liquidations")
    sums = """
      SELECT hour, asset, venue, position, dt, sum(count) AS count, sum(adl_count) AS adl_count, sum(usd) AS usd,
             max(largest_usd) AS largest_usd, bool_or(floor) AS floor FROM liquidations_1h GROUP BY ALL"""
    sql = f"""
      SELECT count(*) FROM ({raw}) AS raw FULL JOIN ({sums}) AS sums USING (hour, asset, venue, position, dt)
      WHERE (raw.count, raw.adl_count, raw.floor, raw.largest_usd)
            IS DISTINCT FROM (sums.count, sums.adl_count, sums.floor, sums.largest_usd)
        OR abs(raw.usd - sums.usd) > 1e-6 * raw.usd"""  # noqa: S608 - our own names
    return int(connection.execute(sql).fetchall()[0][0])


def _made(data_dir: Path, days: list[date], rows: int, parts: int) -> float:
    """Make the history; how many million rows a second the last days were compacted at."""
    lay_out(data_dir)
    root = history_dir(data_dir)
    closes, interest = dict[str, tuple[Seal, ...]](), dict[str, tuple[Seal, ...]]()
    for number, day in enumerate(days[:-3]):
        closes[str(day)] = _sealed(root, "liquidations", day, _closes(number, day, rows))
        _hours(root, day)
        interest[str(day)] = _sealed(root, "open_interest", day, _interest(day))
    last = str(days[-3])
    states = {"liquidations": Sealed(last, 0, closes), "open_interest": Sealed(last, 0, interest)}
    save(root, Manifest(datasets=states))
    for number, day in enumerate(days[-3:], len(days) - 3):
        for dataset, table in (("liquidations", _closes(number, day, rows)), ("open_interest", _interest(day))):
            _parts(root, dataset, day, table, parts)
    began = time.perf_counter()
    done = compact(data_dir, _start(days[-1]) + HOUR, grace=0)
    return done.rows / (time.perf_counter() - began) / 1e6


def _start(day: date) -> int:
    return (day - date(1970, 1, 1)).days * _DAY


def _closes(number: int, day: date, n: int) -> pa.Table:
    """A day's forced closes by asset and time: a few assets have most of them, and nothing repeats."""
    chance = np.random.default_rng(number)
    asset = np.minimum(chance.zipf(1.4, n) - 1, _ASSETS - 1).astype(np.int32)
    times = np.sort(chance.integers(0, _DAY // 1000, n)) * 1000 + _start(day)
    order = np.argsort(asset, kind="stable")
    columns = {name: np.zeros(n, dtype) for name, dtype in LIQUIDATION_COLUMNS.items()}
    # An odd factor makes each number another, spread over all 64 bits as hashes are.
    columns["event_id"] = (np.arange(n, dtype=np.uint64) + np.uint64(number << 32)) * np.uint64(0x9E3779B97F4A7C15)
    columns["asset"] = columns["instrument"] = asset[order]
    columns["venue"] = chance.integers(0, 15, n).astype(LIQUIDATION_COLUMNS["venue"])
    columns["position"] = chance.integers(0, 2, n).astype(LIQUIDATION_COLUMNS["position"])
    columns["cause"] = np.where(chance.random(n) < 0.05, CAUSES.index("adl"), 0).astype(LIQUIDATION_COLUMNS["cause"])
    sampled = columns["venue"] < 2
    columns["coverage"] = np.where(sampled, COVERAGES.index("sampled"), 0).astype(LIQUIDATION_COLUMNS["coverage"])
    columns["price"] = (1 + columns["asset"]) * 10.0 + chance.integers(0, 500, n) * 0.01
    columns["quantity"] = chance.integers(1, 2_000, n) * 0.05
    columns["notional_usd"] = columns["price"] * columns["quantity"]
    columns["event_time"] = times[order]
    columns["receive_time"] = columns["event_time"] + 20_000_000
    names = [f"A{code}" for code in range(_ASSETS)]
    return liquidation_table(LiquidationColumns(**columns), [f"{name}USDT" for name in names], names)


def _interest(day: date) -> pa.Table:
    """Open interest of twenty assets on five venues every five minutes."""
    steps, chance = _DAY // (5 * MINUTE), np.random.default_rng(day.toordinal())
    asset = np.repeat(np.arange(20), steps * 5)
    venue = np.tile(np.repeat(np.arange(5), steps), 20)
    times = np.tile(np.arange(steps), 100) * 5 * MINUTE + _start(day)
    usd = 1e8 + chance.random(len(asset)) * 1e6
    names = [f"A{code}" for code in range(20)]
    told: dict[str, pa.Array] = {
        "venue": _names(venue, VENUES), "instrument": _names(asset, [f"{name}USDT" for name in names]),
        "asset": _names(asset, names), "quantity": pa.array(usd / 100), "notional_usd": pa.array(usd),
        "event_time": pa.array(times).cast(pa.timestamp("ns")),
        "receive_time": pa.array(times + SECOND).cast(pa.timestamp("ns")),
    }  # fmt: skip
    return pa.table(told).select(DATASETS["open_interest"].schema.names).cast(DATASETS["open_interest"].schema)


def _names(codes: NDArray[np.int64], names: tuple[str, ...] | list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(list(names)))


def _sealed(root: Path, dataset: str, day: date, table: pa.Table) -> tuple[Seal, ...]:
    folder = root / dataset / f"dt={day}"
    write_whole(table, folder / "day-1.parquet", root / "_tmp" / "made")
    return (Seal("day-1.parquet", table.num_rows, columns_of(DATASETS[dataset].schema)),)


def _hours(root: Path, day: date) -> None:
    """The sums by hour, by the same words as compaction's."""
    with in_memory() as connection:
        rows = read([root / "liquidations" / f"dt={day}" / "day-1.parquet"])
        hours = connection.sql(hours_of(f"({rows})")).project("* EXCLUDE (dt)").to_arrow_table()
    write_whole(hours, root / HOURS / f"dt={day}" / "day-1.parquet", root / "_tmp" / "made")


def _parts(root: Path, dataset: str, day: date, table: pa.Table, parts: int) -> None:
    for number, part in enumerate(_by_time(table, parts)):
        name = f"part-0-{number:012d}-{number + 1:012d}.parquet"
        write_whole(part, root / dataset / f"dt={day}" / name, root / "_tmp" / "made")


def _by_time(table: pa.Table, parts: int) -> Iterator[pa.Table]:
    times = table["event_time"].cast(pa.int64()).to_numpy()
    order = np.argsort(times, kind="stable")
    for rows in np.array_split(order, parts):
        yield table.take(pa.array(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.history100m", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="forced closes in all")
    show({"history100m": history100m(quick=False, rows=parser.parse_args().rows)})
