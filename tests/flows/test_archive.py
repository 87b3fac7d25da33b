"""The archive worker looks after days that are over while it writes, and may die in between."""

from __future__ import annotations

from pathlib import Path

from flows.archive import Lane, lanes, upkeep
from flows.settings import HistorySettings, Settings
from flows.worker import Worker
from schemas.clock import HOUR
from sinks.duckdb import connect
from tests.flows.domain.conftest import T0, Event, assets, batch


def test_a_day_that_is_over_is_sealed_beside_the_writing_and_no_row_is_lost_or_doubled(tmp_path: Path) -> None:
    now = T0 + 48 * HOUR
    worker = Worker("archive", Settings(data_dir=tmp_path), lambda: now)
    names = assets()
    yesterday = batch([Event(n * 10) for n in range(50)], names)
    today = batch([Event(2 * 86_400_000 + n * 10) for n in range(20)], names, 1000)
    looking_after = upkeep(worker, lanes()[0])
    assert looking_after is not None
    lane = Lane(worker, "archive.lane0", None, looking_after)
    lane.take([yesterday])
    lane.snapshot()
    looking_after.close()
    now += HOUR
    lane.take([today])
    looking_after.close()
    assert looking_after.error is None
    folder = tmp_path / "history" / "liquidations"
    assert len(list(folder.glob("dt=2025-10-10/day-*.parquet"))) == 1
    died_before_its_first_snapshot = Lane(worker, "archive.lane0", None)
    died_before_its_first_snapshot.take([yesterday, today])
    died_before_its_first_snapshot.snapshot()
    with connect(tmp_path) as connection:
        asked = "SELECT count(*), count(DISTINCT event_id) FROM liquidations"
        assert connection.execute(asked).fetchall() == [(70, 70)]


def test_one_lane_does_it_for_all_and_none_where_nobody_wants_it(tmp_path: Path) -> None:
    worker = Worker("archive", Settings(data_dir=tmp_path))
    assert [upkeep(worker, lane) is not None for lane in lanes()] == [True, False, False, False]
    worker = Worker("archive", Settings(data_dir=tmp_path, history=HistorySettings.model_validate({"upkeep": "0s"})))
    assert upkeep(worker, lanes()[0]) is None


def test_a_double_is_known_after_a_restart_however_much_came_in_between(tmp_path: Path) -> None:
    """A worker that is killed while it catches up tells a whole snapshot interval again."""
    worker = Worker("archive", Settings(data_dir=tmp_path), lambda: T0 + 48 * HOUR)
    names = assets()
    told = batch([Event(n // 1000) for n in range(200_000)], names)
    lane = Lane(worker, "archive.lane0", None)
    lane.take([told])
    place = lane.snapshot()
    restarted = Lane(worker, "archive.lane0", place)
    again = batch([Event(n // 1000) for n in range(200_001)], names)
    restarted.take([again])
    assert restarted.snapshot() == (200_001, 200_001)
    with connect(tmp_path) as connection:
        asked = "SELECT count(*), count(DISTINCT event_id) FROM read_parquet($1)"
        files = str(tmp_path / "history" / "liquidations" / "dt=2025-*" / "part-*.parquet")
        assert connection.execute(asked, [files]).fetchall() == [(200_001, 200_001)]
