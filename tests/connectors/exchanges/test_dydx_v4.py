"""dYdX v4: flagged trades, their replay, and the market context of the indexer."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.dydx_v4 import Dydx
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import Control, DeadLetter, Funding, Liquidation, MarkPrice, OpenInterest, Trade
from tests.conftest import Read
from tests.connectors.exchanges.hostile import assert_harmless, runs

BTC = Instrument("dydx_v4", "BTC-USD", "BTC", 1.0, "base", "USD", "USDC")
ETH = Instrument("dydx_v4", "ETH-USD", "ETH", 1.0, "base", "USD", "USDC")
KNOWN = [BTC, ETH]
AT = 1767323045_678_000_000
"""2026-01-02T03:04:05.678Z"""


def trade(kind: str = "LIQUIDATED", side: str = "SELL", number: str = "05f5e1000000000200000003", **fields: Any) -> Any:
    return {"id": number, "side": side, "size": "0.5", "price": "60000", "type": kind,
            "createdAt": "2026-01-02T03:04:05.678Z", "createdAtHeight": "100000000"} | fields  # fmt: skip


def frame(*trades: Any, kind: str = "channel_data", market: str = "BTC-USD") -> str:
    body = {"type": kind, "connection_id": "c", "message_id": 4, "id": market, "channel": "v4_trades"}
    contents: Any = {"trades": list(trades)}
    return json.dumps(body | {"contents": [contents] if kind == "channel_batch_data" else contents})


def test_side_is_the_liquidated_taker_so_sell_closed_a_long(read: Read) -> None:
    long, short = read("dydx_v4", [frame(trade(), trade(side="BUY", number="a"))], KNOWN)
    assert (long.position, long.cause, long.price_kind, long.coverage) == ("long", "liquidation", "fill", "complete")
    assert (long.quantity, long.price, long.notional_usd) == (0.5, 60000.0, 30_000.0)
    assert (short.position, short.backfill) == ("short", False)


def test_created_at_is_iso_8601_and_becomes_nanoseconds(read: Read) -> None:
    (event,) = read("dydx_v4", [frame(trade())], KNOWN)
    assert (event.event_time, event.time_source) == (AT, "venue")


def test_a_time_without_a_zone_is_not_guessed(read: Read) -> None:
    (letter,) = read("dydx_v4", [frame(trade(createdAt="2026-01-02T03:04:05.678"))], KNOWN)
    assert isinstance(letter, DeadLetter)


def test_deleveraged_is_adl_and_never_a_liquidation(read: Read) -> None:
    long, short = read("dydx_v4", [frame(trade("DELEVERAGED"), trade("DELEVERAGED", "BUY", "b"))], KNOWN)
    assert [(e.cause, e.position) for e in (long, short)] == [("adl", "long"), ("adl", "short")]


def test_limit_and_market_trades_are_ordinary(read: Read) -> None:
    records = read("dydx_v4", [frame(trade("LIMIT"), trade("MARKET", "BUY", "b"))], KNOWN)
    assert [(type(r), r.taker, r.trade_id) for r in records] == [
        (Trade, "sell", "05f5e1000000000200000003"),
        (Trade, "buy", "b"),
    ]


def test_a_batch_carries_its_contents_in_a_list(read: Read) -> None:
    assert read("dydx_v4", [frame(trade(), kind="channel_batch_data")], KNOWN) == read(
        "dydx_v4", [frame(trade())], KNOWN
    )


def test_the_subscribed_frame_replays_the_past_and_its_ids_are_those_of_the_live_frames(read: Read) -> None:
    live, ack, replayed, ordinary = read(
        "dydx_v4", [frame(trade()), frame(trade(), trade("LIMIT", number="b"), kind="subscribed")], KNOWN
    )
    assert isinstance(ack, Control)
    assert (live.backfill, replayed.backfill, ordinary.backfill) == (False, True, True)
    assert live.event_id == replayed.event_id


def test_equal_trades_with_two_ids_are_two_events_and_a_replayed_frame_adds_none(read: Read) -> None:
    pair = frame(trade(number="a"), trade(number="b"))
    once = [r.event_id for r in read("dydx_v4", [pair], KNOWN)]
    assert len(set(once)) == 2
    assert [r.event_id for r in read("dydx_v4", [pair, pair], KNOWN)] == once * 2


def test_a_type_nobody_knows_costs_only_its_own_row(read: Read) -> None:
    letter, event = read("dydx_v4", [frame(trade("NEW_KIND"), trade())], KNOWN)
    assert isinstance(letter, DeadLetter)
    assert isinstance(event, Liquidation)


def test_a_broken_row_costs_only_itself(read: Read) -> None:
    letter, event = read("dydx_v4", [frame(trade(size="lots"), trade())], KNOWN)
    assert isinstance(letter, DeadLetter)
    assert isinstance(event, Liquidation)


def test_a_trade_object_without_its_frame_names_no_market_unless_the_feed_does(read: Read) -> None:
    (letter,) = read("dydx_v4", [json.dumps(trade())], KNOWN, feed="trades-1")
    (event,) = read("dydx_v4", [json.dumps(trade())], KNOWN, feed="trades:BTC-USD")
    assert isinstance(letter, DeadLetter)
    assert "names no market" in letter.reason
    assert (event.instrument, event.position) == ("BTC-USD", "long")


MARKETS = {"BTC-USD": {"ticker": "BTC-USD", "status": "ACTIVE", "oraclePrice": "60000", "nextFundingRate": "0.00001",
           "openInterest": "400", "baseOpenInterest": "1", "tickSize": "1"}}  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {"markets": MARKETS},
        {"type": "subscribed", "channel": "v4_markets", "contents": {"markets": MARKETS}},
        {"type": "channel_data", "channel": "v4_markets", "contents": {"trading": MARKETS}},
        {"type": "channel_batch_data", "channel": "v4_markets", "contents": [{"trading": MARKETS}]},
    ],
)
def test_open_interest_is_base_coins_and_funding_is_hourly(read: Read, body: Any) -> None:
    price, funding, interest = [r for r in read("dydx_v4", [json.dumps(body)], KNOWN) if not isinstance(r, Control)]
    assert isinstance(price, MarkPrice)
    assert price.price == 60000.0
    assert isinstance(funding, Funding)
    assert (funding.rate, funding.interval_hours, funding.settled) == (0.00001, 1.0, False)
    assert funding.annualised == pytest.approx(0.0876)
    assert isinstance(interest, OpenInterest)
    assert (interest.quantity, interest.notional_usd) == (400.0, 24_000_000.0)


def test_a_delta_tells_only_what_changed(read: Read) -> None:
    oracle = {"BTC-USD": {"oraclePrice": "61000", "effectiveAt": "2026-01-02T03:04:05.678Z", "marketId": 0}}
    delta = {"type": "channel_data", "channel": "v4_markets", "contents": {"oraclePrices": oracle}}
    (price,) = read("dydx_v4", [json.dumps(delta)], KNOWN)
    assert (price.price, price.event_time) == (61000.0, AT)


def test_settled_funding_carries_its_hour(read: Read) -> None:
    row = {"ticker": "ETH-USD", "rate": "-0.00002", "price": "3000", "effectiveAt": "2026-01-02T03:04:05.678Z"}
    (funding,) = read("dydx_v4", [json.dumps({"historicalFunding": [row]})], KNOWN)
    assert (funding.rate, funding.settled, funding.event_time, funding.interval_hours) == (-0.00002, True, AT, 1.0)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"type": "connected", "connection_id": "c", "message_id": 0}, "welcome"),
        ({"type": "error", "message": "Invalid channel"}, "refused"),
        ({"errors": [{"msg": "Too many requests"}]}, "refused"),
        ({"type": "unsubscribed", "channel": "v4_trades", "id": "BTC-USD"}, "ack"),
        ({"type": "channel_data", "channel": "v4_orderbook", "id": "BTC-USD", "contents": {"bids": []}}, "ignored"),
    ],
)
def test_answers_and_known_channels_are_controls(read: Read, body: Any, what: str) -> None:
    (control,) = read("dydx_v4", [json.dumps(body)], KNOWN)
    assert isinstance(control, Control)
    assert control.what == what


def test_a_frame_nobody_knows_is_a_dead_letter(read: Read) -> None:
    (letter,) = read("dydx_v4", ['{"type":"channel_data","channel":"v9_x","contents":{}}'], KNOWN)
    assert isinstance(letter, DeadLetter)


def test_each_connection_asks_for_the_32_markets_the_indexer_takes() -> None:
    venue = Dydx()
    markets, *trades = venue.connections(venue.production, [BTC] * 40)
    assert markets.url == "wss://indexer.dydx.trade/v4/ws"
    assert (markets.carries_liquidations, markets.acknowledgements) == (False, 1)
    assert [(c.feed, len(c.subscribe), c.acknowledgements) for c in trades] == [
        ("trades-1", 32, 32),
        ("trades-2", 8, 8),
    ]
    assert json.loads(trades[0].subscribe[0]) == {"type": "subscribe", "channel": "v4_trades", "id": "BTC-USD"}
    assert venue.acknowledgement(frame(trade(), kind="subscribed").encode()) == Acknowledged()
    assert venue.acknowledgement(b'{"type":"error","message":"no"}') == Denied("no")
    assert venue.acknowledgement(frame(trade()).encode()) is None


def test_metadata_names_the_coin_of_an_isolated_market() -> None:
    rows = MARKETS | {"BUFF,raydium,4k3D-USD": {"status": "ACTIVE"}, "OLD-USD": {"status": "FINAL_SETTLEMENT"}}
    assert [(i.instrument, i.asset, i.tick) for i in Dydx().metadata(json.dumps({"markets": rows}).encode())] == [
        ("BTC-USD", "BTC", 1.0),
        ("BUFF,raydium,4k3D-USD", "BUFF", None),
    ]


SOUND = frame(trade(), trade(side="BUY", number="b"), trade("LIMIT", number="c")).encode()
FRAMES = [SOUND, frame(trade(), kind="subscribed").encode(), frame(trade(), kind="channel_batch_data").encode(),
          json.dumps({"markets": MARKETS}).encode(),
          json.dumps({"type": "channel_data", "channel": "v4_markets", "contents": {"trading": MARKETS}}).encode(),
          b'{"historicalFunding":[{"ticker":"ETH-USD","rate":"1","effectiveAt":"2026-01-02T03:04:05Z"}]}']  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(hostile=runs(FRAMES))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless("dydx_v4", KNOWN, SOUND, hostile)


def test_recorded_trade_objects_value_by_value(read: Read, shared: Callable[[str], Path]) -> None:
    """The objects carry no market; the one the feed names here is that of each price."""
    lines = shared("captures/dydx_v4/trade_objects.jsonl").read_bytes().splitlines()
    markets = ["XRP-USD", "SOL-USD", "BTC-USD", "BTC-USD"]
    for line, market in zip(lines, markets, strict=True):
        told = json.loads(line)
        (record,) = read("dydx_v4", [line], snapshot("dydx_v4"), feed=f"trades:{market}")
        moment = datetime.fromisoformat(told["createdAt"])
        assert record.event_time == round(moment.timestamp() * 1000) * 1_000_000
        assert (record.quantity, record.price) == (float(told["size"]), float(told["price"]))
        assert record.notional_usd == pytest.approx(float(told["size"]) * float(told["price"]), rel=1e-12)
        if told["type"] == "LIQUIDATED":
            assert isinstance(record, Liquidation)
            assert record.position == {"SELL": "long", "BUY": "short"}[told["side"]]
            assert (record.price_kind, record.cause, record.backfill) == ("fill", "liquidation", False)
        else:
            assert isinstance(record, Trade)
    assert [r.reason for line in lines for r in read("dydx_v4", [line], snapshot("dydx_v4"), feed="file")] == [
        "unreadable frame: ValueError: a trade without its frame names no market, and neither does the feed 'file'"
    ] * len(lines)


def test_every_other_recorded_line_is_understood(read: Read, shared: Callable[[str], Path]) -> None:
    for path in sorted(shared("captures/dydx_v4").glob("rest_*.jsonl")):
        for line in path.read_bytes().splitlines():
            records = read("dydx_v4", [line], snapshot("dydx_v4"))
            assert records
            assert not [r for r in records if isinstance(r, DeadLetter)], line
