"""Bitget: the side is the position's and the amount is quote currency."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.bitget import Bitget
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import AccountEvent, Control, DeadLetter, Funding, Liquidation, MarkPrice, OpenInterest
from tests.connectors.exchanges.hostile import assert_harmless, runs

Read = Callable[..., list[Any]]
Shared = Callable[[str], Path]
MS = 1_000_000
NOW = 1790000000123
BTC = Instrument("bitget", "BTCUSDT", "BTC", 1.0, "base")
BONK = Instrument("bitget", "1000BONKUSDT", "1000BONK", 1.0, "base")
COIN = Instrument("bitget", "BTCUSD", "BTC", 1.0, "base", "USD", "BTC")
USDC = Instrument("bitget", "BTCPERP", "BTC", 1.0, "base", "USDC", "USDC")
KNOWN = [BTC, BONK, COIN, USDC]


def close(side: str, amount: str = "30000", price: str = "60000", symbol: str = "BTCUSDT") -> dict[str, str]:
    return {"symbol": symbol, "side": side, "price": price, "amount": amount, "ts": str(NOW)}


def topic(name: str, *rows: dict[str, Any], **arg: str) -> str:
    argument = {"instType": "usdt-futures", "topic": name} | arg
    return json.dumps({"action": "update", "arg": argument, "data": rows, "ts": NOW + 5})


def test_buy_is_a_long_and_the_amount_is_quote_currency(read: Read) -> None:
    long, short = read("bitget", [topic("liquidation", close("buy"), close("sell", amount="600"))], KNOWN)
    assert (long.position, long.quantity, long.notional_usd) == ("long", 0.5, 30000.0)
    assert (short.position, short.quantity, short.notional_usd) == ("short", 0.01, 600.0)
    assert (long.price, long.price_kind, long.coverage, long.event_time) == (60000.0, "takeover", "sampled", NOW * MS)


def test_a_scaled_coin_is_rescaled_and_its_worth_stays(read: Read) -> None:
    (bonk,) = read("bitget", [topic("liquidation", close("buy", "50", "0.02", "1000BONKUSDT"))], KNOWN)
    assert (bonk.asset, bonk.notional_usd) == ("BONK", 50.0)
    assert (bonk.price, bonk.quantity) == (pytest.approx(2e-5), pytest.approx(2_500_000))


def test_equal_closes_in_one_frame_are_two_events_and_a_replayed_frame_adds_none(read: Read) -> None:
    frame = topic("liquidation", close("buy"), close("buy"))
    first = [r.event_id for r in read("bitget", [frame], KNOWN)]
    both = [r.event_id for r in read("bitget", [frame, frame], KNOWN)]
    assert len(set(first)) == 2
    assert both == first + first


def ticker(**changes: str) -> dict[str, str]:
    told = {
        "lastPrice": "60001", "markPrice": "60000", "indexPrice": "60010", "openInterest": "100",
        "fundingRate": "0.0001", "nextFundingTime": "1790006400000",
    }  # fmt: skip
    return told | changes


def test_a_ticker_tells_mark_open_interest_and_funding(read: Read) -> None:
    mark, interest, rate = read("bitget", [topic("ticker", ticker(), symbol="BTCUSDT")], KNOWN)
    assert isinstance(mark, MarkPrice)
    assert (mark.instrument, mark.price, mark.index_price) == ("BTCUSDT", 60000.0, 60010.0)
    assert isinstance(interest, OpenInterest)
    assert (interest.quantity, interest.notional_usd) == (100.0, 6_000_000.0)
    assert isinstance(rate, Funding)
    assert (rate.rate, rate.interval_hours, rate.next_time) == (0.0001, 8.0, 1790006400000 * MS)
    assert rate.event_time == (NOW + 5) * MS


def test_the_instruments_body_tells_the_funding_interval(read: Read) -> None:
    rows = [{"symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "fundInterval": "4"}]
    body = json.dumps({"code": "00000", "msg": "success", "data": rows})
    control, *_, rate = read("bitget", [body, topic("ticker", ticker(), symbol="BTCUSDT")], KNOWN)
    assert (type(control), control.what) == (Control, "metadata")
    assert (rate.interval_hours, rate.annualised) == (4.0, pytest.approx(0.0001 * 8760 / 4))


@pytest.mark.parametrize("argument", [{"topic": "adl-notification"}, {"channel": "adl-noti", "instId": "default"}])
def test_an_own_adl_names_the_position_and_counts_coins(read: Read, argument: dict[str, str]) -> None:
    """The fields are those of a public liquidation, the amount is not quote currency."""
    told = close("buy", amount="2.5") | {"status": "triggered"}
    (own,) = read("bitget", [json.dumps({"action": "update", "arg": argument, "data": [told], "ts": NOW})], KNOWN)
    assert isinstance(own, AccountEvent)
    assert (own.event, own.position, own.order_side) == ("adl", "long", "sell")
    assert (own.quantity, own.notional_usd, own.state) == (2.5, 150_000.0, "unknown")


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        ("pong", "pong"),
        ('{"event":"subscribe","arg":{"instType":"usdt-futures","topic":"liquidation"},"connId":"c"}', "ack"),
        ('{"event":"error","arg":{},"code":"30001","msg":"no such topic"}', "refused"),
        ('{"code":"40034","msg":"Parameter does not exist","data":null}', "refused"),
        ('{"code":"00000","msg":"success","data":[]}', "ignored"),
        ('{"action":"snapshot","arg":{"instType":"spot","topic":"books5","symbol":"X"},"data":[{"a":[]}]}', "ignored"),
        (
            '{"action":"snapshot","arg":{"topic":"ticker","symbol":"BTCUSDT"},"data":[{"lastPrice":"1"}],"ts":1}',
            "ignored",
        ),
        ('{"action":"update","arg":{"topic":"liquidation"},"data":[],"ts":1}', "ignored"),
    ],
)
def test_what_is_no_event_is_a_control(read: Read, frame: str, what: str) -> None:
    (control,) = read("bitget", [frame], KNOWN)
    assert (type(control), control.what) == (Control, what)


@pytest.mark.parametrize("frame", ['{"arg":{"topic":"brand-new"},"data":[]}', '{"hello":1}', "[1]", '{"arg":'])
def test_what_is_not_known_is_a_dead_letter(read: Read, frame: str) -> None:
    (letter,) = read("bitget", [frame], KNOWN)
    assert (type(letter), letter.raw) == (DeadLetter, frame.encode())


def test_one_unsound_row_costs_only_itself(read: Read) -> None:
    rows = [close("buy"), close("hold"), close("buy", price=""), close("sell")]
    records = read("bitget", [topic("liquidation", *rows)], KNOWN)
    assert [r.position for r in records if isinstance(r, Liquidation)] == ["long", "short"]
    assert sum(isinstance(r, DeadLetter) for r in records) == 2


def test_liquidations_are_asked_per_product_and_tickers_in_short_messages() -> None:
    many = [Instrument("bitget", f"C{n:03}USDT", f"C{n:03}", 1.0, "base") for n in range(450)]
    liquidated, *tickers = Bitget().connections(Bitget.production, [*many, COIN, USDC])
    assert liquidated.url == "wss://ws.bitget.com/v3/ws/public"
    products = ["usdt-futures", "coin-futures", "usdc-futures"]
    assert json.loads(liquidated.subscribe[0])["args"] == [{"instType": p, "topic": "liquidation"} for p in products]
    assert (liquidated.acknowledgements, liquidated.carries_liquidations) == (3, True)
    assert liquidated.heartbeat is not None
    assert liquidated.heartbeat.message == "ping"
    assert liquidated.heartbeat.every <= 30
    asked = [a for c in tickers for message in c.subscribe for a in json.loads(message)["args"]]
    assert [a["symbol"] for a in asked] == [*[i.instrument for i in many], "BTCUSD", "BTCPERP"]
    assert asked[-2:] == [
        {"instType": "coin-futures", "topic": "ticker", "symbol": "BTCUSD"},
        {"instType": "usdc-futures", "topic": "ticker", "symbol": "BTCPERP"},
    ]
    assert all(len(message) <= 4096 for c in tickers for message in c.subscribe)
    assert [c.acknowledgements for c in tickers] == [200, 200, 52]
    assert not any(c.carries_liquidations for c in tickers)


def test_metadata_counts_coins() -> None:
    rows = [
        {"symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "priceMultiplier": "0.1"},
        {"symbol": "BTCUSD", "baseCoin": "BTC", "quoteCoin": "USD"},
    ]
    assert list(Bitget().metadata(json.dumps({"code": "00000", "data": rows}).encode())) == [
        Instrument("bitget", "BTCUSDT", "BTC", 1.0, "base", "USDT", "USDT", 0.1),
        Instrument("bitget", "BTCUSD", "BTC", 1.0, "base", "USD", "BTC"),
    ]


def test_an_answer_to_a_subscription_is_told_from_data() -> None:
    venue = Bitget()
    assert venue.acknowledgement(b'{"event":"subscribe","arg":{"topic":"ticker"}}') == Acknowledged()
    assert venue.acknowledgement(b'{"event":"error","code":"1","msg":"no"}') == Denied("no")
    assert venue.acknowledgement(topic("liquidation", close("buy")).encode()) is None


def test_recorded_tickers_value_by_value(read: Read, shared: Shared) -> None:
    """No liquidation of this venue was recorded; what was, is read as told."""
    lines = shared("captures/bitget/rest_tickers_v3_rows.jsonl").read_bytes().splitlines()
    records = read("bitget", lines, snapshot("bitget"))
    for n, line in enumerate(lines):
        told = json.loads(line)
        mark, interest, rate = records[3 * n : 3 * n + 3]
        assert (mark.instrument, mark.price) == (told["symbol"], float(told["markPrice"]))
        assert (interest.quantity, rate.rate) == (float(told["openInterest"]), float(told["fundingRate"]))
        assert {r.event_time for r in (mark, interest, rate)} == {int(told["ts"]) * MS}


def test_recorded_tickers_of_the_retired_interface_value_by_value(read: Read, shared: Shared) -> None:
    lines = shared("captures/bitget/ticker_mix_v1_2022.jsonl").read_bytes().splitlines()
    rows = [row for line in lines for row in json.loads(line).get("data", [])]
    records = read("bitget", lines, snapshot("bitget"))
    found = [r for r in records if isinstance(r, MarkPrice)]
    assert [(r.instrument, r.price, r.event_time) for r in found] == [
        (row["instId"], float(row["markPrice"]), row["systemTime"] * MS) for row in rows
    ]
    assert [r.quantity for r in records if isinstance(r, OpenInterest)] == [float(row["holding"]) for row in rows]


def test_no_recorded_line_is_a_dead_letter(read: Read, shared: Shared) -> None:
    for path in sorted(shared("captures/bitget").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            records = read("bitget", [line], snapshot("bitget"))
            assert records, path.name
            assert not [r for r in records if isinstance(r, DeadLetter)], path.name


SOUND = topic("liquidation", close("buy"), close("buy"), close("sell"))
SAMPLES = [
    SOUND,
    topic("ticker", ticker(), symbol="BTCUSDT"),
    topic("adl-notification", close("buy") | {"status": "triggered"}),
    json.dumps({"code": "00000", "data": [{"symbol": "BTCUSDT", "baseCoin": "BTC", "fundInterval": "4"}]}),
    json.dumps({"code": "00000", "data": [ticker() | {"symbol": "BTCUSDT", "category": "USDT-FUTURES"}]}),
]


@settings(max_examples=150, deadline=None)
@given(runs([s.encode() for s in SAMPLES]))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless("bitget", KNOWN, SOUND.encode(), hostile)
