"""Where a recording is judged: not over silences of the recorder, not over what it is known to have missed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.study.events import GATHERED_SILENCE, SILENCE, Recording, decisions, read_recording, stretches, without
from schemas.clock import MINUTE, SECOND
from schemas.records import FeedStatus, Liquidation
from schemas.tables import table
from tests.flows.study.conftest import T0, made

Span = tuple[int, int]


def spans(*each: Span) -> np.ndarray:
    return np.array(each, np.int64).reshape(-1, 2)


def test_gaps_are_cut_out_of_stretches() -> None:
    found = without(spans((0, 100), (200, 300)), spans((10, 20), (15, 30), (90, 210), (300, 400)))
    assert found.tolist() == [[0, 10], [30, 90], [210, 300]]
    assert without(spans((0, 100)), spans()).tolist() == [[0, 100]]
    assert without(spans((5, 10)), spans((0, 20))).tolist() == []


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda s: (s[0], s[0] + s[1])), max_size=6)


@given(SPANS)
def test_what_is_left_is_what_no_gap_covers(gaps: list[Span]) -> None:
    left = without(spans((5, 50)), spans(*sorted(gaps)))
    inside = {t for first, last in left.tolist() for t in range(first, last)}
    assert inside == {t for t in range(5, 50) if not any(first <= t < last for first, last in gaps)}


def test_nothing_is_predicted_whose_minute_reaches_into_a_gap() -> None:
    recording = Recording("x", made(np.arange(0, 3600, 10.0)), ("BTC",), "0", gaps=T0 + spans((600, 700)) * SECOND)
    times = (decisions(recording.recorded, MINUTE) - T0) // SECOND
    assert not ((times > 540) & (times < 700)).any()
    assert {540, 700} <= set(times.tolist())


def test_a_history_tells_its_gaps(tmp_path: Path) -> None:
    """Those of venues that hold a share of the USD; a gap of a venue that told nothing cuts nothing."""
    closes = [close("bybit", T0 + i * MINUTE, i) for i in range(60)]
    lost = [gap("bybit", 10, 12), gap("okx", 20, 30)]
    for dataset, rows in (("liquidations", closes), ("feeds", lost)):
        folder = tmp_path / "history" / dataset / "dt=2023-01-06"
        folder.mkdir(parents=True)
        pq.write_table(table(dataset, rows), folder / "one.parquet")
    found = read_recording([tmp_path])
    assert ((found.gaps - T0) // MINUTE).tolist() == [[10, 12]]
    assert ((found.recorded - T0) // MINUTE).tolist() == [[0, 10], [12, 59]]


def close(venue: str, time: int, number: int) -> Liquidation:
    return Liquidation(
        f"{number:016x}", venue, "BTCUSDT", "BTC", "long", "liquidation", 100.0, "fill", 10.0, 1000.0, time, time,
        "complete", backfill=False, time_source="venue",
    )  # fmt: skip


def gap(venue: str, first: int, last: int) -> FeedStatus:
    begun, ended = T0 + first * MINUTE, T0 + last * MINUTE
    return FeedStatus(venue, "liquidations", "gap", "reconnected", ended, gap_from=begun, gap_to=ended)


@pytest.mark.parametrize(("price", "silence"), [(100.0, SILENCE), (float("nan"), GATHERED_SILENCE)])
def test_where_rows_are_sums_a_calm_hour_is_no_outage(tmp_path: Path, price: float, silence: int) -> None:
    hours = np.array([0.0, 1.0, 2.0, 9.0])
    names = ("venue", "symbol", "side", "ts_kind")
    text = dict(zip(names, ("binance", "BTCUSDT", "SELL", "exchange_trade_time"), strict=True))
    columns = {name: [value] * 4 for name, value in text.items()}
    numbers = {"price": np.full(4, price), "qty": np.full(4, price), "usd": np.full(4, 30_000.0)}
    times = {"ts_ms": (T0 + hours * 3600 * SECOND).astype(np.int64) // 10**6}
    pq.write_table(pa.table(columns | numbers | times), tmp_path / "rows.parquet")
    found = read_recording([tmp_path / "rows.parquet"])
    assert found.silence == silence
    assert len(found.recorded) == (2 if silence == GATHERED_SILENCE else 4)


def test_stretches_take_the_silence_told() -> None:
    time = made([0, 100, 300]).time
    assert len(stretches(time, 100 * SECOND)) == 2
    assert len(stretches(time, 200 * SECOND)) == 1
