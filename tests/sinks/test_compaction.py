"""Compaction: the same answers from few files, whoever reads, writes or is killed meanwhile."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from connectors.history import read_history
from schemas.cascades import WindowMetrics
from schemas.clock import HOUR, MINUTE, SECOND
from schemas.errors import HistoryError, UsageError
from schemas.manifest import FILE, read_manifest
from schemas.records import DeadLetter, FeedStatus, Funding, Liquidation, MarkPrice, OpenInterest
from schemas.tables import DATASETS
from sinks import compaction
from sinks.compaction import Compacted, compact, last_closed
from sinks.duckdb import FILE as DATABASE
from sinks.duckdb import asked, connect
from sinks.parquet import ParquetHistory

Make = Callable[..., Liquidation]
Python = Callable[..., subprocess.Popen[str]]

NOON = 1_795_262_400_000_000_000
DAY = 24 * HOUR
LATER = NOON + 3 * DAY
COLUMNS = "event_id, venue, asset, position, cause, notional_usd, event_time, receive_time, coverage, dt"
ROWS = f"SELECT {COLUMNS} FROM liquidations ORDER BY ALL"  # noqa: S608 - our own names
HOURS = """
SELECT hour, asset, venue, position, sum(count)::BIGINT AS count, sum(usd) AS usd, max(largest_usd) AS largest_usd,
       sum(adl_count)::BIGINT AS adl_count, sum(adl_usd) AS adl_usd, bool_or(floor) AS floor, dt
FROM liquidations_1h GROUP BY ALL ORDER BY ALL"""
RAW_HOURS = """
SELECT date_trunc('hour', event_time) AS hour, asset, venue, position,
       count(*) FILTER (cause <> 'adl') AS count, coalesce(sum(notional_usd) FILTER (cause <> 'adl'), 0) AS usd,
       coalesce(max(notional_usd) FILTER (cause <> 'adl'), 0) AS largest_usd,
       count(*) FILTER (cause = 'adl') AS adl_count,
       coalesce(sum(notional_usd) FILTER (cause = 'adl'), 0) AS adl_usd, bool_or(coverage <> 'complete') AS floor, dt
FROM liquidations GROUP BY ALL ORDER BY ALL"""


def ask(data_dir: Path, sql: str) -> list[tuple[object, ...]]:
    return asked(data_dir, lambda connection: connection.execute(sql).fetchall())


def files(data_dir: Path, pattern: str = "liquidations/dt=*/*-*.parquet") -> list[str]:
    found = sorted((data_dir / "history").glob(pattern))
    return [f"{path.parent.name}/{path.name}" for path in found if not path.name.startswith("swept")]


def filled(data_dir: Path, make: Make, *, writer: str = "one", seed: int = 1, rows: int = 240) -> ParquetHistory:
    """Two days and a bit in parts of twelve rows, some told twice, dollars without fractions."""
    chance, history = random.Random(seed), ParquetHistory(data_dir, writer)
    for number in range(rows):
        at = NOON + number * 2 * DAY // rows
        history.add(
            make(
                number if chance.random() < 0.9 else max(number - 3, 0), at, receive_time=at + chance.randrange(SECOND),
                asset=chance.choice(["BTC", "ETH", "SOL"]), notional_usd=float(chance.randrange(1, 10**6)),
                cause=chance.choice(["liquidation", "adl", "unknown"]), venue=chance.choice(["okx", "bybit"]),
                coverage=chance.choice(["complete", "sampled"]), position=chance.choice(["long", "short"]),
            )
        )  # fmt: skip
        if number % 12 == 11:
            history.flush()
    return history


def test_the_parts_of_a_day_become_one_sorted_file_and_every_answer_stays(tmp_path: Path, make: Make) -> None:
    filled(tmp_path, make)
    before, hours, stored = (
        ask(tmp_path, ROWS),
        ask(tmp_path, HOURS),
        ask(tmp_path, "SELECT count(*) FROM files.liquidations"),
    )
    parts = files(tmp_path)
    done = compact(tmp_path, LATER)
    assert (done.days, done.rows, done.doubles, done.replaced) == (3, len(before), 240 - len(before), len(parts))
    assert (done.removed, done.waiting) == (0, len(parts))
    assert ask(tmp_path, ROWS) == before
    assert ask(tmp_path, HOURS) == hours == ask(tmp_path, RAW_HOURS)
    assert stored == [(240,)]
    done = compact(tmp_path, LATER + 10 * MINUTE)
    assert done == Compacted(removed=len(parts))
    assert files(tmp_path) == [f"dt=2026-11-{day}/day-1.parquet" for day in (21, 22, 23)]
    assert files(tmp_path, "liquidations_1h/dt=*/*.parquet") == files(tmp_path)
    assert ask(tmp_path, ROWS) == before
    assert ask(tmp_path, HOURS) == hours
    for path in (tmp_path / "history").glob("liquidations/dt=*/day-1.parquet"):
        sealed = pq.ParquetFile(path)
        assert sealed.schema_arrow == DATASETS["liquidations"].schema
        columns = sealed.read(["asset", "receive_time"])
        received = columns["receive_time"].cast("int64").to_pylist()
        order = list(zip(columns["asset"].to_pylist(), received, strict=True))
        assert order == sorted(order)
    assert list((tmp_path / "history" / "_tmp").iterdir()) == []


def test_each_dataset_keeps_its_rows_and_types(tmp_path: Path, make: Make) -> None:
    records = [
        make(1, price=float("nan")),
        make(1, receive_time=NOON + 2_000_000),
        OpenInterest("okx", "BTC-USDT-SWAP", "BTC", 10.5, 1e6, NOON, NOON + 1),
        Funding("okx", "BTC-USDT-SWAP", "BTC", 1e-4, 8.0, 0.1095, None, NOON, NOON),
        MarkPrice("okx", "BTC-USDT-SWAP", "BTC", 80_000.0, None, NOON, NOON),
        FeedStatus("okx", "liquidations", "gap", "why", NOON, NOON - SECOND, NOON, 1, 2),
        FeedStatus("okx", "liquidations", "connected", "", NOON, None, None, 0, 0),
        DeadLetter("okx", "liquidations", "unreadable", b"\x00\xff", NOON),
        WindowMetrics(
            "BTC", "2s", NOON, 3, 9.0, 3, 0, 9.0, 0.0, 0, 0.0, 0.0, 1.5, 4.5, 0.1, 0.2, {"okx": 2, "bybit": 1}, "okx"
        ),
    ]
    history = ParquetHistory(tmp_path, "one")
    for record in [*records, *records[2:]]:
        history.add(record)
        history.flush()
    views = ["liquidations", "open_interest", "funding", "mark_prices", "feeds", "dead_letters", "windows"]
    before = {view: ask(tmp_path, f"FROM {view} ORDER BY ALL") for view in views}
    assert [len(rows) for rows in before.values()] == [1, 1, 1, 1, 2, 1, 1]
    told = [str(record) for batch in read_history(tmp_path / "history" / "liquidations") for record in batch.records()]
    assert compact(tmp_path, LATER, grace=0).rows == 8
    assert {view: ask(tmp_path, f"FROM {view} ORDER BY ALL") for view in views} == before
    assert ask(tmp_path, "SELECT price FROM liquidations") == [(None,)]
    for view in views:
        (path,) = (tmp_path / "history" / view).glob("dt=2026-11-21/*.parquet")
        assert pq.read_schema(path) == DATASETS[view].schema
        assert pq.read_schema(path).metadata == DATASETS[view].schema.metadata
    again = [str(record) for batch in read_history(tmp_path / "history" / "liquidations") for record in batch.records()]
    assert again == told


def test_replay_reads_a_compacted_history_in_the_order_it_was_received(tmp_path: Path, make: Make) -> None:
    filled(tmp_path, make)

    def told() -> list[object]:
        return [record for batch in read_history(tmp_path) for record in batch.records()]

    before = told()
    compact(tmp_path, LATER)
    assert told() == before, "while the parts are still there"
    compact(tmp_path, LATER, grace=0)
    assert told() == before


def test_late_rows_are_read_beside_the_seal_and_sealed_by_the_next_run(tmp_path: Path, make: Make) -> None:
    filled(tmp_path, make)
    compact(tmp_path, LATER, grace=0)
    before = ask(tmp_path, "SELECT count(*), sum(notional_usd)::BIGINT FROM liquidations")[0]
    late = ParquetHistory(tmp_path, "late")
    for number in (1, 2, 1_000, 1_001, 1_001):
        late.add(make(number, NOON + SECOND, notional_usd=7.0))
    late.flush()
    after = [(before[0] + 2, before[1] + 14)]  # type: ignore[operator] # numbers
    totals = "SELECT count(*), sum(notional_usd)::BIGINT FROM liquidations"
    assert ask(tmp_path, totals) == after
    assert ask(tmp_path, HOURS) == ask(tmp_path, RAW_HOURS)
    done = compact(tmp_path, LATER, grace=0)
    assert (done.days, done.rows, done.doubles, done.removed) == (1, 2, 3, 1)
    assert files(tmp_path)[:2] == ["dt=2026-11-21/day-1.parquet", "dt=2026-11-21/day-2.parquet"]
    assert ask(tmp_path, totals) == after
    assert ask(tmp_path, HOURS) == ask(tmp_path, RAW_HOURS)
    late.add(make(1, NOON + SECOND))
    late.flush()
    assert compact(tmp_path, LATER, grace=0) == Compacted(days=1, doubles=1, replaced=1, removed=1)
    assert ask(tmp_path, totals) == after


def test_a_writer_may_rewind_behind_what_was_sealed(tmp_path: Path, make: Make) -> None:
    history = ParquetHistory(tmp_path, "one")
    history.add(make(1))
    kept = history.snapshot()
    history.add(make(2))
    history.flush()
    assert compact(tmp_path, LATER).waiting == 2
    again = ParquetHistory(tmp_path, "one")
    assert again.rewind(kept) == 1
    again.add(make(2))
    again.add(make(3))
    again.flush()
    assert ask(tmp_path, "SELECT count(*) FROM liquidations") == [(3,)]
    assert again.rewind(kept) == 1
    again.add(make(2))
    again.flush()
    name = "dt=2026-11-21/part-one-000000000001-000000000002.parquet"
    assert name in files(tmp_path), "written anew under the name of one that was replaced"
    assert compact(tmp_path, LATER, before=date(2026, 11, 20), grace=0).removed == 1
    assert name in files(tmp_path)
    assert ask(tmp_path, "SELECT event_id[-1:] FROM liquidations ORDER BY ALL") == [("1",), ("2",)]


def test_only_days_that_are_over_are_compacted(tmp_path: Path, make: Make) -> None:
    filled(tmp_path, make)
    midnight = NOON + 12 * HOUR
    assert last_closed(midnight + 14 * MINUTE) == date(2026, 11, 21)
    assert last_closed(midnight + 15 * MINUTE) == date(2026, 11, 22)
    with pytest.raises(UsageError, match="those before 2026-11-21; 2026-11-22 is later"):
        compact(tmp_path, midnight + 14 * MINUTE, date(2026, 11, 22))
    assert compact(tmp_path, midnight + 14 * MINUTE).days == 0
    assert compact(tmp_path, LATER, date(2026, 11, 22)).days == 1
    assert files(tmp_path, "liquidations/dt=*/day-*") == ["dt=2026-11-21/day-1.parquet"]


def test_one_asset_of_a_day_is_picked_by_statistics(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "ROW_GROUP", 20)
    filled(tmp_path, make)
    compact(tmp_path, LATER, grace=0)
    question = "EXPLAIN ANALYZE SELECT sum(notional_usd) FROM liquidations WHERE dt = '2026-11-22' AND asset = 'ETH'"
    plan = str(ask(tmp_path, question))
    groups = [(int(some), int(of)) for some, of in re.findall(r"Row Groups Scanned: (\d+) / (\d+)", plan)]
    assert any(of >= 5 and some <= 3 for some, of in groups), groups


def test_a_view_from_before_a_removal_fails_instead_of_missing_rows(tmp_path: Path, make: Make) -> None:
    filled(tmp_path, make)
    with closing(connect(tmp_path)) as old:
        count = old.execute("SELECT count(*) FROM liquidations").fetchall()
        compact(tmp_path, LATER)
        assert old.execute("SELECT count(*) FROM liquidations").fetchall() == count
        compact(tmp_path, LATER, grace=0)
        for view in ("liquidations", "liquidations WHERE dt = '2026-11-22'", "liquidations_1h", "liquidations_1m"):
            with pytest.raises(duckdb.IOException, match="No files found"):
                old.execute(f"FROM {view}").fetchall()
        assert ask(tmp_path, "SELECT count(*) FROM liquidations") == count


def test_a_seal_that_misses_rows_is_refused(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, make)
    before, sort = ask(tmp_path, ROWS), compaction._sorted
    monkeypatch.setattr(compaction, "_sorted", lambda dataset: f"{sort(dataset)} LIMIT 7")
    with pytest.raises(HistoryError, match=r"dt=2026-11-21: \d+ rows to seal but 7 were written"):
        compact(tmp_path, LATER)
    assert ask(tmp_path, ROWS) == before
    assert files(tmp_path, "liquidations/dt=*/day-*") == []


def test_what_stands_in_the_way_is_said(tmp_path: Path, make: Make) -> None:
    with pytest.raises(HistoryError, match="no history below"):
        compact(tmp_path, LATER)
    filled(tmp_path, make)
    root = tmp_path / "history"
    with compaction.alone(root), pytest.raises(HistoryError, match="another process"):
        compact(tmp_path, LATER)
    broken = root / "liquidations" / "dt=2026-11-22" / "part-x-1-2.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(HistoryError, match="part-x"):
        compact(tmp_path, LATER)
    broken.unlink()
    assert compact(tmp_path, LATER).days == 2, "the day before stays sealed"
    (root / FILE).rename(tmp_path / "kept")
    with pytest.raises(HistoryError, match="is gone, but there are sealed days"):
        ask(tmp_path, "SELECT count(*) FROM liquidations")
    (root / FILE).write_text('{"format": 2}')
    with pytest.raises(HistoryError, match="newer version"):
        read_manifest(root)


COMPACTING = """
import os, sys
from pathlib import Path
from sinks.compaction import compact
print("ready", flush=True)
for _ in sys.stdin:
    child = os.fork()
    if not child:
        compact(Path(sys.argv[1]), int(sys.argv[2]), grace=0)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs compactions in processes of their own, one per line it is sent; tells the process and how it ended."""

READING = """
import sys
from pathlib import Path
from sinks.duckdb import asked

def read(connection):
    rows = "SELECT count(*), count(DISTINCT event_id), sum(notional_usd)::BIGINT FROM liquidations"
    hours = "SELECT sum(count + adl_count)::BIGINT, sum(usd + adl_usd)::BIGINT FROM liquidations_1h"
    return connection.execute(rows).fetchall()[0] + connection.execute(hours).fetchall()[0]

first, reads = asked(Path(sys.argv[1]), read), 1
print("ready", flush=True)
import threading
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
while not ended.is_set():
    seen = asked(Path(sys.argv[1]), read, tries=50)
    assert seen == first, (seen, first)
    reads += 1
print(reads, first[0], flush=True)
"""


@pytest.mark.slow
def test_killed_anywhere_and_read_all_the_time_no_row_is_lost_or_there_twice(
    tmp_path: Path, make: Make, python: Python
) -> None:
    chance = random.Random(5)
    filled(tmp_path, make, rows=600)
    whole = ask(tmp_path, ROWS)
    reader = python(READING, tmp_path)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    run = python(COMPACTING, tmp_path, LATER)
    assert run.stdout is not None
    assert run.stdin is not None
    assert run.stdout.readline() == "ready\n"
    ends = []
    while ends.count(0) < 2:
        run.stdin.write("go\n")
        run.stdin.flush()
        child = int(run.stdout.readline())
        if len(ends) < 8:
            time.sleep(chance.uniform(0.005, 0.25))
            with suppress(ProcessLookupError):  # it may have been done already
                os.kill(child, signal.SIGKILL)
        ends.append(int(run.stdout.readline()))
        assert ask(tmp_path, ROWS) == whole
    assert ends.count(-signal.SIGKILL) >= 4
    out, _ = reader.communicate("end\n", timeout=30)
    assert reader.returncode == 0
    reads, rows = map(int, out.split())
    assert reads > 5
    assert rows == len(whole)
    assert files(tmp_path) == [f"dt=2026-11-{day}/day-1.parquet" for day in (21, 22, 23)]
    assert ask(tmp_path, ROWS) == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history", DATABASE]
