"""Measures on their way into the history, and the questions they answer there."""

from __future__ import annotations

from pathlib import Path

from flows.domain.detector import Detector
from flows.domain.measures import UnderCount
from flows.domain.rules import Rules
from flows.keeping import Archive
from flows.settings import HistorySettings
from flows.stages import Outcome
from schemas.clock import SECOND
from sinks.background import BackgroundHistory
from sinks.duckdb import connect
from sinks.parquet import ParquetHistory
from tests.flows.domain.conftest import T0, Event, assets, batch


def test_what_was_measured_is_asked_in_sql(tmp_path: Path) -> None:
    """SOL bursts on bybit from 1 s and on okx from 3 s, BTC from 5 s; both ways to the disk."""
    sol = [Event(1000 + k * 500, asset="SOL", usd=200_000 if k == 3 else 1000, price=150.0) for k in range(20)]
    okx = [Event(3000 + k * 700, asset="SOL", venue="okx", coverage="sampled", price=151.0) for k in range(6)]
    btc = [Event(5000 + k * 400, asset="BTC", price=60_000.0) for k in range(20)]
    names = assets()
    detector = Detector(Rules(), names, measures=UnderCount(sampled=2.5))
    arrived = batch(sorted([*sol, *okx, *btc, Event(14_000, asset="ETH")], key=lambda e: e.time), names)
    outcome = Outcome(arrived, detector.process(arrived))
    behind = BackgroundHistory(ParquetHistory(tmp_path, "behind"))
    Archive(behind, HistorySettings()).take(outcome)
    behind.close()
    again = ParquetHistory(tmp_path, "again")
    Archive(again, HistorySettings()).take(outcome)
    again.close()
    told = sum(map(len, outcome.detections.measures))
    assert behind.history.rows["measures"] == again.rows["measures"] == told
    with connect(tmp_path) as connection:

        def ask(sql: str) -> list[tuple[object, ...]]:
            last = 11 if "'SOL'" in sql else 13
            return connection.execute(sql, [T0 + last * SECOND]).fetchall()

        assert connection.execute("SELECT count(*) FROM measures").fetchall() == [(told,)]
        asked = "SELECT leading_venue, venue_lags['okx'], whale_events, round(whale_share, 3), floor_usd, estimate_usd"
        found = ask(asked + " FROM measures WHERE asset = 'SOL' AND epoch_ns(time) = ?")
        assert found == [("bybit", 2.0, 1, round(200 / 225, 3), 6000.0, 219_000.0 + 15_000.0)]
        asked = "SELECT wave, breadth_burst, active_assets FROM measures WHERE asset = '*' AND epoch_ns(time) = ?"
        assert ask(asked) == [(["SOL", "BTC"], 1.0, 2)]
        asked = "SELECT igniter, ignited, seconds FROM contagion WHERE asset = '*' AND epoch_ns(time) = ?"
        assert ask(asked) == [("SOL", "BTC", 4.0)]
        asked = "SELECT leader, follower, seconds FROM venue_leads WHERE asset = 'SOL' AND epoch_ns(time) = ?"
        assert ask(asked) == [("bybit", "okx", 2.0)]
        asked = "SELECT round(share, 2), long_share FROM price_levels WHERE asset = 'SOL' AND epoch_ns(time) = ?"
        assert ask(asked)[0] == (0.97, 1.0)
        asked = "SELECT length, count, usd_change FROM rolling WHERE asset = 'SOL' AND epoch_ns(time) = ?"
        assert sorted(ask(asked)) == [("15m", 0.0, None), ("1h", 0.0, None), ("4h", 0.0, None)]
