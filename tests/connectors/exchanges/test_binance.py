"""Binance USD-M and COIN-M: what one forced order is worth, and what is no forced order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.binance import BinanceCoinM, BinanceUsdM
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import (
    AccountEvent,
    Control,
    DeadLetter,
    Funding,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Trade,
)
from tests.conftest import Read
from tests.connectors.exchanges.hostile import assert_harmless, runs

MS = 1_000_000
BTC = Instrument("binance_usdm", "BTCUSDT", "BTC", 1.0, "base")
PEPE = Instrument("binance_usdm", "1000PEPEUSDT", "1000PEPE", 1.0, "base")
QUARTER = Instrument("binance_usdm", "BTCUSDT_261225", "BTC", 1.0, "base")
USDM = [BTC, PEPE, QUARTER]
COIN_BTC = Instrument("binance_coinm", "BTCUSD_PERP", "BTC", 100.0, "usd", "USD", "BTC")
COIN_ETH = Instrument("binance_coinm", "ETHUSD_PERP", "ETH", 10.0, "usd", "USD", "ETH")
COINM = [COIN_BTC, COIN_ETH]


def forced(symbol: str = "BTCUSDT", side: str = "SELL", **fields: Any) -> dict[str, Any]:
    order = {"s": symbol, "S": side, "o": "LIMIT", "f": "IOC", "q": "0.5", "p": "59000", "ap": "60000", "X": "FILLED",
             "l": "0.1", "z": "0.4", "T": 1790000000123, "ps": symbol, "st": 1}  # fmt: skip
    return {"e": "forceOrder", "E": 1790000001123, "o": order | fields}


def combined(event: Any, stream: str = "!forceOrder@arr") -> str:
    return json.dumps({"stream": stream, "data": event})


def own(**fields: Any) -> str:
    order = {"s": "BTCUSDT", "c": "web_1", "S": "SELL", "o": "LIMIT", "x": "TRADE", "X": "FILLED", "i": 77, "z": "0.4",
             "ap": "60000", "T": 1790000000123, "l": "0.1", "L": "60100", "t": 5, "ps": "LONG"}  # fmt: skip
    return json.dumps({"e": "ORDER_TRADE_UPDATE", "E": 1, "T": 1790000000123, "o": order | fields})


def test_a_sell_order_closed_a_long_and_a_buy_order_a_short(read: Read) -> None:
    long, short = read("binance_usdm", [combined(forced()), combined(forced(side="BUY"))], USDM)
    assert (long.position, short.position) == ("long", "short")
    assert (long.cause, long.coverage, long.backfill, long.time_source) == ("liquidation", "sampled", False, "venue")


def test_the_filled_quantity_z_at_the_average_price_ap_counts_not_q_p_or_l(read: Read) -> None:
    (event,) = read("binance_usdm", [combined(forced())], USDM)
    assert (event.quantity, event.price, event.price_kind, event.notional_usd) == (0.4, 60000.0, "fill", 24000.0)


def test_the_order_time_T_counts_not_the_event_time_E(read: Read) -> None:  # noqa: N802 - the venue's field names
    (event,) = read("binance_usdm", [combined(forced())], USDM)
    assert event.event_time == 1790000000123 * MS


def test_without_an_average_price_the_limit_is_told_as_an_order_price(read: Read) -> None:
    (event,) = read("binance_usdm", [combined(forced(ap="0"))], USDM)
    assert (event.price, event.price_kind) == (59000.0, "order")


def test_a_forced_order_that_filled_nothing_is_no_forced_close(read: Read) -> None:
    (control,) = read("binance_usdm", [combined(forced(z="0", ap="0", X="NEW"))], USDM)
    assert isinstance(control, Control)
    assert control.what == "ignored"


def test_arr_is_one_object_and_a_raw_stream_has_no_envelope(read: Read) -> None:
    both = read("binance_usdm", [combined(forced()), json.dumps(forced())], USDM)
    assert [r.event_id for r in both] == [both[0].event_id] * 2
    assert all(isinstance(r, Liquidation) for r in both)


def test_coin_margined_quantities_are_contracts_of_100_or_10_usd(read: Read) -> None:
    btc, eth = read(
        "binance_coinm",
        [combined(forced("BTCUSD_PERP", z="6", ap="60000")), combined(forced("ETHUSD_PERP", z="6", ap="3000"))],
        COINM,
    )
    assert (btc.notional_usd, btc.quantity) == (600.0, 0.01)
    assert (eth.notional_usd, eth.quantity) == (60.0, 0.02)


def test_1000PEPE_is_PEPE_with_quantity_and_price_rescaled_and_the_notional_unchanged(read: Read) -> None:  # noqa: N802 - symbols
    (event,) = read("binance_usdm", [combined(forced("1000PEPEUSDT", z="5000", ap="0.01"))], USDM)
    assert (event.instrument, event.asset) == ("1000PEPEUSDT", "PEPE")
    assert (event.quantity, event.price, event.notional_usd) == (5_000_000.0, 0.00001, pytest.approx(50.0))


def test_usd_m_streams_are_asked_on_the_market_route_for_the_unrouted_address_is_silent() -> None:
    venue = BinanceUsdM()
    (connection,) = venue.connections(venue.production, USDM)
    assert connection.url == ("wss://fstream.binance.com/market/stream?streams=!forceOrder@arr/!markPrice@arr@1s")
    assert (connection.lifetime, connection.acknowledgements) == (86_400.0, 0)


def test_coin_m_marks_are_asked_symbol_by_symbol() -> None:
    venue = BinanceCoinM()
    (connection,) = venue.connections(venue.production, COINM)
    assert connection.url == (
        "wss://dstream.binance.com/stream?streams=!forceOrder@arr/btcusd_perp@markPrice@1s/ethusd_perp@markPrice@1s"
    )


def mark(symbol: str, rate: str, following: int) -> dict[str, Any]:
    return {"e": "markPriceUpdate", "E": 1790000000000, "s": symbol, "p": "60000.5", "ap": "60001", "P": "60002",
            "i": "60003.5", "r": rate, "T": following, "st": 1}  # fmt: skip


def test_the_mark_stream_is_an_array_and_a_delivery_contract_with_empty_r_and_T_0_pays_no_funding(read: Read) -> None:  # noqa: N802 - the venue's field names
    rows = [mark("BTCUSDT", "-0.0001", 1790006400000), mark("BTCUSDT_261225", "", 0)]
    records = read("binance_usdm", [combined(rows, "!markPrice@arr@1s")], USDM)
    price, funding, dated = records
    assert isinstance(price, MarkPrice)
    assert (price.price, price.index_price, price.event_time) == (60000.5, 60003.5, 1790000000000 * MS)
    assert isinstance(funding, Funding)
    assert (funding.rate, funding.interval_hours, funding.next_time) == (-0.0001, 8.0, 1790006400000 * MS)
    assert funding.annualised == pytest.approx(-0.0001 * 1095)
    assert isinstance(dated, MarkPrice)


def test_funding_is_annualised_on_the_interval_the_venue_tells(read: Read) -> None:
    told = json.dumps([{"symbol": "BTCUSDT", "fundingIntervalHours": 4, "adjustedFundingRateCap": "0.02"}])
    *_, funding = read("binance_usdm", [told, json.dumps(mark("BTCUSDT", "0.0001", 1790006400000))], USDM)
    assert (funding.interval_hours, funding.annualised) == (4.0, pytest.approx(0.0001 * 2190))


def test_open_interest_is_base_coins_on_usd_m_and_contracts_on_coin_m(read: Read) -> None:
    body = {"openInterest": "500", "time": 1790000000000}
    price, base = read(
        "binance_usdm", [json.dumps(mark("BTCUSDT", "", 0)), json.dumps(body | {"symbol": "BTCUSDT"})], USDM
    )
    assert isinstance(base, OpenInterest)
    assert (base.quantity, base.notional_usd) == (500.0, 500 * price.price)
    _, inverse = read(
        "binance_coinm", [json.dumps(mark("BTCUSD_PERP", "", 0)), json.dumps(body | {"symbol": "BTCUSD_PERP"})], COINM
    )
    assert (inverse.notional_usd, inverse.quantity) == (50_000.0, pytest.approx(50_000 / 60000.5))


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        ({"c": "autoclose-1", "x": "CALCULATED"}, "liquidation"),
        ({"c": "autoclose-1", "x": "TRADE"}, "liquidation"),
        ({"c": "web", "o": "LIQUIDATION", "x": "TRADE"}, "liquidation"),
        ({"c": "adl_autoclose", "x": "CALCULATED"}, "adl"),
        ({"c": "adl_autoclose_9", "x": "TRADE"}, "adl"),
        ({"c": "settlement_autoclose-1", "x": "CALCULATED"}, "fill"),
        ({"c": "delivery_autoclose-1", "x": "CALCULATED"}, "fill"),
        ({"c": "web", "x": "CALCULATED"}, "fill"),
    ],
)
def test_an_own_forced_order_is_told_by_c_and_o_never_by_x(read: Read, fields: dict[str, str], event: str) -> None:
    (record,) = read("binance_usdm", [own(**fields)], USDM)
    assert isinstance(record, AccountEvent)
    assert (record.event, record.position) == (event, None if event == "fill" else "long")
    assert (record.quantity, record.price, record.order_side) == (0.1, 60100.0, "sell")


def test_an_ordinary_order_that_filled_nothing_is_no_fill_but_a_forced_one_is_a_warning(read: Read) -> None:
    nothing = {"x": "NEW", "X": "NEW", "l": "0", "z": "0", "L": "0"}
    ordinary, warning = read("binance_usdm", [own(**nothing), own(c="autoclose-2", **nothing)], USDM)
    assert isinstance(ordinary, Control)
    assert (warning.event, warning.quantity, warning.price) == ("liquidation", 0.0, None)


def test_two_equal_fills_of_one_order_are_two_account_events(read: Read) -> None:
    one, other = read("binance_usdm", [own(t=5), own(t=6)], USDM)
    assert one.event_id != other.event_id


def test_a_position_that_went_flat_is_flat_and_a_held_one_known(read: Read) -> None:
    held = [{"s": "BTCUSDT", "pa": "0", "ps": "BOTH"}, {"s": "1000PEPEUSDT", "pa": "-20", "ps": "SHORT"}]
    update = {"e": "ACCOUNT_UPDATE", "E": 1, "T": 1790000000000, "a": {"m": "ORDER", "B": [], "P": held}}
    flat, short = read("binance_usdm", [json.dumps(update)], USDM)
    assert (flat.event, flat.state, flat.remaining, flat.position) == ("position", "flat", 0.0, None)
    assert (short.state, short.remaining, short.position) == ("known", -20_000.0, "short")


def test_hedge_mode_names_the_side_whatever_the_sign_of_the_amount(read: Read) -> None:
    rows = [{"s": "BTCUSDT", "pa": amount, "ps": "SHORT"} for amount in ("-0.5", "0.5")]
    update = {"e": "ACCOUNT_UPDATE", "E": 1, "T": 1790000000000, "a": {"m": "ORDER", "P": rows}}
    records = read("binance_usdm", [json.dumps(update)], USDM)
    assert [(r.position, r.remaining) for r in records] == [("short", -0.5), ("short", -0.5)]


def test_a_margin_call_is_told_with_the_position_it_threatens(read: Read) -> None:
    call = {"e": "MARGIN_CALL", "E": 1790000000000, "cw": "3", "p": [{"s": "BTCUSDT", "ps": "LONG", "pa": "0.5",
            "mt": "CROSSED", "mp": "60000"}]}  # fmt: skip
    (record,) = read("binance_usdm", [json.dumps(call)], USDM)
    assert (record.event, record.position, record.remaining, record.price) == ("margin_call", "long", 0.5, 60000.0)


def test_a_trade_row_that_is_no_market_trade_is_no_trade_of_the_book(read: Read) -> None:
    trade = {
        "e": "trade",
        "E": 2,
        "T": 1790000000000,
        "s": "BTCUSDT",
        "t": 9,
        "p": "60000",
        "q": "2",
        "X": "MARKET",
        "m": True,
    }
    market, fund = read("binance_usdm", [json.dumps(trade), json.dumps(trade | {"X": "INSURANCE_FUND"})], USDM)
    assert isinstance(market, Trade)
    assert (market.taker, market.quantity, market.notional_usd, market.trade_id) == ("sell", 2.0, 120_000.0, "9")
    assert isinstance(fund, Control)


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        ({"result": None, "id": 1}, "ack"),
        ({"code": 2, "msg": "Invalid request", "id": 1}, "refused"),
        ({"error": {"code": -1, "msg": "no"}, "id": 1}, "refused"),
        ({"timezone": "UTC", "symbols": [{}]}, "metadata"),
        ({"stream": "btcusdt@kline_1m", "data": {"e": "kline", "s": "BTCUSDT"}}, "ignored"),
    ],
)
def test_answers_and_known_channels_are_controls(read: Read, frame: Any, what: str) -> None:
    (record,) = read("binance_usdm", [json.dumps(frame)], USDM)
    assert isinstance(record, Control)
    assert record.what == what


@pytest.mark.parametrize("frame", [{"e": "forceOrders2"}, {"hello": 1}, {"e": "forceOrder"}, 7, "x"])
def test_a_frame_nobody_knows_is_a_dead_letter(read: Read, frame: Any) -> None:
    (record,) = read("binance_usdm", [json.dumps(frame)], USDM)
    assert isinstance(record, DeadLetter)


def test_an_unknown_instrument_is_a_dead_letter_that_says_what_to_do(read: Read) -> None:
    (record,) = read("binance_usdm", [combined(forced("NEWUSDT"))], USDM)
    assert isinstance(record, DeadLetter)
    assert "NEWUSDT" in record.reason
    assert "load its metadata" in record.reason


def test_subscription_answers_are_told_apart() -> None:
    venue = BinanceUsdM()
    assert venue.acknowledgement(b'{"result":null,"id":1}') == Acknowledged()
    assert venue.acknowledgement(b'{"code":2,"msg":"bad","id":1}') == Denied("bad")
    assert venue.acknowledgement(combined(forced()).encode()) is None


def test_metadata_carries_contract_sizes_and_skips_what_is_no_contract() -> None:
    row = {"symbol": "ETHUSD_PERP", "contractType": "PERPETUAL", "contractStatus": "TRADING", "contractSize": 10,
           "baseAsset": "ETH", "quoteAsset": "USD", "marginAsset": "ETH",
           "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}]}  # fmt: skip
    body = json.dumps({"symbols": [row, row | {"symbol": "X", "contractType": ""}]}).encode()
    assert list(BinanceCoinM().metadata(body)) == [
        Instrument("binance_coinm", "ETHUSD_PERP", "ETH", 10.0, "usd", "USD", "ETH", 0.01)
    ]


SOUND = combined(forced()).encode()
FRAMES = [
    SOUND,
    json.dumps(forced("1000PEPEUSDT")).encode(),
    combined([mark("BTCUSDT", "0.0001", 1790006400000), mark("BTCUSDT_261225", "", 0)]).encode(),
    own(c="autoclose-1").encode(),
    b'{"openInterest":"5","symbol":"BTCUSDT","time":1790000000000}',
    b'[{"symbol":"BTCUSDT","fundingIntervalHours":4}]',
    b'{"e":"trade","T":1790000000000,"s":"BTCUSDT","t":9,"p":"60000","q":"2","X":"MARKET","m":true}',
]


@settings(max_examples=150, deadline=None)
@given(hostile=runs(FRAMES))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless("binance_usdm", USDM, SOUND, hostile)


def recorded(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines() if line.strip()]


FORCED_FILES = [
    ("binance_usdm", "force_order.jsonl"),
    ("binance_usdm", "force_order_testnet.jsonl"),
    ("binance_usdm", "force_order_usdm.doc.jsonl"),
    ("binance_coinm", "force_order_coinm.doc.jsonl"),
]


@pytest.mark.parametrize(("venue", "file"), FORCED_FILES)
def test_recorded_forced_orders_value_by_value(
    read: Read, shared: Callable[[str], Path], venue: str, file: str
) -> None:
    lines = recorded(shared(f"captures/binance/{file}"))
    for line in lines:
        frame = json.loads(line)
        order = frame.get("data", frame)["o"]
        (event,) = read(venue, [line], snapshot(venue))
        assert isinstance(event, Liquidation)
        assert event.instrument == order["s"]
        assert event.position == {"SELL": "long", "BUY": "short"}[order["S"]]
        assert (event.price, event.price_kind) == (float(order["ap"]), "fill")
        assert event.event_time == order["T"] * MS
        usd = float(order["z"]) * (100.0 if venue == "binance_coinm" else float(order["ap"]))
        assert event.notional_usd == pytest.approx(usd, rel=1e-12)
        base = float(order["z"]) if venue == "binance_usdm" else 100.0 * float(order["z"]) / float(order["ap"])
        assert event.quantity == pytest.approx(base, rel=1e-12)
    assert lines


def test_every_recorded_line_is_understood_by_the_venue_it_came_from(read: Read, shared: Callable[[str], Path]) -> None:
    """A file may hold lines of both venues; each must be sound for one of them."""
    for path in sorted(shared("captures/binance").glob("*.jsonl")):
        for line in recorded(path):
            both = [read(venue, [line], snapshot(venue)) for venue in ("binance_usdm", "binance_coinm")]
            assert any(records and not any(isinstance(r, DeadLetter) for r in records) for records in both), line
