"""Extended (X10): flagged trades, large ids, sequence numbers, and an open interest told twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchanges.extended import Extended
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import AccountEvent, Control, DeadLetter, Funding, Liquidation, MarkPrice, OpenInterest, Trade
from tests.conftest import Read
from tests.connectors.exchanges.hostile import assert_harmless, runs

MS = 1_000_000
ETH = Instrument("extended", "ETH-USD", "ETH", 1.0, "base", "USD", "USD")
PEPE = Instrument("extended", "1000PEPE-USD", "1000PEPE", 1.0, "base", "USD", "USD")
KNOWN = [ETH, PEPE]
LARGE = 1_900_000_000_000_000_001


def trade(kind: str = "LIQUIDATION", side: str = "SELL", number: int = LARGE, **fields: Any) -> dict[str, Any]:
    return {"i": number, "m": "ETH-USD", "S": side, "tT": kind, "T": 1790000000123, "p": "3000", "q": "2"} | fields


def frame(*trades: Any, seq: int = 7) -> str:
    return json.dumps({"data": list(trades), "ts": 1790000000130, "seq": seq})


def test_the_taker_of_a_liquidation_is_the_liquidated_so_sell_closed_a_long(read: Read) -> None:
    long, short = read("extended", [frame(trade(), trade(side="BUY", number=5))], KNOWN)
    assert (long.position, long.quantity, long.price, long.price_kind, long.notional_usd) == (
        "long", 2.0, 3000.0, "fill", 6000.0,
    )  # fmt: skip
    assert (long.event_time, long.coverage, long.cause, long.backfill) == (
        1790000000123 * MS, "complete", "liquidation", False,
    )  # fmt: skip
    assert short.position == "short"


def test_deleverage_is_adl_and_trade_is_a_trade(read: Read) -> None:
    adl, ordinary = read("extended", [frame(trade("DELEVERAGE", "BUY"), trade("TRADE", number=5))], KNOWN)
    assert (adl.cause, adl.position) == ("adl", "short")
    assert isinstance(ordinary, Trade)
    assert (ordinary.taker, ordinary.trade_id) == ("sell", "5")


def test_ids_beyond_2_to_the_53_stay_apart(read: Read) -> None:
    """As doubles these three would be one number."""
    numbers = [LARGE, LARGE + 1, LARGE + 2]
    assert len({float(n) for n in numbers}) == 1
    events = read("extended", [frame(*(trade(number=n) for n in numbers))], KNOWN)
    assert len({e.event_id for e in events}) == 3
    ordinary = read("extended", [frame(trade("TRADE"))], KNOWN)
    assert ordinary[0].trade_id == str(LARGE)


def test_seq_1_is_a_backfill_of_the_same_events(read: Read) -> None:
    replayed, ordinary, live = read("extended", [frame(trade(), trade("TRADE"), seq=1), frame(trade(), seq=2)], KNOWN)
    assert (replayed.backfill, ordinary.backfill, live.backfill) == (True, True, False)
    assert replayed.event_id == live.event_id


def test_a_hole_in_seq_is_told_as_a_gap_and_a_restart_is_none(read: Read) -> None:
    frames = [frame(trade(number=n), seq=seq) for n, seq in enumerate((6, 7, 10, 11, 1, 2), 1)]
    records = read("extended", frames, KNOWN)
    gaps = [(i, r) for i, r in enumerate(records) if isinstance(r, Control)]
    assert [(i, r.what) for i, r in gaps] == [(2, "gap")]
    assert "10 after 7" in gaps[0][1].detail
    assert len([r for r in records if isinstance(r, Liquidation)]) == 6


def test_1000PEPE_is_PEPE_rescaled(read: Read) -> None:  # noqa: N802 - symbols
    (event,) = read("extended", [frame(trade(m="1000PEPE-USD", q="5000", p="0.01"))], KNOWN)
    assert (event.asset, event.quantity, event.price) == ("PEPE", 5_000_000.0, 0.00001)
    assert event.notional_usd == pytest.approx(50.0)


def test_a_broken_row_and_an_unknown_kind_cost_only_themselves(read: Read) -> None:
    records = read("extended", [frame(trade(p=None), trade("SWAP"), trade())], KNOWN)
    assert [type(r) for r in records] == [DeadLetter, DeadLetter, Liquidation]


def test_a_mark_without_its_own_time_has_that_of_the_frame(read: Read) -> None:
    body = {"type": "MP", "data": {"m": "ETH-USD", "p": "3001.25", "ts": 0}, "ts": 1790000000555, "seq": 1}
    stamped = body | {"data": {"m": "ETH-USD", "p": "3001.5", "ts": 1790000000500}}
    first, second = read("extended", [json.dumps(body), json.dumps(stamped)], KNOWN)
    assert isinstance(first, MarkPrice)
    assert (first.price, first.event_time) == (3001.25, 1790000000555 * MS)
    assert second.event_time == 1790000000500 * MS


def test_streamed_funding_was_paid_and_is_hourly(read: Read) -> None:
    body = {"ts": 1790000000999, "data": {"m": "ETH-USD", "T": 1790000000000, "f": "0.00002"}, "seq": 2}
    (funding,) = read("extended", [json.dumps(body)], KNOWN)
    assert (funding.rate, funding.interval_hours, funding.settled) == (0.00002, 1.0, True)
    assert funding.event_time == 1790000000000 * MS


def market(**fields: Any) -> dict[str, Any]:
    stats = {"markPrice": "3001.5", "indexPrice": "3002", "fundingRate": "0.000013", "nextFundingRate": 1790002800000,
             "openInterest": "6003000", "openInterestBase": "2000"}  # fmt: skip
    return {"name": "ETH-USD", "type": "PERPETUAL", "assetName": "ETH", "collateralAssetName": "USD",
            "status": "ACTIVE", "marketStats": stats, "tradingConfig": {"minPriceChange": "0.1"}} | fields  # fmt: skip


@pytest.mark.parametrize("body", [market(), {"status": "OK", "data": [market()]}])
def test_open_interest_is_told_in_base_and_in_usd_and_both_are_kept(read: Read, body: Any) -> None:
    price, interest, funding = read("extended", [json.dumps(body)], KNOWN, receive_time=1790000000000 * MS)
    assert (price.price, price.index_price) == (3001.5, 3002.0)
    assert isinstance(interest, OpenInterest)
    assert (interest.quantity, interest.notional_usd) == (2000.0, 6_003_000.0)
    assert isinstance(funding, Funding)
    assert (funding.rate, funding.interval_hours, funding.settled) == (0.000013, 1.0, False)
    assert funding.next_time == 1790002800000 * MS


@pytest.mark.parametrize(
    ("kind", "taker", "event"),
    [
        ("LIQUIDATION", True, "liquidation"),
        ("LIQUIDATION", False, "fill"),
        ("DELEVERAGE", False, "adl"),
        ("TRADE", True, "fill"),
    ],
)
def test_the_maker_a_liquidated_taker_met_was_not_liquidated(read: Read, kind: str, taker: bool, event: str) -> None:
    row = {"id": LARGE, "market": "ETH-USD", "orderId": LARGE, "externalOrderId": "mine", "side": "SELL",
           "price": "3000", "qty": "2", "tradeType": kind, "createdTime": 1790000000123, "isTaker": taker}  # fmt: skip
    body = {"type": "TRADE", "data": {"trades": [row]}, "ts": 1790000000130, "seq": 4}
    (record,) = read("extended", [json.dumps(body)], KNOWN)
    assert isinstance(record, AccountEvent)
    assert (record.event, record.position) == (event, None if event == "fill" else "long")
    assert (record.quantity, record.client_id, record.order_id) == (2.0, "mine", str(LARGE))


def test_a_position_is_signed_by_its_side(read: Read) -> None:
    row = {"market": "ETH-USD", "side": "SHORT", "size": "0.3", "markPrice": "3000", "updatedAt": 1790000000123}
    (record,) = read(
        "extended", [json.dumps({"type": "POSITION", "data": {"positions": [row]}, "ts": 1, "seq": 1})], KNOWN
    )
    assert (record.event, record.state, record.remaining, record.position) == ("position", "known", -0.3, "short")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"type": "IP", "data": {"m": "ETH-USD", "p": "1", "ts": 1}, "ts": 1, "seq": 1}, "ignored"),
        ({"type": "BALANCE", "data": {"balance": {}}, "ts": 1, "seq": 1}, "ignored"),
        ({"status": "ERROR", "error": {"code": 1001, "message": "no market"}}, "refused"),
        (market(status="DELISTED"), "ignored"),
        ({"data": [], "ts": 1, "seq": 3}, "ignored"),
    ],
)
def test_answers_and_known_channels_are_controls(read: Read, body: Any, what: str) -> None:
    (control,) = read("extended", [json.dumps(body)], KNOWN)
    assert isinstance(control, Control)
    assert control.what == what


def test_a_frame_nobody_knows_is_a_dead_letter(read: Read) -> None:
    assert [type(r) for r in read("extended", ['{"type":"X","data":{}}', "[]", "1"], KNOWN)] == [DeadLetter] * 3


def test_streams_are_chosen_by_address_with_a_user_agent() -> None:
    venue = Extended()
    found = venue.connections(venue.production, KNOWN)
    base = "wss://api.starknet.extended.exchange/stream.extended.exchange/v1"
    assert [(c.url, c.carries_liquidations) for c in found] == [
        (f"{base}/publicTrades", True), (f"{base}/prices/mark", False), (f"{base}/funding", False),
    ]  # fmt: skip
    assert all(dict(c.headers)["User-Agent"] and not c.subscribe for c in found)
    (poll,) = venue.polls(KNOWN)
    assert poll.request.path == "/api/v1/info/markets"


def test_metadata_lists_perpetuals() -> None:
    body = {"status": "OK", "data": [market(), market(name="X-SPOT", type="SPOT")]}
    assert list(Extended().metadata(json.dumps(body).encode())) == [
        Instrument("extended", "ETH-USD", "ETH", 1.0, "base", "USD", "USD", 0.1)
    ]


SOUND = frame(trade(), trade(side="BUY", number=5), trade("TRADE", number=6)).encode()
FRAMES = [SOUND, frame(trade(), seq=1).encode(), json.dumps({"status": "OK", "data": [market()]}).encode(),
          b'{"type":"MP","data":{"m":"ETH-USD","p":"3001","ts":0},"ts":1790000000000,"seq":1}',
          b'{"ts":1,"data":{"m":"ETH-USD","T":1790000000000,"f":"0.1"},"seq":2}']  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(hostile=runs(FRAMES))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless("extended", KNOWN, SOUND, hostile)


def test_recorded_trades_value_by_value(read: Read, shared: Callable[[str], Path]) -> None:
    """Nobody recorded a LIQUIDATION print; re-flagged, the recorded rows show what one would say."""
    for line in shared("captures/x10/public_trades.jsonl").read_bytes().splitlines():
        rows = json.loads(line)["data"]
        trades = read("extended", [line], snapshot("extended"))
        events = read("extended", [line.replace(b'"tT":"TRADE"', b'"tT":"LIQUIDATION"')], snapshot("extended"))
        for row, print_, event in zip(rows, trades, events, strict=True):
            assert isinstance(print_, Trade)
            assert isinstance(event, Liquidation)
            assert print_.taker == {"BUY": "buy", "SELL": "sell"}[row["S"]]
            assert event.position == {"BUY": "short", "SELL": "long"}[row["S"]]
            assert (event.price, event.quantity, event.price_kind) == (float(row["p"]), float(row["q"]), "fill")
            assert event.notional_usd == pytest.approx(float(row["p"]) * float(row["q"]), rel=1e-12)
            assert print_.event_time == event.event_time == row["T"] * MS
            assert print_.trade_id == str(row["i"])


def test_the_recorded_market_agrees_with_itself(read: Read, shared: Callable[[str], Path]) -> None:
    (line,) = shared("captures/x10/rest_info_markets_rows.jsonl").read_bytes().splitlines()
    stats = json.loads(line)["marketStats"]
    price, interest, funding = read("extended", [line], snapshot("extended"))
    assert interest.quantity == float(stats["openInterestBase"])
    assert interest.notional_usd == float(stats["openInterest"])
    assert interest.notional_usd == pytest.approx(interest.quantity * price.price, rel=0.01)
    assert (funding.rate, funding.next_time) == (float(stats["fundingRate"]), stats["nextFundingRate"] * MS)


def test_every_recorded_line_is_understood(read: Read, shared: Callable[[str], Path]) -> None:
    for path in sorted(shared("captures/x10").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            records = read("extended", [line], snapshot("extended"))
            assert records
            assert not [r for r in records if isinstance(r, DeadLetter)], line
