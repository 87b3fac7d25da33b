"""Lighter: the separate array of forced trades, two faces with two units, markets named by number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.lighter import Lighter
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import AccountEvent, Control, DeadLetter, Funding, Liquidation, MarkPrice, OpenInterest, Trade
from tests.conftest import Read
from tests.connectors.exchanges.hostile import assert_harmless, runs

MS = 1_000_000
SOL = Instrument("lighter", "SOL", "SOL", 1.0, "base", "USDC", "USDC", number="2")
PEPE = Instrument("lighter", "1000PEPE", "1000PEPE", 1.0, "base", "USDC", "USDC", number="4")
KNOWN = [SOL, PEPE]


def trade(number: int = 41, kind: str = "liquidation", *, maker_ask: bool = False, **fields: Any) -> dict[str, Any]:
    return {"trade_id": number, "type": kind, "market_id": 2, "size": "12.5", "price": "140", "usd_amount": "1750",
            "is_maker_ask": maker_ask, "timestamp": 1790000000123, "taker_fee": 10000} | fields  # fmt: skip


def frame(forced: Any = None, ordinary: Any = None, kind: str = "update/trade") -> str:
    body: dict[str, Any] = {"type": kind, "channel": "trade:2", "nonce": 9}
    if ordinary is not None:
        body["trades"] = ordinary
    if forced is not None:
        body["liquidation_trades"] = forced
    return json.dumps(body)


def test_the_forced_trades_sit_in_an_array_of_their_own_beside_the_ordinary_ones(read: Read) -> None:
    event, print_ = read("lighter", [frame([trade()], [trade(42, "trade", maker_ask=True)])], KNOWN)
    assert isinstance(event, Liquidation)
    assert isinstance(print_, Trade)
    assert (print_.taker, print_.trade_id, print_.notional_usd) == ("buy", "42", 1750.0)


def test_the_liquidated_account_is_the_taker_so_is_maker_ask_false_closed_a_long(read: Read) -> None:
    long, short = read("lighter", [frame([trade(), trade(42, maker_ask=True)], [])], KNOWN)
    assert (long.position, short.position) == ("long", "short")
    assert (long.quantity, long.price, long.price_kind, long.notional_usd) == (12.5, 140.0, "fill", 1750.0)
    assert (long.event_time, long.coverage, long.cause) == (1790000000123 * MS, "complete", "liquidation")


def test_deleverage_is_adl(read: Read) -> None:
    (event,) = read("lighter", [frame([trade(kind="deleverage", maker_ask=True)], [])], KNOWN)
    assert (event.cause, event.position) == ("adl", "short")


def test_markets_are_named_by_number_and_an_unlisted_number_is_a_dead_letter(read: Read) -> None:
    event, letter = read(
        "lighter", [frame([trade(market_id=4, size="5000", price="0.01"), trade(market_id=99)])], KNOWN
    )
    assert (event.instrument, event.asset, event.quantity, event.price) == ("1000PEPE", "PEPE", 5_000_000.0, 0.00001)
    assert event.notional_usd == pytest.approx(50.0)
    assert isinstance(letter, DeadLetter)
    assert "market 99" in letter.reason


def test_what_subscribed_replays_is_backfill_of_the_same_events(read: Read) -> None:
    live, ack, replayed, old = read(
        "lighter", [frame([trade()]), frame([trade()], [trade(40, "trade")], "subscribed/trade")], KNOWN
    )
    assert (live.backfill, replayed.backfill, old.backfill) == (False, True, True)
    assert isinstance(ack, Control)
    assert live.event_id == replayed.event_id


def test_equal_trades_with_two_ids_are_two_events_and_a_replayed_frame_adds_none(read: Read) -> None:
    pair = frame([trade(1), trade(2)])
    once = [r.event_id for r in read("lighter", [pair], KNOWN)]
    assert len(set(once)) == 2
    assert [r.event_id for r in read("lighter", [pair, pair], KNOWN)] == once * 2


def test_a_broken_row_costs_only_itself(read: Read) -> None:
    letter, event = read("lighter", [frame([trade(size={}), trade()])], KNOWN)
    assert isinstance(letter, DeadLetter)
    assert isinstance(event, Liquidation)


STATS = {"market_id": 2, "index_price": "140.5", "mark_price": "140", "open_interest": "7000000.5",
         "current_funding_rate": "0.0012", "funding_rate": "0.0010", "funding_timestamp": 1789999200000}  # fmt: skip


@pytest.mark.parametrize("stats", [STATS, {"2": STATS}])
def test_socket_open_interest_is_quote_notional_and_funding_percent_per_hour(read: Read, stats: Any) -> None:
    body = {"channel": "market_stats:all", "market_stats": stats, "type": "update/market_stats"}
    price, interest, running, paid = read("lighter", [json.dumps(body | {"timestamp": 1790000000000})], KNOWN)
    assert isinstance(price, MarkPrice)
    assert (price.price, price.index_price, price.event_time) == (140.0, 140.5, 1790000000000 * MS)
    assert isinstance(interest, OpenInterest)
    assert (interest.notional_usd, interest.quantity) == (7_000_000.5, 7_000_000.5 / 140)
    assert isinstance(running, Funding)
    assert (running.rate, running.interval_hours, running.settled) == (pytest.approx(0.000012), 1.0, False)
    assert (paid.rate, paid.settled, paid.event_time) == (pytest.approx(0.00001), True, 1789999200000 * MS)


def test_settled_funding_is_told_once(read: Read) -> None:
    body = json.dumps({"channel": "market_stats:2", "market_stats": STATS, "type": "update/market_stats"})
    records = read("lighter", [body, body], KNOWN)
    assert [r.settled for r in records if isinstance(r, Funding)] == [False, True, False]


def test_rest_funding_is_a_fraction_per_8_hours_and_of_other_venues_ignored(read: Read) -> None:
    rows = [{"market_id": 2, "exchange": "lighter", "symbol": "SOL", "rate": 0.000096},
            {"market_id": 2, "exchange": "binance", "symbol": "SOL", "rate": 0.5}]  # fmt: skip
    (funding,) = read("lighter", [json.dumps({"code": 200, "funding_rates": rows})], KNOWN)
    assert (funding.rate, funding.interval_hours) == (0.000096, 8.0)


def test_both_faces_of_the_venue_agree_on_the_annual_rate(read: Read) -> None:
    socket = json.dumps({"channel": "x", "market_stats": STATS, "type": "update/market_stats"})
    rest = json.dumps({"funding_rates": [{"market_id": 2, "exchange": "lighter", "rate": 0.000096}]})
    hourly, _, eight = [r for r in read("lighter", [socket, rest], KNOWN) if isinstance(r, Funding)]
    assert hourly.annualised == pytest.approx(eight.annualised)


DETAILS = {"code": 200, "order_book_details": [
    {"symbol": "SOL", "market_id": 2, "market_type": "perp", "mark_price": "140", "open_interest": 50000.5,
     "supported_price_decimals": 3},
    {"symbol": "ETH/USDC", "market_id": 2048, "market_type": "spot"},
]}  # fmt: skip


def test_rest_open_interest_is_base_coins(read: Read) -> None:
    control, interest = read("lighter", [json.dumps(DETAILS)], KNOWN)
    assert control.what == "metadata"
    assert (interest.quantity, interest.notional_usd) == (50000.5, 50000.5 * 140)


def test_metadata_keeps_the_market_id_as_number() -> None:
    (found,) = Lighter().metadata(json.dumps(DETAILS).encode())
    assert (found.instrument, found.asset, found.number, found.tick) == ("SOL", "SOL", "2", pytest.approx(0.001))


def test_a_json_ping_wants_a_json_pong() -> None:
    venue = Lighter()
    assert venue.reply(b'{"type":"ping"}') == '{"type":"pong"}'
    assert venue.reply(b'{"type":"pong"}') is None
    assert venue.reply(frame([trade()]).encode()) is None


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"type": "connected", "session_id": "s"}, "welcome"),
        ({"type": "ping"}, "ping"),
        ({"type": "pong"}, "pong"),
        ({"type": "unsubscribed", "channel": "trade:2"}, "ack"),
        ({"error": {"code": 30005, "message": "Invalid Channel"}}, "refused"),
        ({"type": "update/order_book", "channel": "order_book:2", "order_book": {}}, "ignored"),
    ],
)
def test_answers_and_known_channels_are_controls(read: Read, body: Any, what: str) -> None:
    (control,) = read("lighter", [json.dumps(body)], KNOWN)
    assert isinstance(control, Control)
    assert control.what == what


def test_a_frame_nobody_knows_is_a_dead_letter(read: Read) -> None:
    records = read("lighter", ['{"type":"update/mystery","channel":"m:1"}', '{"a":1}', "5"], KNOWN)
    assert [type(r) for r in records] == [DeadLetter] * 3


@pytest.mark.parametrize(("kind", "event"), [("liquidation", "liquidation"), ("deleverage", "adl")])
def test_an_own_notification_tells_the_position_by_the_side_of_the_order(read: Read, kind: str, event: str) -> None:
    content = {"id": "5", "is_ask": True, "usdc_amount": "1400", "size": "10", "market_index": 2, "price": "140",
               "timestamp": 1790000000123, "avg_price": "139.5"}  # fmt: skip
    note = {"channel": "notification:7", "type": "update/notification",
            "notifs": [{"id": "n", "kind": kind, "content": content, "ack": False}]}  # fmt: skip
    (record,) = read("lighter", [json.dumps(note)], KNOWN)
    assert isinstance(record, AccountEvent)
    assert (record.event, record.position, record.quantity, record.price) == (event, "long", 10.0, 139.5)


def test_each_connection_asks_for_a_hundred_markets() -> None:
    venue = Lighter()
    statistics, *trades = venue.connections(venue.production, [SOL] * 120)
    assert statistics.subscribe == ('{"type": "subscribe", "channel": "market_stats/all"}',)
    assert [(len(c.subscribe), c.acknowledgements) for c in trades] == [(100, 100), (20, 20)]
    assert trades[0].url == "wss://mainnet.zklighter.elliot.ai/stream"
    assert json.loads(trades[0].subscribe[0])["channel"] == "trade/2"
    assert trades[0].heartbeat is not None
    assert trades[0].heartbeat.every < 120
    assert venue.acknowledgement(frame([], [], "subscribed/trade").encode()) == Acknowledged()
    assert isinstance(venue.acknowledgement(b'{"error":{"code":1,"message":"no"}}'), Denied)
    assert venue.acknowledgement(frame([trade()]).encode()) is None


SOUND = frame([trade(), trade(42, maker_ask=True)], [trade(43, "trade")]).encode()
FRAMES = [SOUND, frame([trade()], [], "subscribed/trade").encode(), json.dumps(DETAILS).encode(),
          json.dumps({"channel": "m", "market_stats": {"2": STATS}, "type": "update/market_stats"}).encode(),
          b'{"funding_rates":[{"market_id":2,"exchange":"lighter","rate":0.1}]}', b'{"type":"pong"}']  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(hostile=runs(FRAMES))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless("lighter", KNOWN, SOUND, hostile)


def test_recorded_forced_trades_value_by_value(read: Read, shared: Callable[[str], Path]) -> None:
    lines = shared("captures/lighter/liquidation_trade_objects.jsonl").read_bytes().splitlines()
    lines += shared("captures/lighter/trade.jsonl").read_bytes().splitlines()
    forced = 0
    for line in lines:
        body = json.loads(line)
        bare = "trade_id" in body
        expected = [body] if bare else body.get("liquidation_trades", [])
        events = [r for r in read("lighter", [line], snapshot("lighter")) if isinstance(r, Liquidation)]
        for told, event in zip(expected, events, strict=True):
            number = next(i for i in snapshot("lighter") if i.number == str(told["market_id"]))
            assert event.instrument == number.instrument
            assert event.position == ("short" if told["is_maker_ask"] else "long")
            assert (event.quantity, event.price, event.price_kind) == (
                float(told["size"]),
                float(told["price"]),
                "fill",
            )
            assert event.notional_usd == pytest.approx(float(told["usd_amount"]), rel=1e-6)
            assert event.event_time == told["timestamp"] * MS
            assert event.backfill == (not bare and body["type"].startswith("subscribed"))
            before = float(told.get("taker_position_size_before", 0))
            assert before == 0 or (before > 0) == (event.position == "long")
        forced += len(events)
    assert forced == 5


def test_every_recorded_line_is_understood(read: Read, shared: Callable[[str], Path]) -> None:
    for path in sorted(shared("captures/lighter").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            records = read("lighter", [line], snapshot("lighter"))
            assert records
            assert not [r for r in records if isinstance(r, DeadLetter)], line
