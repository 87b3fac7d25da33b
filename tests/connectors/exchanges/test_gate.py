"""Gate: one word with two signs, seconds and milliseconds, and open interest of both sides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.gate import Gate
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import AccountEvent, Control, DeadLetter, Funding, Liquidation, MarkPrice, OpenInterest
from tests.connectors.exchanges.hostile import assert_harmless, runs

Read = Callable[..., list[Any]]
Shared = Callable[[str], Path]
MS = 1_000_000
SECOND = 1000 * MS
NOW = 1790000000123
BTC = Instrument("gate", "BTC_USDT", "BTC", 0.0001, "base")
INVERSE = Instrument("gate", "BTC_USD", "BTC", 1.0, "usd", "USD", "BTC")
QUANTO = Instrument("gate", "ETH_USD", "ETH", 0.000001, "quanto", "USD", "BTC")
KNOWN = [BTC, INVERSE, QUANTO]


def close(size: Any, contract: str = "BTC_USDT", price: Any = 60000.5) -> dict[str, Any]:
    return {"price": price, "size": size, "time_ms": NOW, "contract": contract}


def update(channel: str, *rows: dict[str, Any]) -> str:
    return json.dumps({"channel": channel, "event": "update", "time": NOW // 1000, "time_ms": NOW, "result": rows})


def liquidates(*rows: dict[str, Any]) -> str:
    return update("futures.public_liquidates", *rows)


def order_row(size: str, order_size: str | None, fill: str = "60000", **more: Any) -> str:
    told: dict[str, Any] = {
        "contract": "BTC_USDT",
        "left": "0",
        "size": size,
        "fill_price": fill,
        "order_price": "59000",
    }
    if order_size is not None:
        told["order_size"] = order_size
    return json.dumps(told | {"time": 1790000000} | more)


def test_on_the_socket_a_negative_size_sold_so_a_long_was_closed(read: Read) -> None:
    """There ``size`` is the ORDER; its price is the order's too."""
    long, short = read("gate", [liquidates(close("-120"), close("30"))], KNOWN)
    assert (long.position, long.price, long.price_kind) == ("long", 60000.5, "order")
    assert (long.quantity, long.event_time) == (pytest.approx(0.012), NOW * MS)
    assert long.notional_usd == pytest.approx(0.012 * 60000.5)
    assert (short.position, short.quantity) == ("short", pytest.approx(0.003))
    assert {long.coverage, short.coverage} == {"sampled"}


def test_in_a_rest_row_a_positive_size_was_a_long(read: Read) -> None:
    """There the same word is the POSITION, and the time counts seconds."""
    long, short = read("gate", [order_row("120", "-120"), order_row("-30", "30")], KNOWN)
    assert (long.position, long.price, long.price_kind, long.event_time) == (
        "long",
        60000.0,
        "fill",
        1790000000 * SECOND,
    )
    assert (short.position, short.quantity) == ("short", pytest.approx(0.003))


def test_only_what_the_order_traded_counts(read: Read) -> None:
    """The rest of the position went to ADL or takeover."""
    (short,) = read("gate", [order_row("-1835", "309")], KNOWN)
    assert (short.position, short.quantity) == ("short", pytest.approx(0.0309))


def test_an_old_row_without_order_size_counts_its_position(read: Read) -> None:
    (long,) = read("gate", [f"[{order_row('600', None)}]"], KNOWN)
    assert (long.position, long.quantity) == ("long", pytest.approx(0.06))


def test_a_row_that_filled_nothing_yet_has_the_orders_price(read: Read) -> None:
    (long,) = read("gate", [order_row("10", "-10", fill="0")], KNOWN)
    assert (long.price, long.price_kind) == (59000.0, "order")


def test_an_inverse_contract_is_one_usd_and_a_quanto_needs_its_coins_price(read: Read) -> None:
    mark = update("futures.tickers", ticker())
    ticked = read("gate", [mark, liquidates(close("-300", "BTC_USD", 60000), close("-1000", "ETH_USD", 2000))], KNOWN)
    inverse, quanto = [r for r in ticked if isinstance(r, Liquidation)]
    assert (inverse.quantity, inverse.notional_usd) == (pytest.approx(0.005), 300.0)
    assert quanto.notional_usd == pytest.approx(1000 * 1e-6 * 2000 * 60000)
    (letter,) = read("gate", [liquidates(close("-1000", "ETH_USD", 2000))], KNOWN)
    assert isinstance(letter, DeadLetter)


def test_equal_closes_in_one_frame_are_two_events_and_a_replayed_frame_adds_none(read: Read) -> None:
    frame = liquidates(close("-5"), close("-5"))
    first = [r.event_id for r in read("gate", [frame], KNOWN)]
    both = [r.event_id for r in read("gate", [frame, frame], KNOWN)]
    assert len(set(first)) == 2
    assert both == first + first


def ticker(**changes: str) -> dict[str, str]:
    told = {
        "contract": "BTC_USDT", "last": "60001", "mark_price": "60000", "index_price": "60010", "total_size": "2000000",
        "funding_rate": "0.0001", "funding_rate_indicative": "0.0002", "quanto_multiplier": "0.0001",
    }  # fmt: skip
    return told | changes


def test_total_size_counts_both_sides(read: Read) -> None:
    mark, interest, rate = read("gate", [update("futures.tickers", ticker())], KNOWN)
    assert isinstance(mark, MarkPrice)
    assert (mark.price, mark.index_price, mark.event_time) == (60000.0, 60010.0, NOW * MS)
    assert isinstance(interest, OpenInterest)
    assert (interest.quantity, interest.notional_usd) == (pytest.approx(100.0), pytest.approx(6_000_000.0))
    assert isinstance(rate, Funding)
    assert (rate.rate, rate.interval_hours) == (0.0001, 8.0)


def test_contract_stats_count_both_sides(read: Read) -> None:
    told = {
        "time": 1790000000,
        "contract": "BTC_USDT",
        "lsr_taker": 1,
        "open_interest": "2000000",
        "mark_price": "60000",
    }
    _, interest = read("gate", [update("futures.contract_stats", told)], KNOWN)
    assert (interest.quantity, interest.event_time) == (pytest.approx(100.0), 1790000000 * SECOND)


def test_the_contracts_body_tells_the_funding_interval(read: Read) -> None:
    contracts = json.dumps([{"name": "BTC_USDT", "quanto_multiplier": "0.0001", "funding_interval": 14400}])
    control, *_, rate = read("gate", [contracts, update("futures.tickers", ticker())], KNOWN)
    assert (type(control), control.what) == (Control, "metadata")
    assert rate.interval_hours == 4.0
    assert rate.annualised == pytest.approx(0.0001 * 8760 / 4)


def test_an_own_liquidation_has_the_sign_of_the_position(read: Read) -> None:
    """The vendor's example entered at 209 and was closed at 213 with a negative size: a short."""
    told = {
        "entry_price": 59000, "fill_price": 60000, "liq_price": 60100, "order_id": 9, "size": "-120", "left": "0",
        "time_ms": NOW, "contract": "BTC_USDT",
    }  # fmt: skip
    (own,) = read("gate", [update("futures.liquidates", told)], KNOWN)
    assert isinstance(own, AccountEvent)
    assert (own.event, own.position, own.order_side, own.order_id) == ("liquidation", "short", "buy", "9")
    assert (own.quantity, own.price, own.state) == (pytest.approx(0.012), 60000.0, "unknown")


def test_an_own_deleveraging_counts_what_was_traded(read: Read) -> None:
    told = {"fill_price": 60000, "position_size": "500", "trade_size": "100", "time_ms": NOW, "contract": "BTC_USDT"}
    (own,) = read("gate", [update("futures.auto_deleverages", told)], KNOWN)
    assert (own.event, own.position, own.quantity) == ("adl", "long", pytest.approx(0.01))


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        ({"channel": "futures.tickers", "event": "subscribe", "error": None, "result": {"status": "success"}}, "ack"),
        ({"channel": "futures.tickers", "event": "subscribe", "error": {"code": 2, "message": "no"}}, "refused"),
        ({"time": 1, "channel": "futures.pong", "event": "", "error": None, "result": None}, "pong"),
        ({"label": "INVALID_PARAM_VALUE", "message": "bad"}, "refused"),
        ({"time": 1, "channel": "futures.order_book", "event": "all", "result": {"asks": []}}, "ignored"),
        ({"time": 1, "channel": "futures.public_liquidates", "event": "update", "result": []}, "ignored"),
        ([], "ignored"),
        ([{"time": 1, "lsr_taker": 1.5, "open_interest": 7, "mark_price": 1}], "ignored"),
        ({"name": "BTC_USDT", "quanto_multiplier": "0.0001", "type": "direct"}, "metadata"),
    ],
)  # fmt: skip
def test_what_is_no_event_is_a_control(read: Read, frame: Any, what: str) -> None:
    (control,) = read("gate", [json.dumps(frame)], KNOWN)
    assert (type(control), control.what) == (Control, what)


@pytest.mark.parametrize(
    "frame", ['{"channel":"futures.brand_new","event":"update","result":[]}', '{"hello":1}', "7", '{"channel":']
)
def test_what_is_not_known_is_a_dead_letter(read: Read, frame: str) -> None:
    (letter,) = read("gate", [frame], KNOWN)
    assert (type(letter), letter.raw) == (DeadLetter, frame.encode())


def test_one_unsound_row_costs_only_itself(read: Read) -> None:
    records = read("gate", [liquidates(close("-1"), close("x"), close("0"), close("-2"))], KNOWN)
    assert [r.quantity for r in records if isinstance(r, Liquidation)] == [pytest.approx(0.0001), pytest.approx(0.0002)]
    assert sum(isinstance(r, DeadLetter) for r in records) == 2


def test_each_settlement_currency_has_its_own_sockets_and_decimal_sizes() -> None:
    many = [Instrument("gate", f"C{n}_USDT", f"C{n}", 1.0, "base") for n in range(250)]
    found = {c.feed: c for c in Gate().connections(Gate.production, [*many, INVERSE])}
    assert {feed: c.url for feed, c in found.items()} == {
        "liquidations-usdt": "wss://fx-ws.gateio.ws/v4/ws/usdt",
        "tickers-usdt": "wss://fx-ws.gateio.ws/v4/ws/usdt",
        "liquidations-btc": "wss://fx-ws.gateio.ws/v4/ws/btc",
        "tickers-btc": "wss://fx-ws.gateio.ws/v4/ws/btc",
    }
    for feed, connection in found.items():
        assert connection.headers == (("X-Gate-Size-Decimal", "1"),)
        assert connection.carries_liquidations == feed.startswith("liquidations")
        assert connection.acknowledgements == len(connection.subscribe)
        assert connection.heartbeat is not None
        assert json.loads(connection.heartbeat.message)["channel"] == "futures.ping"
    asked = json.loads(found["liquidations-usdt"].subscribe[0])
    assert (asked["channel"], asked["event"], asked["payload"]) == ("futures.public_liquidates", "subscribe", ["!all"])
    assert [c for m in found["tickers-usdt"].subscribe for c in json.loads(m)["payload"]] == [
        i.instrument for i in many
    ]


def test_metadata_tells_direct_inverse_and_quanto_apart() -> None:
    body = json.dumps(
        [
            {"name": "BTC_USDT", "type": "direct", "quanto_multiplier": "0.0001", "order_price_round": "0.1"},
            {"name": "BTC_USD", "type": "inverse", "quanto_multiplier": "0", "order_price_round": "0.1"},
            {"name": "ETH_USD", "type": "direct", "quanto_multiplier": "0.000001"},
        ]
    ).encode()
    assert list(Gate().metadata(body)) == [
        Instrument("gate", "BTC_USDT", "BTC", 0.0001, "base", "USDT", "USDT", 0.1),
        Instrument("gate", "BTC_USD", "BTC", 1.0, "usd", "USD", "BTC", 0.1),
        Instrument("gate", "ETH_USD", "ETH", 0.000001, "quanto", "USD", "BTC"),
    ]


def test_an_answer_to_a_subscription_is_told_from_data() -> None:
    venue = Gate()
    assert venue.acknowledgement(b'{"channel":"c","event":"subscribe","error":null,"result":{}}') == Acknowledged()
    assert venue.acknowledgement(b'{"channel":"c","event":"subscribe","error":{"message":"no"}}') == Denied("no")
    assert venue.acknowledgement(liquidates(close("-1")).encode()) is None


def known_with_stand_ins(lines: list[bytes]) -> list[Instrument]:
    """The snapshot, and size 1 where no recorded body tells what a contract is."""
    known = {i.instrument: i for i in snapshot("gate")}
    for line in lines:
        name = json.loads(line)["contract"]
        known.setdefault(name, Instrument("gate", name, name.removesuffix("_USDT"), 1.0, "base"))
    return list(known.values())


def test_recorded_liquidations_value_by_value(read: Read, shared: Shared) -> None:
    """Each recorded row against itself: position by sign, what was traded, at the fill, in seconds."""
    lines = shared("captures/gate/rest_liq_orders_rows.jsonl").read_bytes().splitlines()
    known = known_with_stand_ins(lines)
    sizes = {i.instrument: i.contract_size for i in known}
    records = read("gate", lines, known)
    assert len(records) == len(lines) == 40
    for line, record in zip(lines, records, strict=True):
        told = json.loads(line)
        base = abs(float(told["order_size"])) * sizes[told["contract"]]
        assert isinstance(record, Liquidation)
        assert (record.instrument, record.position) == (
            told["contract"],
            "long" if float(told["size"]) > 0 else "short",
        )
        assert (record.price, record.price_kind, record.event_time) == (
            float(told["fill_price"]), "fill", told["time"] * SECOND,
        )  # fmt: skip
        assert (record.quantity, record.notional_usd) == (pytest.approx(base), pytest.approx(base * record.price))


def test_recorded_rows_agree_that_order_and_position_have_opposite_signs(shared: Shared) -> None:
    """The evidence for reading the same word in two ways."""
    rows = [json.loads(x) for x in shared("captures/gate/rest_liq_orders_rows.jsonl").read_bytes().splitlines()]
    assert all(float(r["size"]) * float(r["order_size"]) < 0 for r in rows)


def test_recorded_open_interest_is_halved(read: Read, shared: Shared) -> None:
    lines = shared("captures/gate/rest_tickers_rows.jsonl").read_bytes().splitlines()
    found = {r.instrument: r.quantity for r in read("gate", lines, snapshot("gate")) if isinstance(r, OpenInterest)}
    rows = [json.loads(line) for line in lines]
    assert found == {
        r["contract"]: pytest.approx(float(r["total_size"]) * float(r["quanto_multiplier"]) / 2) for r in rows
    }


def test_no_recorded_line_is_a_dead_letter(read: Read, shared: Shared) -> None:
    rows = shared("captures/gate/rest_liq_orders_rows.jsonl").read_bytes().splitlines()
    known = known_with_stand_ins(rows)
    for path in sorted(shared("captures/gate").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            records = read("gate", [line], known)
            assert records, path.name
            assert not [r for r in records if isinstance(r, DeadLetter)], path.name


SOUND = liquidates(close("-5"), close("-5"), close("7"))
SAMPLES = [
    SOUND,
    order_row("120", "-120"),
    update("futures.tickers", ticker()),
    update("futures.liquidates", {"fill_price": 60000, "size": "-1", "time_ms": NOW, "contract": "BTC_USDT"}),
    json.dumps([{"name": "BTC_USDT", "quanto_multiplier": "0.0001", "funding_interval": 14400}]),
    json.dumps([{"time": 1, "contract": "BTC_USDT", "lsr_taker": 1, "open_interest": 7, "mark_price": 60000}]),
]


@settings(max_examples=150, deadline=None)
@given(runs([s.encode() for s in SAMPLES]))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless("gate", KNOWN, SOUND.encode(), hostile)
