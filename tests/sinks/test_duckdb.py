"""Views over the history: each row once, there from the start, for any number of readers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from schemas.cascades import CascadeUpdate, WindowMetrics
from schemas.clock import SECOND
from schemas.errors import HistoryError
from schemas.orders import ExecutionReport
from schemas.records import Liquidation, MarkPrice
from sinks.duckdb import FILE, connect, create_views
from sinks.parquet import ParquetHistory, lay_out

Make = Callable[..., Liquidation]
Python = Callable[..., subprocess.Popen[str]]

NOON = 1_795_262_400_000_000_000
VIEWS = [
    "account_events", "cascade_updates", "cascades", "contagion", "dead_letters", "executions", "feeds", "funding",
    "liquidations", "liquidations_1h", "liquidations_1m", "mark_prices", "measures", "open_interest", "price_levels",
    "rolling", "signals", "trades", "venue_leads", "windows",
]  # fmt: skip


def at(time: str) -> datetime:
    """A time of the day of ``NOON``, without a zone as the views give it."""
    return datetime.fromisoformat(f"2026-11-21T{time}")


def ask(data_dir: Path, sql: str) -> list[tuple[object, ...]]:
    with connect(data_dir) as connection:
        return connection.execute(sql).fetchall()


def stored(data_dir: Path, *records: object, writer: str = "one") -> None:
    history = ParquetHistory(data_dir, writer)
    for record in records:
        history.add(record)  # type: ignore[arg-type] # any stored record
    history.close()


def update(state: str, time: int, **changes: object) -> CascadeUpdate:
    fields: dict[str, object] = {
        "cascade_id": "c1", "asset": "BTC", "state": state, "time": time, "opened": NOON + SECOND, "started": NOON,
        "closed": time if state == "close" else None, "side": "long", "level": "ALERT", "peak_level": "ALERT",
        "score": 0.5, "peak_score": 0.6, "events": 3, "usd": 120_000.0, "long_usd": 120_000.0, "short_usd": 0.0,
        "adl_events": 0, "adl_usd": 0.0, "venues": ["bybit"], "entry_lags": [0.0], "floor": False,
    }  # fmt: skip
    return CascadeUpdate(**{**fields, **changes})  # type: ignore[arg-type] # keyword by keyword


@pytest.mark.parametrize("laid_out", [True, False])
def test_every_view_can_be_asked_before_anything_happened(tmp_path: Path, laid_out: bool) -> None:
    if laid_out:
        lay_out(tmp_path)
    with connect(tmp_path) as connection:
        assert [row[0] for row in connection.execute("SHOW TABLES").fetchall()] == VIEWS
        for view in [*VIEWS, "totals(24)", "around('none', 5)"]:
            assert connection.execute(f"FROM {view}").fetchall() == [], view
    assert (tmp_path / FILE).exists() == laid_out


def test_an_event_told_twice_is_there_once_as_it_was_first_received(tmp_path: Path, make: Make) -> None:
    stored(tmp_path, make(255), make(255, receive_time=NOON), make(1))
    stored(tmp_path, make(255, receive_time=NOON + SECOND), writer="two")
    rows = ask(tmp_path, "SELECT event_id, receive_time, dt FROM liquidations ORDER BY event_id")
    assert rows == [
        ("0000000000000001", at("12:00:00.001000"), date(2026, 11, 21)),
        ("00000000000000ff", at("12:00:00"), date(2026, 11, 21)),
    ]
    assert ask(tmp_path, "SELECT count(*) FROM files.liquidations") == [(4,)]


def test_a_day_reads_the_files_of_that_day_only(tmp_path: Path, make: Make) -> None:
    stored(tmp_path, *(make(n, NOON + n * 86_400 * SECOND) for n in range(5)))
    plan = ask(tmp_path, "EXPLAIN ANALYZE SELECT count(*) FROM liquidations WHERE dt = DATE '2026-11-23'")
    assert "Total Files Read: 1" in str(plan[0][1])


def test_what_nobody_told_is_null(tmp_path: Path, make: Make) -> None:
    stored(tmp_path, make(1, price=float("nan"), quantity=float("nan")))
    assert ask(tmp_path, "SELECT price, quantity, notional_usd FROM liquidations") == [(None, None, 40_000.0)]


def test_a_cascade_is_its_latest_update_and_every_update_is_kept_once(tmp_path: Path) -> None:
    opened, closed = update("open", NOON + SECOND), update("close", NOON + 9 * SECOND, usd=200_000.0, events=5)
    stored(tmp_path, opened, closed, opened)
    assert ask(tmp_path, "SELECT state, usd, closed FROM cascades") == [("close", 200_000.0, at("12:00:09"))]
    assert ask(tmp_path, "SELECT state FROM cascade_updates ORDER BY time") == [("open",), ("close",)]


def test_around_gives_the_events_near_a_cascade_with_the_price_then(tmp_path: Path, make: Make) -> None:
    stored(
        tmp_path,
        update("open", NOON + SECOND),
        update("close", NOON + 9 * SECOND),
        MarkPrice("bybit", "BTCUSDT", "BTC", 80_100.0, None, NOON - SECOND, NOON),
        MarkPrice("bybit", "BTCUSDT", "BTC", 79_900.0, None, NOON + SECOND, NOON),
        make(1, NOON - 6 * SECOND),
        make(2, NOON - 4 * SECOND),
        make(3, NOON),
        make(4, NOON + 2 * SECOND),
        make(5, NOON + 2 * SECOND, asset="ETH", instrument="ETHUSDT"),
        make(6, NOON + 15 * SECOND),
    )
    rows = ask(tmp_path, "SELECT event_id[-1:], seconds_from_start, mark_price FROM around('c1', 5)")
    assert rows == [("2", -4.0, None), ("3", 0.0, 80_100.0), ("4", 2.0, 79_900.0)]
    stored(tmp_path, update("open", NOON, cascade_id="all", asset="*"), writer="two")
    assert ask(tmp_path, "SELECT count(DISTINCT asset) FROM around('all', 5)") == [(2,)]


def test_minutes_count_liquidations_and_adl_apart(tmp_path: Path, make: Make) -> None:
    stored(
        tmp_path,
        make(1),
        make(2, notional_usd=60_000.0),
        make(3, cause="adl", notional_usd=7.0),
        make(4, NOON + 60 * SECOND, coverage="sampled"),
    )
    columns = "minute, venue, position, count, usd, largest_usd, adl_count, adl_usd, floor"
    assert ask(tmp_path, f"SELECT {columns} FROM liquidations_1m ORDER BY minute") == [  # noqa: S608 - our own names
        (at("12:00:00"), "bybit", "long", 2, 100_000.0, 60_000.0, 1, 7.0, False),
        (at("12:01:00"), "bybit", "long", 1, 40_000.0, 40_000.0, 0, 0.0, True),
    ]


def test_totals_look_back_from_now(tmp_path: Path, make: Make) -> None:
    now = time.time_ns()  # noqa: TID251 - the view's own clock is the machine's
    stored(
        tmp_path,
        make(1, now - 60 * SECOND),
        make(2, now - 60 * SECOND, position="short", notional_usd=5.0),
        make(3, now - 60 * SECOND, cause="adl"),
        make(4, now - 7_200 * SECOND),
    )
    assert ask(tmp_path, "FROM totals(1)") == [
        ("long", 1, 40_000.0, 40_000.0, False),
        ("short", 1, 5.0, 5.0, False),
    ]
    assert ask(tmp_path, "SELECT count FROM totals(3)") == [(2,), (1,)]
    assert ask(tmp_path, "SELECT count(*) FROM liquidations WHERE event_time > now() - INTERVAL 1 HOUR") == [(3,)]


def test_the_window_of_a_metric_is_asked_without_quotes(tmp_path: Path) -> None:
    metrics = WindowMetrics(
        "BTC", "2s", NOON, 3, 9.0, 3, 0, 9.0, 0.0, 0, 0.0, 0.0, 1.5, 4.5, 0.1, 0.2, {"okx": 2, "bybit": 1}, "okx"
    )
    stored(tmp_path, metrics, metrics)
    assert ask(tmp_path, "SELECT window_name, venues['okx'], leading_venue FROM windows") == [("2s", 2, "okx")]


def test_a_directory_of_any_name_can_be_read(tmp_path: Path, make: Make) -> None:
    data_dir = tmp_path / "it's [all] * odd?"
    stored(data_dir, make(1))
    assert ask(data_dir, "SELECT count(*) FROM liquidations") == [(1,)]


def test_the_views_are_made_once_and_anew_where_the_directory_moved(tmp_path: Path, make: Make) -> None:
    first = tmp_path / "first"
    stored(first, make(1))
    made = create_views(first)
    before = made.stat().st_ino
    assert create_views(first).stat().st_ino == before
    first.rename(tmp_path / "second")
    assert ask(tmp_path / "second", "SELECT count(*) FROM liquidations") == [(1,)]
    assert (tmp_path / "second" / FILE).stat().st_ino != before


def test_a_file_that_is_no_database_is_replaced(tmp_path: Path) -> None:
    lay_out(tmp_path)
    (tmp_path / FILE).write_bytes(b"not a database at all" * 1000)
    assert ask(tmp_path, "SELECT count(*) FROM signals") == [(0,)]


def test_no_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="no data directory"):
        connect(tmp_path / "absent")


HOLDER = """
import duckdb, sys
held = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""


def test_the_history_is_read_while_somebody_holds_the_file_for_writing(
    tmp_path: Path, make: Make, python: Python
) -> None:
    stored(tmp_path, make(1))
    holder = python(HOLDER, create_views(tmp_path))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(duckdb.IOException, match="lock"):
        duckdb.connect(str(tmp_path / FILE), read_only=True)
    assert ask(tmp_path, "SELECT count(*) FROM liquidations") == [(1,)]
    assert ask(tmp_path, "FROM around('none', 5)") == []


def test_a_read_only_place_without_the_file_is_read_from_memory(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path, make(1))
    for empty in tmp_path.glob("history/signals/dt=*/*"):
        empty.unlink()

    def refuse(_: Path) -> Path:
        raise HistoryError("read-only")

    monkeypatch.setattr("sinks.duckdb.create_views", refuse)
    assert ask(tmp_path, "SELECT count(*) FROM liquidations") == [(1,)]
    assert ask(tmp_path, "SELECT * FROM signals WHERE dt = current_date") == []
    assert not (tmp_path / FILE).exists()


STARTER = """
import sys
from pathlib import Path
from sinks.duckdb import connect
sys.stdin.readline()
with connect(Path(sys.argv[1])) as connection:
    print(connection.execute("SELECT count(*) FROM liquidations").fetchall(), flush=True)
"""


def test_processes_starting_at_the_same_moment_all_get_the_views(tmp_path: Path, python: Python) -> None:
    (tmp_path / "history").mkdir()
    starters = [python(STARTER, tmp_path) for _ in range(3)]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    assert [starter.communicate()[0] for starter in starters] == ["[(0,)]\n"] * 3
    assert (tmp_path / FILE).exists()


READER = """
import sys, time
from pathlib import Path
from sinks.duckdb import connect
seen, reads, last = [], 0, 0
print("ready", flush=True)
while last < int(sys.argv[2]):
    with connect(Path(sys.argv[1])) as connection:
        for _ in range(5):
            question = "SELECT count(*), count(DISTINCT event_id) FROM liquidations"
            count, distinct = connection.execute(question).fetchall()[0]
            assert count == distinct and count >= last, (count, distinct, last)
            last, reads = count, reads + 1
print(reads, flush=True)
"""


def test_readers_never_fail_and_never_see_less_while_a_writer_writes(
    tmp_path: Path, make: Make, python: Python
) -> None:
    history = ParquetHistory(tmp_path, "one")
    create_views(tmp_path)
    readers = [python(READER, tmp_path, 200) for _ in range(2)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    for number in range(200):
        history.add(make(number))
        if number % 4 == 3:
            history.flush()
            time.sleep(0.01)
    reads = [int(reader.communicate(timeout=20)[0]) for reader in readers]
    assert all(count >= 5 for count in reads)
    assert [reader.returncode for reader in readers] == [0, 0]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_readers_leave_no_file_behind(tmp_path: Path, make: Make) -> None:
    stored(tmp_path, make(1))
    ask(tmp_path, "SELECT count(*) FROM liquidations")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history", FILE]
    assert list((tmp_path / "history" / "_tmp").iterdir()) == []


def test_executions_keep_decimals_as_they_are_and_a_report_told_twice_is_there_once(tmp_path: Path) -> None:
    """An average of fills may have more digits than a file keeps; they are rounded at the eighteenth place."""
    filled = ExecutionReport(
        sequence=4, intent_id="i", pair="basis", asset="BTC", what="filled", venue="aster", instrument="BTCUSDT",
        client_id="c", side="sell", quantity=Decimal("0.1"), price=Decimal(200_000) / 3, reduce_only=True, detail="",
        time=NOON,
    )  # fmt: skip
    told = ExecutionReport(
        sequence=3, intent_id="i", pair="basis", asset="BTC", what="intent", venue="", instrument="", client_id="",
        side=None, quantity=None, price=None, reduce_only=None, detail="emergency_close", time=NOON,
    )  # fmt: skip
    stored(tmp_path, filled, told, filled)
    assert ask(tmp_path, "SELECT sequence, what, quantity, price, reduce_only FROM executions ORDER BY sequence") == [
        (3, "intent", None, None, None),
        (4, "filled", Decimal("0.1"), Decimal("66666.666666666666666667"), True),
    ]
