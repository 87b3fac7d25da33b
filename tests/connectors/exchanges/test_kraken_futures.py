"""Kraken Futures: taker side, USD or coins by prefix, replayed snapshots, and two funding rates of which one is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.kraken_futures import KrakenFutures
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import Control, DeadLetter, Funding, MarkPrice, OpenInterest, Trade
from tests.connectors.exchanges.hostile import assert_harmless, runs
from tests.connectors.exchanges.reading import liquidations, records

VENUE = "kraken_futures"
KRAKEN = KrakenFutures()
T = 1_790_000_000_000
"""Milliseconds."""


def trade(
    uid: str, side: str = "sell", kind: str = "liquidation", product: str = "PI_XBTUSD", **more: Any
) -> dict[str, Any]:
    return {
        "feed": "trade", "product_id": product, "uid": uid, "side": side, "type": kind, "seq": 1, "time": T,
        "qty": 25000.0, "price": 62500.0,
    } | more  # fmt: skip


def live(*args: Any, **more: Any) -> str:
    return json.dumps(trade(*args, **more))


def replay(*trades: dict[str, Any]) -> str:
    return json.dumps({"feed": "trade_snapshot", "product_id": "PI_XBTUSD", "trades": list(trades)})


def ticker(product: str = "PI_XBTUSD", **more: Any) -> str:
    return json.dumps(
        {
            "feed": "ticker", "product_id": product, "time": T, "bid": 1, "ask": 2, "index": 62400.0,
            "markPrice": 62500.0, "openInterest": 1250000.0,
        } | more
    )  # fmt: skip


FUNDED = ticker(
    relative_funding_rate=0.00002,
    funding_rate=3.2e-10,
    next_funding_rate_time=T + 60_000,
    funding_rate_prediction=1e-10,
)


def test_a_taker_that_sold_was_long() -> None:
    long, short = liquidations(records(VENUE, [live("a", "sell"), live("b", "buy")]))
    assert (long.position, short.position) == ("long", "short")
    assert (long.price_kind, long.coverage, long.event_time, long.backfill) == (
        "fill",
        "complete",
        T * 1_000_000,
        False,
    )


@pytest.mark.parametrize(
    ("product", "quantity", "usd"),
    [
        ("PI_XBTUSD", 0.4, 25000.0),
        ("FI_XBTUSD_211231", 0.4, 25000.0),
        ("PF_XBTUSD", 25000.0, 25000 * 62500.0),
    ],
)
def test_quantities_are_usd_on_pi_and_fi_and_coins_on_pf(product: str, quantity: float, usd: float) -> None:
    (event,) = liquidations(records(VENUE, [live("a", product=product)]))
    assert (event.asset, event.quantity, event.notional_usd) == ("BTC", quantity, usd)


def test_only_type_liquidation_is_forced_and_fills_are_trades() -> None:
    found = records(VENUE, [live("a", kind=kind) for kind in ("fill", "assignment", "termination", "block", "gift")])
    fill, *controls, letter = found
    assert isinstance(fill, Trade)
    assert (fill.trade_id, fill.taker, fill.quantity, fill.notional_usd, fill.backfill) == (
        "a",
        "sell",
        0.4,
        25000.0,
        False,
    )
    assert [record.what for record in controls if isinstance(record, Control)] == ["ignored"] * 3
    assert isinstance(letter, DeadLetter)


def test_the_trade_snapshot_is_backfill_and_the_uid_is_the_key_so_live_and_replayed_are_one_event() -> None:
    (now,) = liquidations(records(VENUE, [live("a")]))
    (again,) = liquidations(records(VENUE, [replay(trade("a"), trade("b", kind="fill"))]))
    assert (again.event_id, again.backfill) == (now.event_id, True)
    trades = [record for record in records(VENUE, [replay(trade("b", kind="fill"))]) if isinstance(record, Trade)]
    assert [t.backfill for t in trades] == [True]


def test_equal_fills_in_one_frame_are_two_events_and_a_replayed_frame_adds_none() -> None:
    frame = replay(trade("a"), trade("b"))
    ids = [event.event_id for event in liquidations(records(VENUE, [frame, frame]))]
    assert len(set(ids)) == 2
    assert ids[:2] == ids[2:]


def test_a_faulty_row_of_a_snapshot_costs_itself_only() -> None:
    found = records(VENUE, [replay(trade("a"), trade("b", qty=None), trade("c", side="up"), trade("d"))])
    assert len(liquidations(found)) == 2
    assert sum(isinstance(record, DeadLetter) for record in found) == 2


def test_relative_funding_rate_is_the_hourly_fraction_and_the_absolute_funding_rate_is_not_read() -> None:
    mark, interest, funding = records(VENUE, [FUNDED])
    assert isinstance(mark, MarkPrice)
    assert (mark.price, mark.index_price) == (62500.0, 62400.0)
    assert isinstance(interest, OpenInterest)
    assert (interest.quantity, interest.notional_usd) == (20.0, 1250000.0)
    assert isinstance(funding, Funding)
    assert (funding.rate, funding.interval_hours, funding.next_time) == (0.00002, 1.0, (T + 60_000) * 1_000_000)
    assert funding.annualised == pytest.approx(0.00002 * 8760)
    absolute_only = records(VENUE, [ticker(funding_rate=3.2e-10)])
    assert not [record for record in absolute_only if isinstance(record, Funding)]


def test_ticker_lite_and_the_answers_are_controls() -> None:
    frames = [
        '{"feed":"ticker_lite","product_id":"PI_XBTUSD","bid":1,"ask":2,"tag":"perpetual"}',
        '{"event":"info","version":1}', '{"event":"subscribed","feed":"trade","product_ids":["PI_XBTUSD"]}',
        '{"feed":"heartbeat","time":1}', '{"event":"alert","message":"Bad websocket message"}',
    ]  # fmt: skip
    found = [record.what for record in records(VENUE, frames) if isinstance(record, Control)]
    assert found == ["ignored", "welcome", "ack", "heartbeat", "refused"]
    assert KRAKEN.acknowledgement(frames[2].encode()) == Acknowledged()
    assert KRAKEN.acknowledgement(frames[4].encode()) == Denied("Bad websocket message")
    assert KRAKEN.acknowledgement(live("a").encode()) is None


def test_the_connection_subscribes_trades_and_tickers_of_every_product() -> None:
    (connection,) = KRAKEN.connections(KRAKEN.production, snapshot(VENUE))
    messages = [json.loads(message) for message in connection.subscribe]
    products = [i.instrument for i in snapshot(VENUE)]
    assert messages == [
        {"event": "subscribe", "feed": "heartbeat"},
        {"event": "subscribe", "feed": "trade", "product_ids": products},
        {"event": "subscribe", "feed": "ticker", "product_ids": products},
    ]
    assert connection.acknowledgements == len(messages)


SOUND = replay(trade("s"), trade("t", "buy", product="PF_ETHUSD", qty=1.5, price=2000.0))
SAMPLES = [
    SOUND,
    live("a"), live("b", kind="fill"), replay(trade("c"), trade("d", kind="fill")), FUNDED, ticker("FI_XBTUSD_211231"),
    '{"feed":"ticker_lite","product_id":"PI_XBTUSD"}', '{"event":"subscribed","feed":"trade"}',
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(runs([sample.encode() for sample in SAMPLES]))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless(VENUE, snapshot(VENUE), SOUND.encode(), hostile)


def test_every_recorded_line_is_understood_and_every_recorded_trade_is_told_value_by_value(
    shared: Callable[[str], Path],
) -> None:
    for file in sorted(shared("captures/kraken_futures").glob("*.jsonl")):
        lines = file.read_bytes().splitlines()
        found = records(VENUE, lines)
        assert not [record for record in found if isinstance(record, DeadLetter)]
        assert liquidations(found) == []  # every recorded type is fill
        sent = [
            (row, "trades" in body)
            for body in map(json.loads, lines)
            for row in body.get("trades", [body] if "uid" in body else [])
        ]
        told = [record for record in found if isinstance(record, Trade)]
        assert [(t.trade_id, t.taker, t.price, t.notional_usd, t.quantity, t.event_time, t.backfill) for t in told] == [
            (r["uid"], r["side"], r["price"], r["qty"], r["qty"] / r["price"], r["time"] * 1_000_000, replayed)
            for r, replayed in sent
        ]


def test_recorded_fills_flagged_as_liquidations_would_be_told_value_by_value(shared: Callable[[str], Path]) -> None:
    lines = (
        shared("captures/kraken_futures/trade.doc.jsonl").read_text().replace('"fill"', '"liquidation"').splitlines()
    )
    told = liquidations(records(VENUE, lines))
    assert [(e.position, e.quantity, e.notional_usd, e.price, e.event_time, e.backfill) for e in told] == [
        ("long", 15000 / 34969.5, 15000.0, 34969.5, 1612266317519000000, False),
        ("long", 440 / 34893, 440.0, 34893.0, 1612269657781000000, True),
        ("long", 9643 / 34891, 9643.0, 34891.0, 1612269656839000000, True),
    ]


def test_metadata_lists_products_in_upper_case_without_indices(shared: Callable[[str], Path]) -> None:
    told = {
        i.instrument: i
        for i in KRAKEN.metadata(shared("captures/kraken_futures/rest_instruments_2021.jsonl").read_bytes())
    }
    assert told["PI_XBTUSD"] == Instrument(VENUE, "PI_XBTUSD", "XBT", 1.0, "usd", "USD", "XBT", 0.5)
    assert not [symbol for symbol in told if symbol.startswith(("IN_", "RR_"))]
    flexible = (
        b'{"result":"success","instruments":[{"symbol":"PF_SOLUSD","tradeable":true,"contractSize":1,"tickSize":0.01}]}'
    )
    assert list(KRAKEN.metadata(flexible)) == [Instrument(VENUE, "PF_SOLUSD", "SOL", 1.0, "base", "USD", "USD", 0.01)]
