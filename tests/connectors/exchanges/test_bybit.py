"""Bybit: whose position ``Buy`` is, the two topics and the two open interests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.bybit import Bybit
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import AccountEvent, Control, DeadLetter, Funding, Liquidation, MarkPrice, OpenInterest
from tests.connectors.exchanges.hostile import assert_harmless, runs

Read = Callable[..., list[Any]]
Shared = Callable[[str], Path]
MS = 1_000_000
BTC = Instrument("bybit", "BTCUSDT", "BTC", 1.0, "base")
INVERSE = Instrument("bybit", "BTCUSD", "BTC", 1.0, "usd", "USD", "BTC")
PEPE = Instrument("bybit", "1000PEPEUSDT", "1000PEPE", 1.0, "base")
KNOWN = [BTC, INVERSE, PEPE]


def closes(*rows: tuple[str, str, str, str, int], topic: str = "allLiquidation.BTCUSDT") -> str:
    data = [{"T": time, "s": symbol, "S": side, "v": size, "p": price} for symbol, side, size, price, time in rows]
    return json.dumps({"topic": topic, "type": "snapshot", "ts": 1790000000500, "data": data})


def retired(side: str, stamped: int) -> str:
    data = {"updatedTime": stamped, "symbol": "BTCUSDT", "side": side, "size": "0.5", "price": "40000"}
    return json.dumps({"topic": "liquidation.BTCUSDT", "type": "snapshot", "ts": stamped, "data": data})


def ticker(kind: str, ts: int, **fields: str) -> str:
    return json.dumps({"topic": "tickers.BTCUSDT", "type": kind, "ts": ts, "data": {"symbol": "BTCUSDT", **fields}})


def test_buy_is_a_long_that_was_liquidated(read: Read) -> None:
    """The naive reading, that a Buy order closed a short, is wrong: ``S`` is the side of the position."""
    long, short = read(
        "bybit",
        [closes(("BTCUSDT", "Buy", "0.5", "60000", 1790000000123), ("BTCUSDT", "Sell", "2", "61000", 1790000000124))],
        KNOWN,
    )
    assert (long.position, long.quantity, long.notional_usd, long.event_time) == (
        "long", 0.5, 30000.0, 1790000000123 * MS,
    )  # fmt: skip
    assert (short.position, short.quantity, short.notional_usd) == ("short", 2.0, 122000.0)
    assert {long.price_kind, short.price_kind} == {"bankruptcy"}
    assert {long.coverage, short.coverage} == {"complete"}


def test_an_inverse_size_is_usd_and_a_scaled_coin_is_rescaled(read: Read) -> None:
    usd, pepe = read(
        "bybit",
        [
            closes(
                ("BTCUSD", "Buy", "6000", "60000", 1790000000000), ("1000PEPEUSDT", "Sell", "50", "0.01", 1790000000000)
            )
        ],
        KNOWN,
    )
    assert (usd.quantity, usd.notional_usd) == (0.1, 6000.0)
    assert (pepe.asset, pepe.quantity, pepe.price, pepe.notional_usd) == ("PEPE", 50_000.0, 1e-5, 0.5)


def test_equal_closes_in_one_frame_are_two_events_and_a_replayed_frame_adds_none(read: Read) -> None:
    row = ("BTCUSDT", "Buy", "0.5", "60000", 1790000000123)
    frame = closes(row, row)
    first = [r.event_id for r in read("bybit", [frame], KNOWN)]
    both = [r.event_id for r in read("bybit", [frame, frame], KNOWN)]
    assert len(set(first)) == 2
    assert both == first + first


def test_the_retired_topic_means_the_same_side_and_is_sampled(read: Read) -> None:
    (long,) = read("bybit", [retired("Buy", 1700000000000)], KNOWN)
    assert (long.position, long.quantity, long.price, long.price_kind, long.coverage) == (
        "long", 0.5, 40000.0, "bankruptcy", "sampled",
    )  # fmt: skip
    (short,) = read("bybit", [retired("Sell", 1690000000000)], KNOWN)
    assert short.position == "short", "before 2023-08-31 the page called it the order side; the wire did not change"


@pytest.mark.parametrize(("stamped", "kind"), [(1764547199999, Liquidation), (1764547200000, DeadLetter)])
def test_the_retired_topic_ends_with_november_2025(read: Read, stamped: int, kind: type) -> None:
    (record,) = read("bybit", [retired("Buy", stamped)], KNOWN)
    assert isinstance(record, kind)


def test_single_open_interest_is_preferred_and_the_other_is_two_sided(read: Read) -> None:
    single = ticker("snapshot", 1790000000000, markPrice="60000", openInterest="200", singleOpenInterest="100")
    both = ticker("snapshot", 1790000000000, markPrice="60000", openInterest="200")
    for frame in (single, both):
        found = [r for r in read("bybit", [frame], KNOWN) if isinstance(r, OpenInterest)]
        assert [(r.quantity, r.notional_usd) for r in found] == [(100.0, 6_000_000.0)]


def test_a_delta_is_read_in_the_light_of_the_snapshot(read: Read) -> None:
    frames = [
        ticker(
            "snapshot", 1790000000000, markPrice="60000", indexPrice="60010", openInterest="200",
            singleOpenInterest="100", fundingRate="0.0001", nextFundingTime="1790006400000", fundingIntervalHour="4",
        ),
        ticker("delta", 1790000000100, fundingRate="0.0002"),
        ticker("delta", 1790000000200, markPrice="60100"),
        ticker("delta", 1790000000300, openInterest="210"),
    ]  # fmt: skip
    records = read("bybit", frames, KNOWN)
    fundings = [r for r in records if isinstance(r, Funding)]
    assert [(r.rate, r.interval_hours, r.next_time, r.event_time) for r in fundings] == [
        (0.0001, 4.0, 1790006400000 * MS, 1790000000000 * MS),
        (0.0002, 4.0, 1790006400000 * MS, 1790000000100 * MS),
    ]
    assert fundings[1].annualised == pytest.approx(0.0002 * 8760 / 4)
    assert [(r.price, r.index_price) for r in records if isinstance(r, MarkPrice)] == [
        (60000.0, 60010.0), (60100.0, 60010.0),
    ]  # fmt: skip
    assert [r.quantity for r in records if isinstance(r, OpenInterest)] == [100.0], "two-sided figures are passed over"


def test_an_unsound_delta_does_not_spoil_what_is_known(read: Read) -> None:
    frames = [
        ticker("snapshot", 1790000000000, markPrice="60000", fundingRate="0.0001", fundingIntervalHour="8"),
        ticker("delta", 1790000000100, fundingIntervalHour="nan"),
        ticker("delta", 1790000000200, fundingRate="0.0003"),
    ]
    records = read("bybit", frames, KNOWN)
    assert sum(isinstance(r, DeadLetter) for r in records) == 1
    last = records[-1]
    assert isinstance(last, Funding)
    assert (last.rate, last.interval_hours) == (0.0003, 8.0)


def test_a_delivery_contract_pays_no_funding(read: Read) -> None:
    records = read(
        "bybit", [ticker("snapshot", 1790000000000, markPrice="1", fundingRate="", nextFundingTime="")], KNOWN
    )
    assert [type(r) for r in records] == [MarkPrice]


def execution(**changes: str) -> str:
    row = {
        "category": "linear", "symbol": "BTCUSDT", "side": "Sell", "execType": "Trade", "execPrice": "60000",
        "execQty": "0.5", "execTime": "1790000000001", "execId": "e-1", "orderId": "o-1", "orderLinkId": "mine",
        "createType": "CreateByUser",
    }  # fmt: skip
    return json.dumps({"topic": "execution", "creationTime": 1790000000002, "data": [row | changes]})


@pytest.mark.parametrize(
    ("changes", "event", "position"),
    [
        ({}, "fill", None),
        ({"execType": "AdlTrade"}, "adl", "long"),
        ({"execType": "BustTrade", "side": "Buy"}, "liquidation", "short"),
        ({"createType": "CreateByLiq"}, "liquidation", "long"),
        ({"createType": "CreateByTakeOver_PassThrough"}, "liquidation", "long"),
        ({"createType": "CreateByAdl_PassThrough", "side": "Buy"}, "adl", "short"),
    ],
)
def test_the_side_of_an_own_execution_is_the_orders(
    read: Read, changes: dict[str, str], event: str, position: str | None
) -> None:
    """Unlike the public feed: a Sell order closes a long."""
    (own,) = read("bybit", [execution(**changes)], KNOWN)
    assert isinstance(own, AccountEvent)
    assert (own.event, own.position, own.quantity, own.price) == (event, position, 0.5, 60000.0)
    assert (own.order_id, own.client_id, own.event_time, own.state) == ("o-1", "mine", 1790000000001 * MS, "unknown")


def test_two_equal_executions_of_one_order_are_two_events(read: Read) -> None:
    one, two = read("bybit", [execution(), execution(execId="e-2")], KNOWN)
    assert one.event_id != two.event_id


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        ({"success": True, "ret_msg": "", "conn_id": "c", "req_id": "", "op": "subscribe"}, "ack"),
        ({"success": False, "ret_msg": "no such topic", "conn_id": "c", "op": "subscribe"}, "refused"),
        ({"success": True, "ret_msg": "pong", "conn_id": "c", "op": "ping"}, "pong"),
        ({"op": "pong", "args": ["1790000000000"], "conn_id": "c"}, "pong"),
        ({"retCode": 10001, "retMsg": "params error", "result": {}, "time": 1}, "refused"),
        ({"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": []}, "time": 1}, "ignored"),
        ({"topic": "adlAlert.USDT", "type": "snapshot", "ts": 1, "data": [{"c": "USDT", "s": "BTCUSDT"}]}, "ignored"),
        ({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1, "data": []}, "ignored"),
        ({"topic": "allLiquidation.BTCUSDT", "type": "snapshot", "ts": 1, "data": []}, "ignored"),
    ],
)
def test_what_is_no_event_is_a_control(read: Read, frame: Any, what: str) -> None:
    (control,) = read("bybit", [json.dumps(frame)], KNOWN)
    assert isinstance(control, Control)
    assert control.what == what


@pytest.mark.parametrize("frame", ['{"topic":"brandNew.BTCUSDT","data":{}}', '{"hello":1}', "[]", '{"topic":"allLiq'])
def test_what_is_not_known_is_a_dead_letter(read: Read, frame: Any) -> None:
    (letter,) = read("bybit", [frame], KNOWN)
    assert isinstance(letter, DeadLetter)
    assert letter.raw == frame.encode()


def test_one_unsound_row_costs_only_itself(read: Read) -> None:
    rows = [
        ("BTCUSDT", "Buy", "0.5", "60000", 1790000000001),
        ("BTCUSDT", "Hold", "1", "60000", 1790000000002),
        ("BTCUSDT", "Buy", "x", "60000", 1790000000003),
        ("BTCUSDT", "Sell", "1", "60000", 1790000000004),
    ]
    records = read("bybit", [closes(*rows)], KNOWN)
    assert [r.event_time // MS for r in records if isinstance(r, Liquidation)] == [1790000000001, 1790000000004]
    assert sum(isinstance(r, DeadLetter) for r in records) == 2


def test_each_connection_takes_at_most_21000_characters_of_topics() -> None:
    many = [Instrument("bybit", f"COIN{n:05}USDT", f"COIN{n:05}", 1.0, "base") for n in range(2000)]
    connections = Bybit().connections(Bybit.production, [*many, INVERSE])
    asked: list[str] = []
    for connection in connections:
        (message,) = connection.subscribe
        args = json.loads(message)["args"]
        assert len(json.dumps(args, separators=(",", ":"))) <= 21_000
        assert connection.carries_liquidations == connection.feed.startswith("liquidations")
        assert connection.heartbeat is not None
        assert (json.loads(connection.heartbeat.message), connection.heartbeat.every) == ({"op": "ping"}, 20.0)
        asked += args
    symbols = [i.instrument for i in [*many, INVERSE]]
    assert sorted(asked) == sorted([f"{t}.{s}" for s in symbols for t in ("allLiquidation", "tickers")])
    assert len({connection.feed for connection in connections}) == len(connections)
    assert {c.url for c in connections if "inverse" in c.feed} == {"wss://stream.bybit.com/v5/public/inverse"}
    assert {c.url for c in connections if "linear" in c.feed} == {"wss://stream.bybit.com/v5/public/linear"}


def test_metadata_makes_inverse_contracts_of_one_usd() -> None:
    def row(symbol: str, kind: str, base: str, quote: str, settle: str) -> dict[str, Any]:
        return {
            "symbol": symbol, "contractType": kind, "status": "Trading", "baseCoin": base, "quoteCoin": quote,
            "settleCoin": settle, "priceFilter": {"tickSize": "0.1"},
        }  # fmt: skip

    rows = [
        row("BTCUSDT", "LinearPerpetual", "BTC", "USDT", "USDT"),
        row("BTCUSD", "InversePerpetual", "BTC", "USD", "BTC"),
        row("SHIB1000USDT", "LinearPerpetual", "SHIB1000", "USDT", "USDT"),
    ]
    body = json.dumps({"retCode": 0, "result": {"list": rows}}).encode()
    assert list(Bybit().metadata(body)) == [
        Instrument("bybit", "BTCUSDT", "BTC", 1.0, "base", "USDT", "USDT", 0.1),
        Instrument("bybit", "BTCUSD", "BTC", 1.0, "usd", "USD", "BTC", 0.1),
        Instrument("bybit", "SHIB1000USDT", "1000SHIB", 1.0, "base", "USDT", "USDT", 0.1),
    ]


def test_an_answer_to_a_subscription_is_told_from_data() -> None:
    venue = Bybit()
    assert venue.acknowledgement(b'{"success":true,"ret_msg":"","conn_id":"c","op":"subscribe"}') == Acknowledged()
    assert venue.acknowledgement(b'{"success":false,"ret_msg":"why","op":"subscribe"}') == Denied("why")
    assert venue.acknowledgement(b'{"success":true,"ret_msg":"pong","op":"ping"}') is None
    assert venue.acknowledgement(closes(("BTCUSDT", "Buy", "1", "1", 1)).encode()) is None


def test_recorded_liquidations_value_by_value(read: Read, shared: Shared) -> None:
    """Each recorded close against its own line, by the rules of the venue: Buy = long, base coins, milliseconds."""
    lines = shared("captures/bybit/all_liquidation.jsonl").read_bytes().splitlines()
    expected = []
    for line in lines:
        for row in json.loads(line)["data"]:
            held = {"Buy": "long", "Sell": "short"}[row["S"]]
            size, price = float(row["v"]), float(row["p"])
            expected.append((row["s"], held, size, price, size * price, row["T"] * MS, "bankruptcy", "liquidation"))
    records = read("bybit", lines, snapshot("bybit"))
    assert all(isinstance(r, Liquidation) for r in records)
    found = [(r.instrument, r.position, r.quantity, r.price, r.notional_usd, r.event_time, r.price_kind, r.cause)
             for r in records]  # fmt: skip
    assert found == expected
    assert len(found) == 5


def test_no_recorded_line_is_a_dead_letter(read: Read, shared: Shared) -> None:
    for path in sorted(shared("captures/bybit").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            records = read("bybit", [line], snapshot("bybit"))
            assert records, path.name
            assert not [r for r in records if isinstance(r, DeadLetter)], path.name


def test_recorded_tickers_count_open_interest_once(read: Read, shared: Shared) -> None:
    lines = shared("captures/bybit/rest_tickers_rows.jsonl").read_bytes().splitlines()
    records = read("bybit", lines, snapshot("bybit"))
    found = {r.instrument: r.quantity for r in records if isinstance(r, OpenInterest)}
    rows = [json.loads(line) for line in lines]
    assert found == {row["symbol"]: float(row["singleOpenInterest"]) for row in rows}
    assert all(found[row["symbol"]] == pytest.approx(float(row["openInterest"]) / 2, abs=0.01) for row in rows)


SOUND = closes(("BTCUSDT", "Buy", "0.5", "60000", 1790000000123), ("BTCUSDT", "Buy", "0.5", "60000", 1790000000123))
SAMPLES = [
    SOUND,
    retired("Sell", 1700000000000),
    execution(),
    ticker("snapshot", 1790000000000, markPrice="60000", indexPrice="60010", openInterest="200",
           singleOpenInterest="100", fundingRate="0.0001", nextFundingTime="1790006400000", fundingIntervalHour="4"),
    ticker("delta", 1790000000100, fundingRate="0.0002", markPrice="60001"),
    '{"retCode":0,"result":{"symbol":"BTCUSD","list":[{"openInterest":"10","timestamp":"1790000000000"}]},"time":1}',
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(runs([s.encode() for s in SAMPLES]))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless("bybit", KNOWN, SOUND.encode(), hostile)
