"""Recorded history of others: every file by its own conventions, and what was filled in is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.extracts import UNTOLD_COIN, describe, read_extract
from schemas.errors import RecordingError
from schemas.instruments import Instrument
from schemas.records import Funding, MarkPrice, OpenInterest, Trade

Shared = Callable[[str], Path]
MS = 1_000_000


def records(path: Path, rows: int = 10_000) -> list[Any]:
    return [record for batch in read_extract(path, rows) for record in batch.records()]


def file(tmp_path: Path, **columns: list[Any]) -> Path:
    path = tmp_path / "extract.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def closes(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    """A file of forced closes of our own making, in the documented shape."""
    usual: dict[str, Any] = {
        "venue": "binance_usdm", "symbol": "BTCUSDT", "ts_ms": 1_000_000, "side": "SELL", "price": 50_000.0,
        "qty": 0.5, "usd": 25_000.0, "ts_kind": "exchange_trade_time",
    }  # fmt: skip
    made = [{**usual, **row} for row in rows]
    return file(tmp_path, **{name: [row.get(name) for row in made] for name in {**usual, **made[0]}})


@pytest.mark.parametrize(
    ("venue", "side", "position"),
    [
        ("binance_usdm", "SELL", "long"),
        ("binance_usdm", "buy", "short"),
        ("bybit", "Long", "long"),
        ("okx", "short", "short"),
    ],
)
def test_a_side_is_read_by_its_own_convention(tmp_path: Path, venue: str, side: str, position: str) -> None:
    assert records(closes(tmp_path, {"venue": venue, "side": side}))[0].position == position


def test_an_order_side_of_a_venue_that_means_the_opposite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="side 'sell' of bybit"):
        records(closes(tmp_path, {"venue": "bybit", "side": "Sell"}))


@pytest.mark.parametrize(
    ("symbol", "instrument", "asset", "price", "quantity"),
    [
        ("LRC", "LRCUSDT", "LRC", 2.0, 8.0),
        ("ORDIUSDC", "ORDIUSDC", "ORDI", 2.0, 8.0),
        ("USDC", "USDCUSDT", "USDC", 2.0, 8.0),
        ("BTC_250627", "BTCUSDT_250627", "BTC", 2.0, 8.0),
        ("1000PEPE", "1000PEPEUSDT", "PEPE", 0.002, 8_000.0),
        ("1000SHIBBUSD", "1000SHIBBUSD", "SHIB", 0.002, 8_000.0),
    ],
)
def test_a_cut_symbol_gets_back_what_was_cut(
    tmp_path: Path, symbol: str, instrument: str, asset: str, price: float, quantity: float
) -> None:
    record = records(closes(tmp_path, {"symbol": symbol, "price": 2.0, "qty": 8.0, "usd": 16.0}))[0]
    assert (record.instrument, record.asset, record.price, record.quantity) == (instrument, asset, price, quantity)


def test_an_event_has_the_id_it_would_have_live(tmp_path: Path, read: Callable[..., list[Any]]) -> None:
    """The frame is our own, in the shape the venue documents."""
    frame = (
        '{"e":"forceOrder","E":1700000000123,"o":{"s":"1000PEPEUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"700",'
        '"p":"0.0071","ap":"0.0072345","X":"FILLED","l":"700","z":"700","T":1700000000120}}'
    )
    contract = Instrument("binance_usdm", "1000PEPEUSDT", "1000PEPE", 1.0, "base")
    live = read("binance_usdm", [frame], [contract])[0]
    row = {"symbol": "1000PEPE", "price": 0.0072345, "qty": 700.0, "usd": 0.0072345 * 700, "ts_ms": 1_700_000_000_120}
    recorded = records(closes(tmp_path, {**row, "avg_price": "0.0072345"}))[0]
    assert recorded.event_id == live.event_id
    assert (recorded.price, recorded.quantity, recorded.asset) == (live.price, live.quantity, live.asset)


def test_equal_rows_are_events_of_their_own_whatever_the_batch_size(tmp_path: Path) -> None:
    path = closes(tmp_path, *[{}] * 5)
    ids = [record.event_id for record in records(path)]
    assert len(set(ids)) == 5
    assert [record.event_id for record in records(path, 2)] == ids


def test_what_nobody_told_is_not_made_up(tmp_path: Path) -> None:
    path = closes(
        tmp_path,
        {"price": None, "qty": None},
        {"qty": None, "ts_kind": "telegram_message_time_1s"},
        {"usd": None},
        {"usd": 0.0},
    )
    summed, measured = records(path)
    assert (math.isnan(summed.price), math.isnan(summed.quantity), summed.notional_usd) == (True, True, 25_000.0)
    assert (measured.quantity, measured.coverage, measured.time_source) == (0.5, "partial", "receive")
    assert "2 rows left out: no USD value" in describe(path)


def test_rows_come_by_the_clock_of_the_receiver(tmp_path: Path) -> None:
    path = closes(tmp_path, {"ts_ms": 3_000, "inserted_ts": 1_500}, {"ts_ms": 2_000, "inserted_ts": 1_400})
    assert [(r.event_time, r.receive_time) for r in records(path)] == [
        (2_000 * MS, 1_400 * MS),
        (3_000 * MS, 1_500 * MS),
    ]


def test_an_unknown_venue_and_an_unknown_shape_are_said(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no venue 'ftx'"):
        records(closes(tmp_path, {"venue": "ftx"}))
    with pytest.raises(RecordingError, match=r"no known shape of columns a, b; known are: .*agg_trade_id"):
        records(file(tmp_path, a=[1], b=[2]))


BINANCE = ("sampled", "venue")
EVENTS = {
    "binance_all_2024-08": (456, 0, "RAREUSDT", "short", 0.2185, 4421.0, 965.9885, 1723895903305, "fill", *BINANCE),
    "binance_all_2025-01": (477, 0, "LRCUSDT", "long", 0.17057, 226.0, 38.54882, 1737908829829, "fill", *BINANCE),
    "binance_all_2025-06": (446, 0, "ADAUSDT", "long", 0.5566, 17616.0, 9805.0656, 1750712378119, "order", *BINANCE),
    "binance_all_2025-12": (1499, 0, "MEUSDT", "short", 0.2108477, 4500.0, 948.81465, 1766845883281, "fill", *BINANCE),
    "binance_all_2025-12-01": (
        142, 0, "ALCHUSDT", "short", 0.167, 30317.0, 5062.939, 1764515364300, "order", "sampled", "receive",
    ),
    "binance_btcusdt_2024-12": (1244, 0, "BTCUSDT", "long", 94809.6, 0.013, 1232.5248, 1733330785584, "fill", *BINANCE),
    "binance_small_samples": (162, 0, "STEEMUSDT", "long", 0.33283, 341.0, 113.49503, 1712933231673, "fill", *BINANCE),
    "binance_buckets_2023-01": (
        4601, 0, "FLOWUSDT", "short", None, None, 27614.7658, 1672734311698, "order", "partial", "receive",
    ),
    "whale_alerts_2025-09": (
        339, 0, "ETHUSDC", "short", 4522.0, 227241.0 / 4522.0, 227241.0, 1758132200000, "order", "partial", "receive",
    ),
    "pacifica_2026-03_04": (
        3367, 638, "TAO", "short", 272.42, 0.37, 100.8, 1773585463072, "fill", "partial", "receive",
    ),
    "multi_venue_ethusdt_2026-04-03": (
        18, 0, "ETHUSDT", "short", 2062.46, 0.036, 74.24856, 1775207919322, "order", *BINANCE,
    ),
}  # fmt: skip
"""File -> events, rows left out, and what the first event says."""


@pytest.mark.parametrize("name", EVENTS)
def test_every_recorded_file_of_forced_closes_reads(shared: Shared, name: str) -> None:
    path = shared(f"history/{name}.parquet")
    count, left_out, instrument, position, price, quantity, usd, time, kind, coverage, source = EVENTS[name]
    told = records(path)
    first = told[0]
    assert len(told) == count == pq.ParquetFile(path).metadata.num_rows - left_out
    assert (first.instrument, first.position, first.notional_usd) == (instrument, position, usd)
    assert (first.event_time, first.price_kind) == (time * MS, kind)
    assert (first.coverage, first.time_source, first.cause) == (coverage, source, "liquidation")
    assert [None if math.isnan(value) else value for value in (first.price, first.quantity)] == [price, quantity]
    assert len({record.event_id for record in told}) == count
    assert all(record.notional_usd > 0 for record in told)
    received = [record.receive_time for record in told]
    assert received == sorted(received)
    assert f"{count} forced closes" in describe(path)


def test_a_venue_that_counts_contracts_is_measured_by_its_usd(shared: Shared) -> None:
    told = {record.venue: record for record in records(shared("history/multi_venue_ethusdt_2026-04-03.parquet"))}
    assert told["okx"].quantity == pytest.approx(0.001, rel=1e-3)
    assert (told["okx"].position, told["okx"].price_kind, told["okx"].coverage) == ("long", "bankruptcy", "partial")
    assert (told["bybit"].position, told["bybit"].quantity) == ("short", 1.6)
    assert told["bybit"].event_time - told["bybit"].receive_time == 1_197 * MS


def test_buckets_keep_every_dollar(shared: Shared) -> None:
    told = records(shared("history/binance_buckets_2023-01.parquet"))
    assert sum(record.notional_usd for record in told) == pytest.approx(232_851_485, rel=1e-6)
    assert "price and quantity are untold" in describe(shared("history/binance_buckets_2023-01.parquet"))


def test_counts_per_second_become_that_many_events_within_it(shared: Shared) -> None:
    path = shared("history/oct10_2025_hyperliquid_counts_1s.parquet")
    told = records(path)
    forced = [record for record in told if record.cause == "liquidation"]
    assert (len(forced), len(told) - len(forced)) == (18_184, 14_194)
    assert {record.asset for record in told} == {UNTOLD_COIN}
    assert {record.notional_usd for record in told} == {0.0}
    second = [record for record in forced if record.event_time < 1_760_130_904_127 * MS]
    assert len(second) == 104
    assert (second[0].event_time, second[1].event_time) == (
        1_760_130_903_127 * MS,
        1_760_130_903_127 * MS + 10**9 // 104,
    )
    assert {(record.cause, record.position) for record in told} == {("liquidation", "long"), ("adl", "short")}
    assert "a floor that adds nothing" in describe(path)


def test_deleveraging_keeps_the_usd_of_every_coin_and_the_number_of_fills(shared: Shared) -> None:
    path = shared("history/oct10_2025_hyperliquid_adl_1s.parquet")
    told = [record for record in records(path) if record.cause == "adl"]
    assert len(told) == 11_279 + 2_915
    assert sum(record.notional_usd for record in told) == pytest.approx(285_546_804.6668724, rel=1e-9)
    first = [record for record in told if record.event_time < 1_760_130_965_000 * MS]
    assert sum(r.notional_usd for r in first if r.asset == "AVAX") == pytest.approx(1_864_336.3987500002, rel=1e-9)
    assert {record.asset for record in told} >= {"BONK", "HYPE", "SOL"}
    assert all(math.isnan(record.price) for record in told)


def test_open_interest_is_known_five_minutes_after_its_time(shared: Shared) -> None:
    first = next(iter(read_extract(shared("history/oi_5m_btc_eth_sol_2025-12_2026-03.parquet"), 100))).others[0][1]
    assert first == OpenInterest(
        "binance_usdm", "BTCUSDT", "BTC", 89832.175, 8064963864.475081, 1764547500000 * MS, 1764547800000 * MS
    )


def test_other_files_are_other_records_and_say_that_they_are_no_forced_closes(shared: Shared) -> None:
    trades, funding, state, waves = (
        shared(f"history/{name}.parquet")
        for name in (
            "binance_large_trades_2025-01-26", "funding_btc_eth_sol_2025-12_2026-03",
            "multi_venue_ethusdt_2026-04-03_state", "oct10_2025_hyperliquid_adl_waves",
        )
    )  # fmt: skip
    assert records(trades)[0] == Trade(
        "2541757614", "binance_usdm", "BTCUSDT", "BTC", "buy", 104943.5, 0.15, 104943.5 * 0.15,
        1737897219873 * MS, 1737897219873 * MS, backfill=False,
    )  # fmt: skip
    paid = records(funding)
    assert len(paid) == 1_089
    assert isinstance(paid[0], Funding)
    assert (paid[0].instrument, paid[0].rate, paid[0].annualised) == (
        "BTCUSDT",
        4.4913e-06,
        pytest.approx(0.0049179735),
    )
    assert paid[0].settled
    mark, interest, rate = records(state)[-3:]
    assert mark == MarkPrice("okx", "ETHUSDT", "ETH", 2056.89, None, 1775211381376 * MS, 1775211381376 * MS)
    assert interest.quantity == pytest.approx(710_616.8, rel=1e-5)
    assert (rate.rate, rate.settled) == (-2.86151345438e-05, False)
    assert records(waves) == []
    for path in (trades, funding, state):
        assert "not forced closes" in describe(path)
    assert "no events" in describe(waves)


def test_every_recorded_file_is_known(shared: Shared) -> None:
    for path in sorted(shared("history").glob("*.parquet")):
        if "oi_5m" not in path.name:
            for batch in read_extract(path):
                assert np.isfinite(batch.liquidations.notional_usd).all(), path.name
