"""BitMEX: a table of orders, not a feed of fills; no clock; lots, USD and quanto contracts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.bitmex import Bitmex
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import Control, DeadLetter, Funding, MarkPrice, OpenInterest
from tests.connectors.exchanges.hostile import assert_harmless, runs
from tests.connectors.exchanges.reading import liquidations, records

VENUE = "bitmex"
BITMEX = Bitmex()
RECEIVED = 1_790_000_000_000_000_000


def table(action: str, *rows: dict[str, Any], name: str = "liquidation") -> str:
    return json.dumps({"table": name, "action": action, "data": list(rows)})


def order(
    identity: str, leaves: float, price: float = 60000.0, side: str = "Sell", symbol: str = "XBTUSD"
) -> dict[str, Any]:
    return {"orderID": identity, "symbol": symbol, "side": side, "price": price, "leavesQty": leaves}


def insert(*args: Any, **more: Any) -> str:
    return table("insert", order(*args, **more))


def update(identity: str, **columns: Any) -> str:
    return table("update", {"orderID": identity, "symbol": "XBTUSD", **columns})


def delete(identity: str) -> str:
    return table("delete", {"orderID": identity, "symbol": "XBTUSD"})


def test_side_is_the_orders_so_a_sell_closes_a_long() -> None:
    long, short = liquidations(records(VENUE, [insert("a", 100), insert("b", 100, side="Buy")]))
    assert (long.position, short.position) == ("long", "short")
    assert (long.price_kind, long.coverage) == ("order", "partial")


def test_the_venue_sends_no_clock_so_the_event_time_is_the_receive_time() -> None:
    (event,) = liquidations(records(VENUE, [insert("a", 100)], RECEIVED))
    assert (event.event_time, event.receive_time, event.time_source) == (RECEIVED, RECEIVED, "receive")


def test_a_shrinking_order_was_filled_and_is_not_told_again() -> None:
    frames = [insert("a", 1000), update("a", leavesQty=400), update("a", leavesQty=0), delete("a")]
    assert [event.notional_usd for event in liquidations(records(VENUE, frames))] == [1000.0]


def test_a_growing_order_tells_what_was_added_at_the_price_then_valid() -> None:
    frames = [insert("a", 1000, 60000.0), update("a", price=61000.0), update("a", leavesQty=1500), delete("a")]
    found = liquidations(records(VENUE, frames))
    assert [(event.notional_usd, event.price, event.position) for event in found] == [
        (1000.0, 60000.0, "long"), (500.0, 61000.0, "long"),
    ]  # fmt: skip
    assert found[0].event_id != found[1].event_id


def test_an_order_that_shrank_and_grew_again_loses_and_doubles_nothing() -> None:
    frames = [insert("a", 1000), *(update("a", leavesQty=q) for q in (600, 800, 600, 800)), delete("a")]
    found = liquidations(records(VENUE, frames))
    assert [event.notional_usd for event in found] == [1000.0, 200.0, 200.0]
    assert len({event.event_id for event in found}) == 3


@given(st.lists(st.integers(0, 1000), max_size=20), st.integers(1, 1000))
def test_the_quantities_of_an_order_sum_to_all_that_was_ever_asked_of_it(leaves: list[int], first: int) -> None:
    frames = [insert("a", first), *(update("a", leavesQty=quantity) for quantity in leaves), delete("a")]
    asked = first + sum(max(0, after - before) for before, after in zip([first, *leaves], leaves, strict=False))
    assert sum(event.notional_usd for event in liquidations(records(VENUE, frames))) == asked


def test_deletes_and_price_moves_tell_no_event() -> None:
    found = records(VENUE, [insert("a", 1000), update("a", price=1.0), delete("a"), delete("never seen")])
    assert len(liquidations(found)) == 1
    assert [record.what for record in found if isinstance(record, Control)] == ["ignored"] * 3


def test_growth_of_an_order_whose_insert_was_not_seen_is_a_dead_letter_not_a_guess() -> None:
    (letter,) = records(VENUE, [update("a", leavesQty=500)])
    assert isinstance(letter, DeadLetter)
    assert "insert" in letter.reason
    (moved,) = records(VENUE, [update("a", price=500)])
    assert isinstance(moved, Control)


def test_the_partial_is_backfill_with_the_id_of_the_insert_so_reconnecting_adds_none() -> None:
    (live,) = liquidations(records(VENUE, [insert("a", 1000)], RECEIVED))
    (again,) = liquidations(records(VENUE, [table("partial", order("a", 700))], RECEIVED + 1))
    assert (again.event_id, again.backfill, live.backfill) == (live.event_id, True, False)
    (empty,) = records(VENUE, [table("partial")])
    assert isinstance(empty, Control)


def test_equal_orders_in_one_frame_are_two_events_and_a_replayed_frame_adds_none() -> None:
    frame = table("insert", order("a", 1000), order("b", 1000))
    ids = [event.event_id for event in liquidations(records(VENUE, [frame, frame]))]
    assert len(set(ids)) == 2
    assert ids[:2] == ids[2:]


def test_xbtusd_counts_usd_and_linear_contracts_count_lots() -> None:
    inverse, linear = liquidations(records(VENUE, [insert("a", 1200), insert("b", 40000, symbol="XBTUSDT")]))
    assert (inverse.asset, inverse.quantity, inverse.notional_usd) == ("BTC", 1200 / 60000.0, 1200.0)
    assert (linear.asset, linear.quantity, linear.notional_usd) == ("BTC", pytest.approx(0.04), pytest.approx(2400.0))


def test_quanto_contracts_need_the_price_of_bitcoin_and_take_it_from_any_xbt_price_seen() -> None:
    quanto = insert("q", 40, 3000.0, symbol="ETHUSD")
    (letter,) = records(VENUE, [quanto])
    assert isinstance(letter, DeadLetter)
    assert "BTC" in letter.reason
    trade = table("insert", {"symbol": "XBTUSD", "side": "Buy", "size": 1, "price": 60000.0}, name="trade")
    mark = table("update", {"symbol": "XBTUSD", "markPrice": 60000.0}, name="instrument")
    for priced in (trade, mark, insert("a", 100)):
        event = liquidations(records(VENUE, [priced, quanto]))[-1]
        # 100 satoshi per point and contract, at 60 000 USD a bitcoin
        assert event.quantity == pytest.approx(40 * 1e-6 * 60000.0)
        assert event.notional_usd == pytest.approx(40 * 1e-6 * 60000.0 * 3000.0)


def test_instrument_updates_carry_changed_columns_only_and_the_rest_is_remembered() -> None:
    whole = {
        "symbol": "XBTUSD", "markPrice": 60000.0, "indicativeSettlePrice": 59990.0, "openInterest": 1200000,
        "fundingRate": 0.0001, "fundingTimestamp": "2026-09-21T20:00:00.000Z",
        "fundingInterval": "2000-01-01T04:00:00.000Z", "timestamp": "2026-09-21T14:00:00.000Z",
    }  # fmt: skip
    changed = {"symbol": "XBTUSD", "fundingRate": -0.0002, "timestamp": "2026-09-21T14:00:01.500Z"}
    idle = {"symbol": "XBTUSD", "lastPrice": 60001.0, "timestamp": "2026-09-21T14:00:02.000Z"}
    frames = [
        table("partial", whole, name="instrument"),
        *(table("update", r, name="instrument") for r in (changed, idle)),
    ]
    mark, interest, first, second, ignored = records(VENUE, frames)
    assert isinstance(mark, MarkPrice)
    assert (mark.price, mark.index_price, mark.event_time) == (60000.0, 59990.0, 1789999200_000_000_000)
    assert isinstance(interest, OpenInterest)
    assert (interest.quantity, interest.notional_usd) == (20.0, 1200000.0)
    assert isinstance(first, Funding)
    assert isinstance(second, Funding)
    assert (first.rate, first.interval_hours, first.next_time) == (0.0001, 4.0, 1790020800_000_000_000)
    assert (second.rate, second.interval_hours, second.next_time) == (-0.0002, 4.0, 1790020800_000_000_000)
    assert second.event_time == 1789999201_500_000_000
    assert isinstance(ignored, Control)


def test_the_funding_table_tells_what_was_paid() -> None:
    paid = {"timestamp": "2026-09-21T12:00:00.000Z", "symbol": "XBTUSD", "fundingInterval": "2000-01-01T08:00:00.000Z",
            "fundingRate": 0.0001, "fundingRateDaily": 0.0003}  # fmt: skip
    funding, unwatched = records(VENUE, [table("insert", paid, paid | {"symbol": "ZZZUSD"}, name="funding")])
    assert isinstance(funding, Funding)
    assert (funding.rate, funding.interval_hours, funding.settled) == (0.0001, 8.0, True)
    assert isinstance(unwatched, Control)


def test_welcomes_answers_pongs_and_refusals_are_controls() -> None:
    frames = [
        b'{"info":"Welcome","version":"2.0.0"}', b'{"success":true,"subscribe":"liquidation","request":{}}', b"pong",
        b'{"status":400,"error":"Unknown table","meta":{},"request":{"op":"subscribe","args":["x"]}}',
    ]  # fmt: skip
    found = [record.what for record in records(VENUE, frames) if isinstance(record, Control)]
    assert found == ["welcome", "ack", "pong", "refused"]
    assert BITMEX.acknowledgement(frames[1]) == Acknowledged()
    assert BITMEX.acknowledgement(frames[3]) == Denied("Unknown table")
    assert BITMEX.acknowledgement(frames[0]) is None
    assert BITMEX.acknowledgement(b'{"status":400,"error":"Unrecognized request","request":{}}') is None


def test_the_connection_subscribes_liquidations_and_context_and_keeps_itself_open() -> None:
    (connection,) = BITMEX.connections(BITMEX.production, snapshot(VENUE))
    topics = [topic for message in connection.subscribe for topic in json.loads(message)["args"]]
    assert topics == ["liquidation", "funding", *(f"instrument:{i.instrument}" for i in snapshot(VENUE))]
    assert connection.acknowledgements == len(topics)
    assert connection.heartbeat is not None
    assert connection.heartbeat.message == "ping"


SOUND = table("insert", order("sound", 1000), order("lots", 5000, symbol="XBTUSDT", side="Buy"))
SAMPLES = [
    SOUND,
    insert("a", 1000), update("a", leavesQty=1500), update("a", price=59000.0), delete("a"),
    table("partial", order("b", 70), order("c", 80, symbol="ETHUSD")),
    table("update", {"symbol": "XBTUSD", "markPrice": 60000.0, "openInterest": 12, "fundingRate": 0.1,
                     "fundingTimestamp": "2026-09-21T20:00:00.000Z", "fundingInterval": "2000-01-01T08:00:00.000Z",
                     "timestamp": "2026-09-21T14:00:00.000Z"}, name="instrument"),
    table("insert", {"symbol": "XBTUSD", "price": 60000.0}, name="trade"),
    '{"success":true,"subscribe":"liquidation"}', '{"info":"Welcome","version":"2.0.0"}',
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(runs([sample.encode() for sample in SAMPLES]))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless(VENUE, snapshot(VENUE), SOUND.encode(), hostile)


def test_every_recorded_line_is_understood(shared: Callable[[str], Path]) -> None:
    for file in sorted(shared("captures/bitmex").glob("*.jsonl")):
        found = records(VENUE, file.read_bytes().splitlines())
        assert not [record for record in found if isinstance(record, DeadLetter)]


def test_the_recorded_session_is_told_value_by_value(shared: Callable[[str], Path]) -> None:
    lines = shared("captures/bitmex/liquidation.jsonl").read_bytes().splitlines()
    told = liquidations(records(VENUE, lines, RECEIVED))
    expected, bitcoin, asked = [], 0.0, defaultdict(float)
    open_orders: dict[str, dict[str, Any]] = {}
    for body in map(json.loads, lines):
        for row in body.get("data", ()) if body.get("action") in {"insert", "update"} else ():
            known = open_orders.setdefault(row["orderID"], {"leavesQty": 0, **row} | {"leavesQty": 0})
            added = row.get("leavesQty", known["leavesQty"]) - known["leavesQty"]
            known.update(row)
            if added <= 0:
                continue
            symbol, price = known["symbol"], known["price"]
            bitcoin = price if symbol.startswith("XBT") else bitcoin
            base = {"XBTUSD": added / price, "XBTUSDT": added / 1e6, "ETHUSD": added * 1e-6 * bitcoin}[symbol]
            usd = added if symbol == "XBTUSD" else base * price
            asked[row["orderID"]] += added
            position = "long" if known["side"] == "Sell" else "short"
            expected.append(
                (symbol, position, pytest.approx(base), pytest.approx(usd), price, "order", RECEIVED, False)
            )
    assert [
        (e.instrument, e.position, e.quantity, e.notional_usd, e.price, e.price_kind, e.event_time, e.backfill)
        for e in told
    ] == expected
    assert (len(told), len({e.event_id for e in told}), len(asked)) == (30, 30, 28)


def test_metadata_tells_inverse_linear_and_quanto_sizes(shared: Callable[[str], Path]) -> None:
    told = {
        i.instrument: i
        for i in BITMEX.metadata(shared("captures/bitmex/rest_instrument_active_2021.jsonl").read_bytes())
    }
    assert told["XBTUSD"] == Instrument(VENUE, "XBTUSD", "XBT", 1.0, "usd", "USD", "BTC", 0.5)
    assert told["ETHUSD"] == Instrument(VENUE, "ETHUSD", "ETH", 1e-6, "quanto", "USD", "BTC", 0.05)
    assert told["ETHU21"] == Instrument(VENUE, "ETHU21", "ETH", 1.0, "base", "XBT", "BTC", 1e-5)
    linear = {
        "symbol": "SOLUSDT", "typ": "FFWCSX", "underlying": "SOL", "quoteCurrency": "USDT", "settlCurrency": "USDt",
        "isInverse": False, "isQuanto": False, "multiplier": 100, "underlyingToPositionMultiplier": 10000,
        "tickSize": 0.01,
    }  # fmt: skip
    spot = linear | {"symbol": "SOL_USDT", "typ": "IFXXXP"}
    found = list(BITMEX.metadata(json.dumps([linear, spot]).encode()))
    assert found == [Instrument(VENUE, "SOLUSDT", "SOL", 0.0001, "base", "USDT", "USDT", 0.01)]
    for known in snapshot(VENUE):
        if known.instrument in told:
            fresh = told[known.instrument]
            assert (known.contract_size, known.contract_unit) == (fresh.contract_size, fresh.contract_unit)
