"""The history on disk: whole files, each row once, nothing lost to a crash or a full disk."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from schemas.batches import Batch, LiquidationColumns, Names, Tick
from schemas.clock import SECOND
from schemas.errors import HistoryError, UsageError
from schemas.records import Control, DeadLetter, Funding, Liquidation
from schemas.tables import DATASETS, records
from sinks.background import BackgroundHistory
from sinks.parquet import EMPTY, ParquetHistory, lay_out

Make = Callable[..., Liquidation]
Python = Callable[..., subprocess.Popen[str]]

NOON = 1_795_262_400_000_000_000
DAY = 86_400_000_000_000


def parts(data_dir: Path, dataset: str = "liquidations") -> list[Path]:
    """The files of a dataset in the order of what they hold."""
    return sorted(data_dir.glob(f"history/{dataset}/dt=*/part-*.parquet"))


def numbers(data_dir: Path) -> list[int]:
    """The numbers of all forced closes, file by file."""
    return [
        number for part in parts(data_dir) for number in pq.ParquetFile(part).read(["event_id"])["event_id"].to_pylist()
    ]


def batch(*ids: int, time: int = NOON) -> Batch:
    """A batch of forced closes as columns."""
    assets = Names()
    assets.code("BTC")
    n = len(ids)
    zeros = {
        name: np.zeros(n, getattr(LiquidationColumns.empty(), name).dtype)
        for name in LiquidationColumns.__dataclass_fields__
    }
    columns = LiquidationColumns(
        **{
            **zeros,
            "event_id": np.array(ids, np.uint64),
            "event_time": np.full(n, time),
            "receive_time": np.full(n, time),
        }
    )
    return Batch(columns, ["BTCUSDT"], assets)


def test_records_and_columns_land_in_the_files_of_their_day_as_they_came(tmp_path: Path, make: Make) -> None:
    history = ParquetHistory(tmp_path, "one")
    funding = Funding("okx", "BTC-USDT-SWAP", "BTC", 1e-4, 8.0, 0.1095, None, NOON, NOON)
    mixed = batch(1, 2)
    mixed.others = [(0, funding), (1, Tick(NOON)), (2, Control("okx", "ping", "", NOON))]
    history.append(mixed)
    history.add(make(3))
    history.append(batch(4, 5))
    history.add(make(6, NOON + DAY))
    assert history.flush() == 3
    files = parts(tmp_path)
    assert [f"{f.parent.name}/{f.name}" for f in files] == [
        "dt=2026-11-21/part-one-000000000000-000000000007.parquet",
        "dt=2026-11-22/part-one-000000000000-000000000007.parquet",
    ]
    assert [r.event_id for r in records(pq.ParquetFile(files[0]).read())] == [f"{n:016x}" for n in range(1, 6)]
    assert records(pq.ParquetFile(files[1]).read()) == [make(6, NOON + DAY)]
    assert records(pq.ParquetFile(parts(tmp_path, "funding")[0]).read()) == [funding]
    assert history.rows == {"liquidations": 6, "funding": 1}
    assert (history.files, history.waiting, history.sequence) == (3, 0, 7)


def test_every_dataset_can_be_read_before_anything_happened(tmp_path: Path) -> None:
    lay_out(tmp_path)
    for name, dataset in DATASETS.items():
        empty = pq.read_table(tmp_path / "history" / name / "dt=1970-01-01" / EMPTY, partitioning=None)
        assert empty.schema.names == dataset.schema.names
        assert empty.schema.metadata == dataset.schema.metadata
        assert empty.num_rows == 0


def test_rows_wait_no_longer_than_told_and_many_rows_do_not_wait(tmp_path: Path, make: Make) -> None:
    now = NOON
    history = ParquetHistory(tmp_path, flush_seconds=60, flush_rows=3, clock=lambda: now)
    history.add(make(1))
    assert history.flush_due(NOON + 59 * SECOND) == 0
    assert history.flush_due(NOON + 60 * SECOND) == 1
    history.append(batch(2, 3, 4))
    history.add(DeadLetter("okx", "liquidations", "why", b"\x00\xff", NOON))
    assert history.flush_due(NOON) == 1
    assert numbers(tmp_path) == [1, 2, 3, 4]
    assert parts(tmp_path, "dead_letters") == []
    history.close()
    assert pq.ParquetFile(parts(tmp_path, "dead_letters")[0]).read()["raw"].to_pylist() == [b"\x00\xff"]


def test_a_rewind_removes_what_this_writer_wrote_past_the_snapshot_and_nothing_else(tmp_path: Path, make: Make) -> None:
    other = ParquetHistory(tmp_path, "other")
    other.add(make(100))
    other.flush()
    history = ParquetHistory(tmp_path, "one")
    history.add(make(1))
    kept = history.snapshot()
    history.add(make(2))
    history.flush()
    history.add(make(3))
    again = ParquetHistory(tmp_path, "one")
    assert again.rewind(kept) == 1
    assert sorted(numbers(tmp_path)) == [1, 100]
    again.add(make(2))
    again.close()
    assert sorted(numbers(tmp_path)) == [1, 2, 100]
    assert again.rewind(0) == 2
    assert numbers(tmp_path) == [100]


def test_a_position_inside_a_file_is_no_snapshot(tmp_path: Path, make: Make) -> None:
    history = ParquetHistory(tmp_path, "one")
    history.add(make(1))
    history.add(make(2))
    history.flush()
    with pytest.raises(HistoryError, match="spans 1"):
        history.rewind(1)
    assert numbers(tmp_path) == [1, 2]


def test_two_runs_never_share_a_name_unless_told(tmp_path: Path, make: Make) -> None:
    times = iter(range(NOON, NOON + 100))
    for number in (1, 2):
        history = ParquetHistory(tmp_path, clock=lambda: next(times))
        history.add(make(number))
        history.close()
    assert sorted(numbers(tmp_path)) == [1, 2]
    with pytest.raises(UsageError, match="one-two"):
        ParquetHistory(tmp_path, "one-two")


WRITER = """
import os, sys
from pathlib import Path
from sinks.parquet import ParquetHistory
from tests.sinks.conftest import NOON, liquidation

data, state, total = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
history = ParquetHistory(data, "writer")
done = int(state.read_text()) if state.exists() else 0
history.rewind(done)
print("resumed", flush=True)
while done < total:
    for _ in range(7):
        for _ in range(5):
            if done < total:
                history.add(liquidation(done, NOON + done * 40_000_000_000))
                done += 1
        history.flush()
    position = history.snapshot()
    assert position == done
    new = state.with_suffix(".new")
    new.write_text(str(position))
    os.replace(new, state)
print("done", flush=True)
"""


def test_after_kill_9_readers_see_whole_files_and_a_resumed_writer_has_each_row_once(
    tmp_path: Path, python: Python
) -> None:
    chance = random.Random(9)
    state, total, killed = tmp_path / "state", 1_500, 0
    for _ in range(40):
        writer = python(WRITER, tmp_path, state, total)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "resumed\n"
        resumed = int(state.read_text()) if state.exists() else 0
        if killed < 4:
            time.sleep(chance.uniform(0.02, 0.25))
            writer.kill()
            writer.wait()
            killed += 1
            seen = numbers(tmp_path)
            assert sorted(seen) == list(range(len(seen))), "whole files only, nothing twice, nothing missing between"
            assert len(seen) >= resumed
            continue
        assert writer.stdout.readline() == "done\n"
        break
    assert killed == 4
    assert sorted(numbers(tmp_path)) == list(range(total))
    assert len({part.parent.name for part in parts(tmp_path)}) == 2
    assert list((tmp_path / "history" / "_tmp").iterdir()) == []


LIMITED = """
import resource, sys
from pathlib import Path
from schemas.errors import HistoryError
from sinks.parquet import ParquetHistory
from tests.sinks.conftest import NOON, liquidation

history = ParquetHistory(Path(sys.argv[1]), "one", flush_seconds=1, clock=lambda: NOON)
for number in range(50):
    history.add(liquidation(number))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
try:
    history.snapshot()
except HistoryError as error:
    print(error)
history.add(liquidation(50))
print(history.flush_due(NOON), history.waiting, history.files, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
print(history.flush_due(NOON + 1_000_000_000), history.waiting, history.dropped, flush=True)
"""


def test_a_disk_that_takes_no_more_is_said_with_its_remedy_and_no_row_is_lost_or_doubled(
    tmp_path: Path, python: Python
) -> None:
    writer = python(LIMITED, tmp_path)
    said, refused, later = writer.communicate()[0].splitlines()
    assert str(tmp_path / "history/liquidations/dt=2026-11-21/part-one") in said
    assert "raise it (ulimit -f)" in said
    assert "50 rows wait in memory" in said
    assert refused == "0 51 0"
    assert later == "2 0 0"
    assert numbers(tmp_path) == list(range(51))


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(HistoryError, match=r"data.*choose another data_dir"):
        ParquetHistory(tmp_path / "data")


def refuse(tmp_path: Path) -> Path:
    """Put a file where the day's folder must be."""
    day = tmp_path / "history" / "liquidations" / "dt=2026-11-21"
    day.write_text("in the way")
    return day


def test_more_rows_than_can_be_kept_are_dropped_oldest_first_and_counted(tmp_path: Path) -> None:
    history = ParquetHistory(tmp_path, "one", keep_rows=5, clock=lambda: NOON)
    way = refuse(tmp_path)
    for first in (0, 2, 4):
        history.append(batch(first, first + 1))
        with pytest.raises(HistoryError):
            history.flush()
    assert (history.waiting, history.dropped) == (4, 2)
    way.unlink()
    history.flush()
    assert numbers(tmp_path) == [2, 3, 4, 5]


def test_the_thread_writes_what_is_handed_over_and_tells_what_failed(tmp_path: Path, make: Make) -> None:
    background = BackgroundHistory(ParquetHistory(tmp_path, "one", flush_seconds=0))
    way = refuse(tmp_path)
    background.append(batch(1, 2))
    background.add(make(3))
    limit = time.monotonic() + 5
    while background.error is None and time.monotonic() < limit:
        time.sleep(0.01)
    assert "a file is in the way" in str(background.error)
    way.unlink()
    background.close()
    assert numbers(tmp_path) == [1, 2, 3]
    assert background.dropped == 0


def test_a_full_queue_drops_and_counts_and_never_waits(tmp_path: Path, make: Make) -> None:
    history = ParquetHistory(tmp_path, "one")
    slow = history.add
    history.add = lambda record: (time.sleep(0.2), slow(record))[1]  # type: ignore[method-assign] # a slow disk
    background = BackgroundHistory(history, depth=1)
    started = time.monotonic()
    for number in range(20):
        background.add(make(number))
    assert time.monotonic() - started < 0.15
    background.close()
    assert background.dropped == 20 - len(numbers(tmp_path))
    assert background.dropped >= 17


def test_a_thread_that_stops_says_why(tmp_path: Path) -> None:
    background = BackgroundHistory(ParquetHistory(tmp_path, "one"), depth=2)
    background.add("no record")  # type: ignore[arg-type] # what is tried
    limit = time.monotonic() + 5
    while background.error is None and time.monotonic() < limit:
        time.sleep(0.01)
    for _ in range(5):
        background.add("no record")  # type: ignore[arg-type] # what is tried
    background.close()
    assert "the history stopped: KeyError" in str(background.error)
    assert background.dropped == 3
