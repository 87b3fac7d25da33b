"""Exports: the rows asked for, the same bytes for the same history, and a manifest that is true."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from schemas.clock import HOUR, SECOND
from schemas.errors import HistoryError, UsageError
from schemas.records import DeadLetter, Liquidation
from sinks.compaction import compact
from sinks.export import FORMATS, ExportFormat, Wanted, export
from sinks.parquet import ParquetHistory

Make = Callable[..., Liquidation]

NOON = 1_795_262_400_000_000_000
DAY = 24 * HOUR


def filled(data_dir: Path, make: Make, order: list[int]) -> None:
    history = ParquetHistory(data_dir, f"w{order[0]}")
    for number in order:
        history.add(make(number, NOON + number * HOUR, asset="ETH" if number % 3 else "BTC", price=80_000 + number / 7))
        history.flush()
    history.add(DeadLetter("okx", "liquidations", "why", b"\x00", NOON))
    history.close()


def exported(data_dir: Path, out: Path, wanted: Wanted, format: ExportFormat = "csv") -> dict[str, bytes]:
    export(data_dir, out, wanted, format, "1.2.3")
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_history_gives_the_same_bytes_however_it_is_stored(
    tmp_path: Path, make: Make, format: ExportFormat
) -> None:
    wanted = Wanted(("liquidations", "dead_letters"))
    filled(tmp_path / "a", make, list(range(30)))
    filled(tmp_path / "b", make, [*range(29, -1, -1), 4, 5])
    first = exported(tmp_path / "a", tmp_path / "out", wanted, format)
    assert sorted(first) == [f"dead_letters.{format}", f"liquidations.{format}", "manifest.json"]
    assert exported(tmp_path / "b", tmp_path / "other", wanted, format) == first
    compact(tmp_path / "b", NOON + DAY, grace=0)
    assert exported(tmp_path / "b", tmp_path / "other", wanted, format) == first


def test_a_range_holds_its_beginning_and_not_its_end(tmp_path: Path, make: Make) -> None:
    filled(tmp_path / "a", make, list(range(30)))
    out = tmp_path / "btc.csv"
    (file,) = export(
        tmp_path / "a", out, Wanted(since=NOON + 3 * HOUR, until=NOON + 15 * HOUR, assets=("BTC",)), "csv", "1"
    )
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["event_time"] for row in rows] == [
        "2026-11-21 15:00:00", "2026-11-21 18:00:00", "2026-11-21 21:00:00", "2026-11-22 00:00:00",
    ]  # fmt: skip
    assert {row["asset"] for row in rows} == {"BTC"}
    assert file.rows == 4
    manifest = json.loads((tmp_path / "btc.csv.manifest.json").read_text())
    assert manifest == {
        "breakwater": "1", "schema": 1, "format": "csv", "from": "2026-11-21T15:00:00Z", "to": "2026-11-22T03:00:00Z",
        "assets": ["BTC"], "rows": 4,
        "files": [{
            "file": "btc.csv", "dataset": "liquidations", "rows": 4, "bytes": out.stat().st_size,
            "sha256": hashlib.sha256(out.read_bytes()).hexdigest(), "columns": manifest["files"][0]["columns"],
        }],
    }  # fmt: skip
    columns = manifest["files"][0]["columns"]
    assert list(columns) == list(rows[0])
    assert (columns["event_id"], columns["event_time"], columns["price"]) == ("VARCHAR", "TIMESTAMP", "DOUBLE")
    assert "dt" not in columns


def test_formats_hold_the_same_rows(tmp_path: Path, make: Make) -> None:
    filled(tmp_path / "a", make, list(range(5)))
    for format in FORMATS:
        export(tmp_path / "a", tmp_path / f"x.{format}", Wanted(), format, "1")
    parquet = pq.read_table(tmp_path / "x.parquet")
    told = json.loads((tmp_path / "x.json").read_text())
    assert parquet["price"].to_pylist() == [row["price"] for row in told] == [80_000 + n / 7 for n in range(5)]
    rows = list(csv.DictReader((tmp_path / "x.csv").read_text().splitlines()))
    assert [float(row["price"]) for row in rows] == parquet["price"].to_pylist()
    assert [row["event_id"] for row in rows] == parquet["event_id"].to_pylist()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(("trade",)), "no dataset 'trade'; choose from liquidations"),
        (Wanted(("feeds",), assets=("BTC",)), "feeds are not by asset"),
        (Wanted(since=NOON, until=NOON), "from 2026-11-21T12:00:00Z to 2026-11-21T12:00:00Z: the range is empty"),
        (Wanted(("feeds", "trades")), "one file, for one dataset"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, make: Make, wanted: Wanted, said: str) -> None:
    filled(tmp_path / "a", make, [1])
    with pytest.raises(UsageError, match=said):
        export(tmp_path / "a", tmp_path / "x.csv", wanted, "csv", "1")
    assert not (tmp_path / "x.csv").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, make: Make) -> None:
    filled(tmp_path / "a", make, [1])
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HistoryError, match=r"cannot write .*file"):
        export(tmp_path / "a", tmp_path / "file" / "x", Wanted(), "csv", "1")


def test_nothing_in_range_is_an_empty_file_with_its_columns(tmp_path: Path, make: Make) -> None:
    filled(tmp_path / "a", make, [1])
    (file,) = export(tmp_path / "a", tmp_path / "x.parquet", Wanted(until=NOON - SECOND), "parquet", "1")
    assert file.rows == 0
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 0
    assert "event_id" in file.columns
