"""Retention: old days go as a whole, the rest stays; and upkeep does both beside a writer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from schemas.clock import HOUR
from schemas.errors import HistoryError
from schemas.manifest import read_manifest
from schemas.records import Liquidation
from sinks.compaction import alone, compact
from sinks.duckdb import asked, connect
from sinks.parquet import ParquetHistory
from sinks.retention import retain
from sinks.upkeep import Upkeep

Make = Callable[..., Liquidation]

NOON = 1_795_262_400_000_000_000
DAY = 24 * HOUR
SECONDS = 86_400.0


def five_days(data_dir: Path, make: Make) -> ParquetHistory:
    history = ParquetHistory(data_dir, "one")
    for number in range(5):
        history.add(make(number, NOON + number * DAY))
        history.flush()
    return history


def days(data_dir: Path) -> list[str]:
    query = "SELECT DISTINCT dt::VARCHAR FROM liquidations ORDER BY ALL"
    rows = asked(data_dir, lambda connection: connection.execute(query).fetchall())
    hours = query.replace("liquidations", "liquidations_1h")
    assert asked(data_dir, lambda connection: connection.execute(hours).fetchall()) == rows
    return [row[0][-2:] for row in rows]


@pytest.mark.parametrize("compacted", [False, True])
def test_days_older_than_the_limit_go_whole_sealed_or_not(tmp_path: Path, make: Make, compacted: bool) -> None:
    five_days(tmp_path, make)
    if compacted:
        compact(tmp_path, NOON + 4 * DAY, grace=0)
    assert days(tmp_path) == ["21", "22", "23", "24", "25"]
    with closing(connect(tmp_path)) as old:
        removed = retain(tmp_path, NOON + 4 * DAY, 2 * SECONDS)
        assert (removed.before, removed.days) == ("2026-11-23", 2)
        assert removed.files == (4 if compacted else 2)
        assert removed.megabytes > 0
        with pytest.raises(duckdb.IOException, match="No files found"):
            old.execute("FROM liquidations")
    assert days(tmp_path) == ["23", "24", "25"]
    assert sorted(read_manifest(tmp_path / "history").of("liquidations").days) == (
        ["2026-11-23", "2026-11-24"] if compacted else []
    )
    assert list((tmp_path / "history" / "_tmp").iterdir()) == []
    again = retain(tmp_path, NOON + 4 * DAY, 2 * SECONDS)
    assert (again.days, again.files) == (0, 0)


def test_without_a_limit_everything_stays(tmp_path: Path, make: Make) -> None:
    five_days(tmp_path, make)
    assert retain(tmp_path, NOON + 400 * DAY, 0).days == 0
    assert len(days(tmp_path)) == 5


def test_rows_that_come_for_a_removed_day_are_kept_until_the_next_run(tmp_path: Path, make: Make) -> None:
    history = five_days(tmp_path, make)
    compact(tmp_path, NOON + 4 * DAY)
    retain(tmp_path, NOON + 4 * DAY, 2 * SECONDS)
    history.add(make(0, NOON))
    history.flush()
    assert days(tmp_path) == ["21", "23", "24", "25"]
    retain(tmp_path, NOON + 4 * DAY, 2 * SECONDS)
    assert days(tmp_path) == ["23", "24", "25"]
    compact(tmp_path, NOON + 4 * DAY, grace=0)
    assert days(tmp_path) == ["23", "24", "25"]


def test_upkeep_does_both_when_it_is_time_and_tells_what_failed(tmp_path: Path, make: Make) -> None:
    five_days(tmp_path, make)
    now = NOON + 4 * DAY
    upkeep = Upkeep(tmp_path, 2 * SECONDS, every=HOUR, clock=lambda: now)
    assert upkeep.due(now)
    upkeep.close()
    assert upkeep.error is None
    assert upkeep.removed is not None
    assert upkeep.compacted is not None
    assert (upkeep.removed.days, upkeep.compacted.days) == (2, 2)
    assert not upkeep.due(now + HOUR - 1)
    with alone(tmp_path / "history"):
        assert upkeep.due(now + HOUR)
        upkeep.close()
    assert "another process" in str(upkeep.error)
    assert upkeep.due(now + 2 * HOUR)
    upkeep.close()
    assert upkeep.error is None
    assert days(tmp_path) == ["23", "24", "25"]
    with pytest.raises(HistoryError, match="no history below"):
        retain(tmp_path / "absent", NOON, SECONDS)
