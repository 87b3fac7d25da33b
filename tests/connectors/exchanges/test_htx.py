"""HTX: order side, coins not contracts, string pings, two-sided open interest."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.htx import Htx
from connectors.instruments import snapshot
from schemas.records import Control, DeadLetter, Funding, MarkPrice, OpenInterest
from tests.connectors.exchanges.hostile import assert_harmless, runs
from tests.connectors.exchanges.reading import liquidations, records

VENUE = "htx"
HTX = Htx()
T = 1_790_000_000_000
"""Milliseconds."""


def order(
    symbol: str = "SOL-USDT", direction: str = "sell", amount: object = 40, price: object = 180.5, **more: object
) -> dict[str, object]:
    row = {"symbol": symbol.partition("-")[0], "contract_code": symbol, "direction": direction, "offset": "close"}
    return row | {"volume": 7, "price": price, "created_at": T, "amount": amount, "trade_turnover": 1} | more


def notice(*orders: dict[str, object], topic: str = "public.SOL-USDT.liquidation_orders") -> str:
    return json.dumps({"op": "notify", "topic": topic, "ts": T + 5, "data": orders})


FUNDING = json.dumps(
    {
        "op": "notify",
        "topic": "public.ETH-USDT.funding_rate",
        "ts": T,
        "data": [
            {
                "symbol": "ETH",
                "contract_code": "ETH-USDT",
                "fee_asset": "USDT",
                "funding_time": str(T),
                "funding_rate": "-0.00025",
                "estimated_rate": None,
                "settlement_time": str(T + 60_000),
            }
        ],
    }
)
ELEMENTS = json.dumps(
    {
        "op": "notify",
        "event": "init",
        "topic": "public.*.contract_elements",
        "ts": T,
        "data": [{"contract_code": "ETH-USDT", "settle_period": 4, "price_tick": "0.01"}],
    }
)
OPEN_INTEREST = json.dumps(
    {"status": "ok", "ts": T, "data": [{"volume": 8000, "amount": 80.0, "contract_code": "ETH-USDT", "value": 160000}]}
)
MARK = json.dumps(
    {"ch": "market.ETH-USDT.mark_price.1min", "ts": T, "tick": {"id": 1, "close": "2000.5", "open": "1990"}}
)


def test_direction_is_the_order_side_so_a_sell_closes_a_long() -> None:
    long, short = liquidations(records(VENUE, [notice(order(), order(direction="buy"))]))
    assert (long.position, short.position) == ("long", "short")


def test_amount_counts_coins_and_volume_is_not_read() -> None:
    (event,) = liquidations(records(VENUE, [notice(order(amount=40, volume=123456))]))
    assert (event.quantity, event.price, event.notional_usd) == (40.0, 180.5, 40 * 180.5)
    assert (event.price_kind, event.coverage, event.event_time, event.backfill) == (
        "order", "partial", T * 1_000_000, False,
    )  # fmt: skip


def test_coin_margined_amount_is_coins_too() -> None:
    (event,) = liquidations(
        records(
            VENUE,
            [notice(order("BTC-USD", amount=0.5, price=60000.0, volume=300), topic="public.*.liquidation_orders")],
        )
    )
    assert (event.asset, event.quantity, event.notional_usd) == ("BTC", 0.5, 30000.0)


@pytest.mark.parametrize("topic", ["public.*.liquidation_orders", "public.SOL-USDT.liquidation_orders"])
def test_the_topic_may_name_the_concrete_contract_where_the_wildcard_was_subscribed(topic: str) -> None:
    (event,) = liquidations(records(VENUE, [notice(order(), topic=topic)]))
    assert event.instrument == "SOL-USDT"


def test_an_order_that_opens_is_no_close_and_the_other_rows_stand() -> None:
    found = records(VENUE, [notice(order(offset="open"), order(amount=2))])
    assert [event.quantity for event in liquidations(found)] == [2.0]
    assert sum(isinstance(record, DeadLetter) for record in found) == 1


def test_equal_orders_in_one_frame_are_two_events_and_a_replayed_frame_adds_none() -> None:
    frame = notice(order(), order())
    ids = [event.event_id for event in liquidations(records(VENUE, [frame, frame]))]
    assert len(set(ids)) == 2
    assert ids[:2] == ids[2:]


def test_string_ping_is_echoed_verbatim_as_a_string_and_a_number_as_a_number() -> None:
    assert HTX.reply(b'{"op":"ping","ts":"1790000000123"}') == '{"op":"pong","ts":"1790000000123"}'
    assert HTX.reply(b'{"op":"ping","ts":1790000000123}') == '{"op":"pong","ts":1790000000123}'
    assert HTX.reply(b'{"ping":1790000000123}') == '{"pong":1790000000123}'
    assert HTX.reply(notice(order()).encode()) is None
    assert HTX.reply(b'{"ping"') is None


def test_frames_are_gzip() -> None:
    assert HTX.compressed
    (event,) = liquidations(records(VENUE, [gzip.decompress(gzip.compress(notice(order()).encode()))]))
    assert event.instrument == "SOL-USDT"


def test_code_2014_refuses_a_topic_subscribed_twice() -> None:
    refusal = (
        b'{"op":"sub","cid":"1","topic":"public.SOL-USDT.liquidation_orders","err-code":2014,"err-msg":"Repeated"}'
    )
    assert HTX.acknowledgement(refusal) == Denied("2014: Repeated")
    assert HTX.acknowledgement(b'{"op":"sub","cid":"1","topic":"t","ts":1,"err-code":0}') == Acknowledged()
    assert HTX.acknowledgement(b'{"id":"x","status":"ok","subbed":"market.ETH-USDT.mark_price.1min"}') == Acknowledged()
    assert HTX.acknowledgement(notice(order()).encode()) is None
    (control,) = records(VENUE, [refusal])
    assert isinstance(control, Control)
    assert (control.what, control.detail) == ("refused", "2014: Repeated")


def test_funding_uses_the_interval_the_venue_told_and_eight_hours_before() -> None:
    before, _, after = records(VENUE, [FUNDING, ELEMENTS, FUNDING])
    assert isinstance(before, Funding)
    assert isinstance(after, Funding)
    assert (before.rate, before.interval_hours, before.next_time) == (-0.00025, 8.0, (T + 60_000) * 1_000_000)
    assert (after.interval_hours, after.annualised) == (4.0, -0.00025 * 2190)


def test_open_interest_counts_both_sides_and_is_halved() -> None:
    mark, interest = records(VENUE, [MARK, OPEN_INTEREST])
    assert isinstance(mark, MarkPrice)
    assert mark.price == 2000.5
    assert isinstance(interest, OpenInterest)
    assert (interest.quantity, interest.notional_usd) == (40.0, 80020.0)


def test_connections_split_by_margin_currency_and_say_how_many_answers_mean_subscribed() -> None:
    linear, coin, marks = HTX.connections(HTX.production, snapshot(VENUE))
    assert linear.url == "wss://api.hbdm.com/linear-swap-notification"
    assert coin.url == "wss://api.hbdm.com/swap-notification"
    assert json.loads(linear.subscribe[0]) == {"op": "sub", "cid": "0", "topic": "public.*.liquidation_orders"}
    assert (linear.acknowledgements, coin.acknowledgements) == (len(linear.subscribe), len(coin.subscribe))
    assert not marks.carries_liquidations
    assert len(marks.subscribe) == len(snapshot(VENUE))
    assert [poll.request.path for poll in HTX.polls(snapshot(VENUE))] == [
        "/linear-swap-api/v1/swap_open_interest", "/swap-api/v1/swap_open_interest",
    ]  # fmt: skip


SOUND = notice(order(amount=3), order("BTC-USDT", "buy", 0.25, 61234.5))
SAMPLES = [SOUND, FUNDING, ELEMENTS, OPEN_INTEREST, MARK]


@settings(max_examples=150, deadline=None)
@given(runs([sample.encode() for sample in SAMPLES]))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless(VENUE, snapshot(VENUE), SOUND.encode(), hostile)


def test_every_recorded_line_is_understood_and_the_liquidations_are_as_documented(
    shared: Callable[[str], Path],
) -> None:
    folder = shared("captures/htx")
    told = []
    for file in sorted(folder.glob("*.jsonl")):
        found = records(VENUE, file.read_bytes().splitlines())
        assert not [record for record in found if isinstance(record, DeadLetter)]
        told += liquidations(found)
    assert [
        (e.instrument, e.position, e.quantity, e.notional_usd, e.price, e.price_kind, e.event_time, e.backfill)
        for e in told
    ] == [
        ("O3-USDT", "long", 432.0, pytest.approx(339.4656), 0.7858, "order", 1639122193172000000, False),
        ("ETH-USDT", "short", 5.0, pytest.approx(12231.3), 2446.26, "order", 1789670297212000000, False),
        ("BTC-USDT-211210", "long", 0.479, pytest.approx(24640.5743), 51441.7, "order", 1638593647864000000, True),
    ]  # fmt: skip


def test_metadata_tells_the_sizes_of_the_snapshot(shared: Callable[[str], Path]) -> None:
    file = shared("captures/htx/rest_swap_contract_info_2022.jsonl")
    told = {i.instrument: i for line in file.read_bytes().splitlines() for i in HTX.metadata(line)}
    assert (told["BTC-USD"].contract_size, told["BTC-USD"].contract_unit) == (100.0, "usd")
    assert (told["ETH-USDT"].contract_size, told["ETH-USDT"].contract_unit) == (0.01, "base")
    for known in snapshot(VENUE):
        if known.instrument in told:
            fresh = told[known.instrument]
            assert (known.asset, known.contract_size, known.contract_unit) == (
                fresh.asset, fresh.contract_size, fresh.contract_unit,
            )  # fmt: skip
