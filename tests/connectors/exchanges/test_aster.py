"""Aster: the Binance grammar on its own hosts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged
from connectors.exchanges.aster import Aster
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import AccountEvent, Control, DeadLetter, Liquidation, OpenInterest, Trade
from tests.conftest import Read
from tests.connectors.exchanges.hostile import assert_harmless, runs

MS = 1_000_000
KNOWN = [
    Instrument("aster", "BTCUSDT", "BTC", 1.0, "base"),
    Instrument("aster", "1000PEPEUSDT", "1000PEPE", 1.0, "base"),
]


def forced(symbol: str = "BTCUSDT", side: str = "SELL", **fields: Any) -> str:
    order = {"s": symbol, "S": side, "o": "LIMIT", "f": "IOC", "q": "0.5", "p": "59000", "ap": "60000", "X": "FILLED",
             "l": "0.1", "z": "0.4", "T": 1790000000123}  # fmt: skip
    return json.dumps({"e": "forceOrder", "E": 1790000000130, "o": order | fields})


def test_a_sell_order_closed_a_long_of_z_coins_at_ap_and_sums_are_floors(read: Read) -> None:
    long, short = read("aster", [forced(), forced(side="BUY")], KNOWN)
    assert (long.position, long.quantity, long.price, long.price_kind, long.notional_usd) == (
        "long", 0.4, 60000.0, "fill", 24000.0,
    )  # fmt: skip
    assert (long.event_time, long.coverage, long.cause, long.backfill) == (
        1790000000123 * MS, "sampled", "liquidation", False,
    )  # fmt: skip
    assert short.position == "short"


def test_1000PEPE_is_PEPE_rescaled(read: Read) -> None:  # noqa: N802 - symbols
    (event,) = read("aster", [forced("1000PEPEUSDT", z="5000", ap="0.01")], KNOWN)
    assert (event.asset, event.quantity, event.price, event.notional_usd) == (
        "PEPE",
        5_000_000.0,
        0.00001,
        pytest.approx(50),
    )


def test_insurance_fund_transfers_are_no_trades_of_the_book(read: Read) -> None:
    row = {"e": "trade", "T": 1790000000000, "s": "BTCUSDT", "t": 9, "p": "60000", "q": "2", "m": False}
    market, fund = read("aster", [json.dumps(row | {"X": "MARKET"}), json.dumps(row | {"X": "INSURANCE_FUND"})], KNOWN)
    assert isinstance(market, Trade)
    assert (market.taker, market.notional_usd) == ("buy", 120_000.0)
    assert isinstance(fund, Control)


@pytest.mark.parametrize(
    ("status", "event"), [("NEW_INSURANCE", "liquidation"), ("NEW_ADL", "adl"), ("FILLED", "fill")]
)
def test_the_documented_statuses_tell_own_forced_closes(read: Read, status: str, event: str) -> None:
    order = {"s": "BTCUSDT", "c": "x", "S": "BUY", "o": "LIMIT", "x": "TRADE", "X": status, "i": 7, "z": "1", "ap": "1",
             "T": 1790000000000, "l": "0.5", "L": "60000"}  # fmt: skip
    (record,) = read("aster", [json.dumps({"e": "ORDER_TRADE_UPDATE", "T": 1, "o": order})], KNOWN)
    assert isinstance(record, AccountEvent)
    assert (record.event, record.position) == (event, None if event == "fill" else "short")
    assert (record.quantity, record.notional_usd) == (0.5, 30_000.0)


def test_open_interest_is_base_coins(read: Read) -> None:
    (record,) = read("aster", ['{"openInterest":"12.5","symbol":"BTCUSDT","time":1790000000000}'], KNOWN)
    assert isinstance(record, OpenInterest)
    assert (record.quantity, record.notional_usd) == (12.5, None)


def test_the_socket_is_chosen_by_address_and_renewed_daily() -> None:
    venue = Aster()
    (connection,) = venue.connections(venue.production, KNOWN)
    assert connection.url == "wss://fstream.asterdex.com/stream?streams=!forceOrder@arr/!markPrice@arr@1s"
    assert (connection.lifetime, connection.acknowledgements) == (86_400.0, 0)
    assert venue.acknowledgement(b'{"result":null,"id":3}') == Acknowledged()


def test_polls_stay_within_the_allowance() -> None:
    venue = Aster()
    polls = venue.polls(KNOWN * 200)
    rate = sum(poll.weight / poll.every for poll in polls)
    assert rate <= venue.rate_limit.weight / venue.rate_limit.seconds
    assert {p.request.path for p in venue.polls(KNOWN[:1])} == {
        "/fapi/v1/openInterest?symbol=BTCUSDT", "/fapi/v3/fundingInfo",
    }  # fmt: skip


def test_metadata_is_read() -> None:
    row = {"symbol": "1000PEPEUSDT", "contractType": "PERPETUAL", "status": "TRADING", "baseAsset": "1000PEPE",
           "quoteAsset": "USDT", "marginAsset": "USDT", "filters": []}  # fmt: skip
    (found,) = Aster().metadata(json.dumps({"symbols": [row]}).encode())
    assert found == Instrument("aster", "1000PEPEUSDT", "1000PEPE", 1.0, "base", "USDT", "USDT")


@settings(max_examples=60, deadline=None)
@given(hostile=runs([forced().encode(), b'{"openInterest":"5","symbol":"BTCUSDT","time":1790000000000}']))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless("aster", KNOWN, forced().encode(), hostile)


def test_recorded_forced_orders_value_by_value(read: Read, shared: Callable[[str], Path]) -> None:
    for file in ("force_order.jsonl", "force_order.doc.jsonl"):
        for line in shared(f"captures/aster/{file}").read_bytes().splitlines():
            order = json.loads(line)["o"]
            (event,) = read("aster", [line], snapshot("aster"))
            assert isinstance(event, Liquidation)
            assert event.position == {"SELL": "long", "BUY": "short"}[order["S"]]
            assert (event.quantity, event.price, event.price_kind) == (float(order["z"]), float(order["ap"]), "fill")
            assert event.notional_usd == pytest.approx(float(order["z"]) * float(order["ap"]), rel=1e-12)
            assert event.event_time == order["T"] * MS


def test_every_recorded_line_is_understood(read: Read, shared: Callable[[str], Path]) -> None:
    for path in sorted(shared("captures/aster").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            records = read("aster", [line], snapshot("aster"))
            assert records
            assert not [r for r in records if isinstance(r, DeadLetter)], line
