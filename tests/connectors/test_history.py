"""Breakwater's own history read back: the same records in the same order, whatever the batch size."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.extracts import describe, read_extract
from connectors.history import batches, placed, read_dead_letters, read_history
from schemas.batches import LIQUIDATION_COLUMNS, LiquidationColumns, Names
from schemas.errors import RecordingError
from schemas.records import DeadLetter, Funding, Liquidation, MarketRecord, MarkPrice
from schemas.tables import liquidation_table, table

NOON = 1_795_262_400_000_000_000
DAY = 86_400_000_000_000


def close(number: int, received: int, **changes: object) -> Liquidation:
    fields: dict[str, object] = {
        "event_id": f"{number:016x}", "venue": "gate", "instrument": "ETH_USDT", "asset": "ETH", "position": "short",
        "cause": "liquidation", "price": 3_000.5, "price_kind": "order", "quantity": 2.0, "notional_usd": 6_001.0,
        "event_time": received - 7, "receive_time": received, "coverage": "complete", "backfill": False,
        "time_source": "venue",
    }  # fmt: skip
    return Liquidation(**{**fields, **changes})  # type: ignore[arg-type] # keyword by keyword


def write(root: Path, dataset: str, day: str, name: str, *records: MarketRecord) -> Path:
    path = root / "history" / dataset / f"dt={day}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table(dataset, records), path)
    return path


def read(path: Path, rows: int = 10_000) -> list[MarketRecord]:
    return [record for batch in read_history(path, rows) for record in batch.records()]


MARK = MarkPrice("gate", "ETH_USDT", "ETH", 3_001.0, 3_000.0, NOON + 1, NOON + 2)
FUNDING = Funding("gate", "ETH_USDT", "ETH", 1e-4, 8.0, 0.1095, None, NOON, NOON + 4)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Two days, two writers, one event told twice, and context between."""
    write(tmp_path, "liquidations", "2026-11-21", "part-b-1.parquet", close(1, NOON), close(3, NOON + 3))
    write(tmp_path, "liquidations", "2026-11-21", "part-c-1.parquet", close(2, NOON + 2), close(3, NOON + 3))
    write(tmp_path, "liquidations", "2026-11-22", "part-a-2.parquet", close(4, NOON + DAY, price=float("nan")))
    write(tmp_path, "mark_prices", "2026-11-21", "part-b-1.parquet", MARK)
    write(tmp_path, "funding", "2026-11-21", "part-b-1.parquet", FUNDING)
    write(tmp_path, "liquidations", "1970-01-01", "_empty.parquet")
    return tmp_path


@pytest.mark.parametrize("rows", [1, 2, 3, 10_000])
def test_a_data_directory_comes_in_the_order_it_was_received_each_event_once(data_dir: Path, rows: int) -> None:
    *first, last = read(data_dir, rows)
    assert first == [close(1, NOON), close(2, NOON + 2), MARK, close(3, NOON + 3), FUNDING]
    assert isinstance(last, Liquidation)
    assert (last.event_id, str(last.price)) == (f"{4:016x}", "nan")


def test_a_dataset_a_day_and_a_file_are_read_alone(data_dir: Path) -> None:
    closes = data_dir / "history" / "liquidations"
    assert [r.event_id[-1] for r in read(closes) if isinstance(r, Liquidation)] == ["1", "2", "3", "4"]
    assert read(closes / "dt=2026-11-21") == [close(1, NOON), close(2, NOON + 2), close(3, NOON + 3)]
    assert read(closes / "dt=2026-11-21" / "part-c-1.parquet") == [close(2, NOON + 2), close(3, NOON + 3)]
    assert read(data_dir / "history" / "funding") == [FUNDING]


def test_extracts_read_the_own_history_too(data_dir: Path) -> None:
    assert [len(batch.liquidations) for batch in read_extract(data_dir, 2)][:1] == [2]
    assert describe(data_dir).endswith("Breakwater's own history, as stored")


def test_dead_letters_are_the_frames_they_were(tmp_path: Path) -> None:
    letters = [DeadLetter("okx", "liquidations", "unreadable", b"\x1f\x8b\x00", NOON + n) for n in range(2)]
    file = write(tmp_path, "dead_letters", "2026-11-21", "part-a-1.parquet", *letters)
    for path in (file, tmp_path, tmp_path / "history" / "dead_letters"):
        assert [tuple(frame) for frame in read_dead_letters(path)] == [
            ("okx", "liquidations", b"\x1f\x8b\x00", NOON),
            ("okx", "liquidations", b"\x1f\x8b\x00", NOON + 1),
        ]


def test_what_is_no_history_is_said(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "text.parquet").write_text("not parquet")
    (tmp_path / "none").mkdir()
    with pytest.raises(RecordingError, match=r"cannot read .*text\.parquet"):
        list(read_extract(tmp_path / "text.parquet"))
    with pytest.raises(RecordingError, match="holds no history"):
        list(read_history(tmp_path / "none"))
    with pytest.raises(RecordingError, match="holds no dead letters"):
        list(read_dead_letters(data_dir / "history" / "funding" / "dt=2026-11-21" / "part-b-1.parquet"))


@settings(deadline=None)
@given(
    closes=st.lists(st.integers(0, 50), max_size=20).map(sorted),
    marks=st.lists(st.integers(0, 50), max_size=20),
    rows=st.integers(1, 45),
)
def test_batches_of_any_size_hold_the_same_records_in_the_same_order(
    closes: list[int], marks: list[int], rows: int
) -> None:
    columns = LiquidationColumns(**{name: np.zeros(len(closes), dtype) for name, dtype in LIQUIDATION_COLUMNS.items()})
    columns.receive_time[:] = closes
    columns.event_id[:] = range(len(closes))
    assets = Names()
    assets.code("ETH")
    others = placed(columns.receive_time, [MarkPrice("gate", "X", "X", 1.0, None, t, t) for t in marks])

    def flat(size: int) -> Iterator[MarketRecord]:
        for batch in batches(columns, others, ["ETH_USDT"], assets, size):
            assert len(batch.liquidations) + len(batch.others) <= size
            yield from batch.records()

    merged = list(flat(rows))
    assert merged == list(flat(10_000))
    received = [record.receive_time for record in merged if isinstance(record, Liquidation | MarkPrice)]
    assert received == sorted([*closes, *marks])


def test_own_history_is_read_at_millions_of_rows_a_second(tmp_path: Path) -> None:
    """The target is five million; asserted is what a busy machine still reaches, against decoding the file alone."""
    n = 400_000
    columns = LiquidationColumns(**{name: np.zeros(n, dtype) for name, dtype in LIQUIDATION_COLUMNS.items()})
    columns.event_id[:] = np.random.default_rng(3).integers(0, 2**64, n, np.uint64)
    columns.receive_time[:] = NOON + np.arange(n) * 1_000_000
    columns.price[:] = np.arange(n) % 997
    file = tmp_path / "many.parquet"
    pq.write_table(liquidation_table(columns, ["ETH_USDT"], ["ETH"]), file)

    def fastest(run: object) -> float:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            run()  # type: ignore[operator] # a function
            times.append(time.perf_counter() - started)
        return min(times)

    def ours() -> None:
        assert sum(len(batch.liquidations) for batch in read_history(file, 65_536)) == n

    assert fastest(ours) < 6 * fastest(lambda: pq.ParquetFile(file).read())
