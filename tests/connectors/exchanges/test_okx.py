"""OKX: whose position, how much a contract is, what is a replay and what the rate's interval is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.okx import Okx
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import AccountEvent, Control, DeadLetter, Funding, Liquidation, MarkPrice, OpenInterest
from tests.connectors.exchanges.hostile import assert_harmless, runs

Read = Callable[..., list[Any]]
Shared = Callable[[str], Path]
MS = 1_000_000
SECOND = 1000 * MS
NOW = 1790000000000
BTC = Instrument("okx", "BTC-USDT-SWAP", "BTC", 0.01, "base")
INVERSE = Instrument("okx", "BTC-USD-SWAP", "BTC", 100.0, "usd", "USD", "BTC")
KNOWN = [BTC, INVERSE]


def detail(
    side: str = "sell", held: str = "long", size: str = "8", price: str = "60000", time: int = NOW
) -> dict[str, str]:
    return {"bkLoss": "0", "bkPx": price, "ccy": "", "posSide": held, "side": side, "sz": size, "ts": str(time)}


def row(*details: dict[str, str], symbol: str = "BTC-USDT-SWAP", kind: str = "SWAP") -> dict[str, Any]:
    return {"details": list(details), "instFamily": symbol[:-5], "instId": symbol, "instType": kind}


def liquidations(*rows: dict[str, Any]) -> str:
    return json.dumps({"arg": {"channel": "liquidation-orders", "instType": rows[0]["instType"]}, "data": rows})


def channel(name: str, **fields: Any) -> str:
    return json.dumps({"arg": {"channel": name}, "data": [fields]})


@pytest.mark.parametrize(
    ("held", "side", "position"),
    [
        ("long", "sell", "long"),
        ("short", "buy", "short"),
        ("long", "buy", "long"),
        ("short", "sell", "short"),
        ("net", "sell", "long"),
        ("net", "buy", "short"),
    ],
)
def test_pos_side_names_the_position_and_only_net_falls_back_to_the_order(
    read: Read, held: str, side: str, position: str
) -> None:
    (close,) = read("okx", [liquidations(row(detail(side, held)))], KNOWN)
    assert close.position == position


def test_size_counts_contracts_and_the_price_is_a_takeover(read: Read) -> None:
    linear, inverse = read(
        "okx", [liquidations(row(detail(size="8.5")), row(detail(size="3"), symbol="BTC-USD-SWAP"))], KNOWN
    )
    assert (linear.quantity, linear.notional_usd) == (pytest.approx(0.085), pytest.approx(5100.0))
    assert (inverse.quantity, inverse.notional_usd) == (pytest.approx(0.005), 300.0)
    assert (linear.price_kind, linear.coverage, linear.event_time) == ("takeover", "partial", NOW * MS)


def test_a_contract_is_ct_val_times_ct_mult() -> None:
    def listed(symbol: str, kind: str, value: str, multiplier: str, settle: str) -> dict[str, str]:
        return {
            "instId": symbol, "instType": "SWAP", "ctType": kind, "ctVal": value, "ctMult": multiplier,
            "settleCcy": settle, "tickSz": "0.1",
        }  # fmt: skip

    rows = [
        listed("BTC-USDT-SWAP", "linear", "0.01", "1", "USDT"),
        listed("XYZ-USDT-SWAP", "linear", "10", "5", "USDT"),
        listed("BTC-USD-SWAP", "inverse", "100", "1", "BTC"),
        listed("NEW-USDT-SWAP", "linear", "", "", "USDT"),
    ]
    assert list(Okx().metadata(json.dumps({"code": "0", "data": rows}).encode())) == [
        Instrument("okx", "BTC-USDT-SWAP", "BTC", 0.01, "base", "USDT", "USDT", 0.1),
        Instrument("okx", "XYZ-USDT-SWAP", "XYZ", 50.0, "base", "USDT", "USDT", 0.1),
        Instrument("okx", "BTC-USD-SWAP", "BTC", 100.0, "usd", "USD", "BTC", 0.1),
    ]


def test_the_first_frame_of_a_subscription_is_a_replay_where_it_is_old(read: Read) -> None:
    """Old means more than 60 s before receipt; later frames are late news, not replays."""
    old, fresh = detail(time=NOW - 60_001), detail(time=NOW - 60_000, size="2")
    first = liquidations(row(old, fresh))
    later = liquidations(row(detail(time=NOW - 400_000)))
    records = read("okx", [first, later], KNOWN, receive_time=NOW * MS)
    assert [(r.event_time // MS - NOW, r.backfill) for r in records] == [
        (-60_001, True), (-60_000, False), (-400_000, False),
    ]  # fmt: skip


def test_each_subscription_has_its_own_first_frame(read: Read) -> None:
    future = Instrument("okx", "BTC-USDT-261225", "BTC", 0.01, "base")
    swap = liquidations(row(detail(time=NOW - 100_000)))
    dated = liquidations(row(detail(time=NOW - 100_000), symbol="BTC-USDT-261225", kind="FUTURES"))
    records = read("okx", [swap, dated, swap], [*KNOWN, future], receive_time=NOW * MS)
    assert [r.backfill for r in records] == [True, True, False]


def test_a_file_without_receive_times_has_no_replay(read: Read) -> None:
    (close,) = read("okx", [liquidations(row(detail(time=1)))], KNOWN, receive_time=0)
    assert not close.backfill


def test_a_replay_with_an_unsound_row_is_still_a_replay(read: Read) -> None:
    rows = [row(detail(time=NOW - 100_000)), row(detail(price="", time=NOW - 90_000)), row(detail(time=NOW - 80_000))]
    records = read("okx", [liquidations(*rows)], KNOWN, receive_time=NOW * MS)
    assert [(r.event_time // MS - NOW, r.backfill) for r in records if isinstance(r, Liquidation)] == [
        (-100_000, True), (-80_000, True),
    ]  # fmt: skip
    assert sum(isinstance(r, DeadLetter) for r in records) == 1


def test_equal_closes_in_one_frame_are_two_events_and_a_replayed_frame_adds_none(read: Read) -> None:
    frame = liquidations(row(detail(), detail()))
    first = [r.event_id for r in read("okx", [frame], KNOWN)]
    both = [r.event_id for r in read("okx", [frame, frame], KNOWN)]
    assert len(set(first)) == 2
    assert both == first + first


def test_a_margin_liquidation_is_no_forced_close_of_a_perpetual(read: Read) -> None:
    (control,) = read("okx", [liquidations(row(detail(), symbol="BTC-USDT", kind="MARGIN"))], KNOWN)
    assert isinstance(control, Control)


def funding(**changes: str) -> str:
    fields = {
        "instId": "BTC-USDT-SWAP", "instType": "SWAP", "fundingRate": "0.0002", "fundingTime": "1790006400000",
        "nextFundingRate": "", "nextFundingTime": "1790020800000", "ts": str(NOW),
    }  # fmt: skip
    return channel("funding-rate", **(fields | changes))


def test_the_rate_is_paid_at_funding_time_and_the_interval_is_between_payments(read: Read) -> None:
    """``nextFundingRate`` is empty with the current-period method."""
    (rate,) = read("okx", [funding()], KNOWN)
    assert (rate.rate, rate.interval_hours, rate.next_time, rate.event_time) == (
        0.0002, 4.0, 1790006400000 * MS, NOW * MS,
    )  # fmt: skip
    assert rate.annualised == pytest.approx(0.0002 * 8760 / 4)


def test_the_interval_survives_frames_that_do_not_tell_it(read: Read) -> None:
    rates = read("okx", [funding(), funding(nextFundingTime="")], KNOWN)
    assert [r.interval_hours for r in rates] == [4.0, 4.0]
    (before,) = read("okx", [funding(nextFundingTime="", prevFundingTime="1790002800000")], KNOWN)
    assert before.interval_hours == 1.0


def test_open_interest_is_one_sided_coins(read: Read) -> None:
    told = channel("open-interest", instId="BTC-USDT-SWAP", oi="1000", oiCcy="10", oiUsd="600500", ts=str(NOW))
    bare = channel("open-interest", instId="BTC-USDT-SWAP", oi="1000", oiCcy="10", ts=str(NOW))
    mark = channel("mark-price", instId="BTC-USDT-SWAP", markPx="60000", ts=str(NOW))
    with_usd, price, from_mark = read("okx", [told, mark, bare], KNOWN)
    assert isinstance(with_usd, OpenInterest)
    assert (with_usd.quantity, with_usd.notional_usd) == (10.0, 600500.0)
    assert isinstance(price, MarkPrice)
    assert price.price == 60000.0
    assert (from_mark.quantity, from_mark.notional_usd) == (10.0, 600000.0)


def order(**changes: str) -> str:
    fields = {
        "instId": "BTC-USDT-SWAP", "instType": "SWAP", "category": "normal", "side": "sell", "posSide": "net",
        "state": "filled", "ordId": "7", "clOrdId": "mine", "fillPx": "60000", "fillSz": "2",
        "fillTime": str(NOW), "tradeId": "t",
    }  # fmt: skip
    return channel("orders", **(fields | changes))


@pytest.mark.parametrize(
    ("changes", "event", "position"),
    [
        ({}, "fill", None),
        ({"category": "full_liquidation"}, "liquidation", "long"),
        ({"category": "partial_liquidation", "side": "buy"}, "liquidation", "short"),
        ({"category": "adl", "posSide": "short", "side": "buy"}, "adl", "short"),
    ],
)
def test_the_category_of_an_own_order_tells_forced_ones(
    read: Read, changes: dict[str, str], event: str, position: str | None
) -> None:
    (own,) = read("okx", [order(**changes)], KNOWN)
    assert isinstance(own, AccountEvent)
    assert (own.event, own.position, own.price, own.order_id, own.client_id) == (event, position, 60000.0, "7", "mine")
    assert own.quantity == pytest.approx(0.02)


def test_an_order_without_a_fill_is_no_event(read: Read) -> None:
    (control,) = read("okx", [order(state="live", fillSz="0", fillPx="", fillTime="")], KNOWN)
    assert (type(control), control.what) == (Control, "ignored")


def held(symbol: str = "BTC-USDT-SWAP", **changes: str) -> dict[str, str]:
    return {
        "instId": symbol,
        "instType": "SWAP",
        "posSide": "net",
        "pos": "10",
        "avgPx": "60000",
        "posId": "1",
    } | changes


@pytest.mark.parametrize(
    ("position", "state", "remaining"),
    [
        (held(), "known", 0.1),
        (held(pos="-10"), "known", -0.1),
        (held(posSide="short"), "known", -0.1),
        (held(posSide="long"), "known", 0.1),
        (held(pos="0", avgPx=""), "flat", 0.0),
    ],
)
def test_a_position_is_signed_and_zero_is_flat(
    read: Read, position: dict[str, str], state: str, remaining: float
) -> None:
    frame = channel("balance_and_position", pTime=str(NOW), eventType="liquidation", posData=[position])
    (own,) = read("okx", [frame], KNOWN)
    assert (own.event, own.state, own.remaining) == ("liquidation", state, pytest.approx(remaining))


def test_a_liquidation_warning_is_a_margin_call_and_the_position_stands(read: Read) -> None:
    frame = channel(
        "liquidation-warning", instId="BTC-USDT-SWAP", posSide="short", pos="5", markPx="60000", mgnRatio="1.1",
        posId="1", pTime=str(NOW),
    )  # fmt: skip
    (own,) = read("okx", [frame], KNOWN)
    assert (own.event, own.position, own.state) == ("margin_call", "short", "known")
    assert own.remaining == pytest.approx(-0.05)


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        ("pong", "pong"),
        ('{"event":"subscribe","arg":{"channel":"liquidation-orders","instType":"SWAP"},"connId":"c"}', "ack"),
        ('{"event":"error","code":"60012","msg":"Invalid request","connId":"c"}', "refused"),
        ('{"event":"notice","code":"64008","msg":"The connection will soon be closed"}', "ignored"),
        ('{"code":"50011","data":[],"msg":"Too Many Requests"}', "refused"),
        ('{"code":"0","data":[],"msg":""}', "ignored"),
        ('{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","last":"1"}]}', "ignored"),
        ('{"arg":{"channel":"books5","instId":"BTC-USDT"},"data":[]}', "ignored"),
        ('{"arg":{"channel":"adl-warning","instType":"SWAP"},"data":[{"state":"warning"}]}', "ignored"),
        ('{"arg":{"channel":"liquidation-orders","instType":"SWAP"},"data":[]}', "ignored"),
    ],
)
def test_what_is_no_event_is_a_control(read: Read, frame: str, what: str) -> None:
    (control,) = read("okx", [frame], KNOWN)
    assert (type(control), control.what) == (Control, what)


@pytest.mark.parametrize("frame", ['{"arg":{"channel":"brand-new"},"data":[]}', '{"hello":1}', "[1]", '{"arg":'])
def test_what_is_not_known_is_a_dead_letter(read: Read, frame: str) -> None:
    (letter,) = read("okx", [frame], KNOWN)
    assert (type(letter), letter.raw) == (DeadLetter, frame.encode())


def test_one_socket_brings_liquidations_and_one_the_context() -> None:
    dated = Instrument("okx", "BTC-USDT-261225", "BTC", 0.01, "base")
    many = [Instrument("okx", f"C{n}-USDT-SWAP", f"C{n}", 1.0, "base") for n in range(600)]
    liquidated, context = Okx().connections(Okx.production, [BTC, dated, *many])
    assert liquidated.url == context.url == "wss://ws.okx.com:8443/ws/v5/public"
    assert json.loads(liquidated.subscribe[0]) == {
        "op": "subscribe",
        "args": [{"channel": "liquidation-orders", "instType": kind} for kind in ("FUTURES", "SWAP")],
    }
    assert (liquidated.acknowledgements, liquidated.carries_liquidations, context.carries_liquidations) == (
        2,
        True,
        False,
    )
    assert all(len(message) <= 65_536 for message in context.subscribe)
    args = [(a["channel"], a["instId"]) for message in context.subscribe for a in json.loads(message)["args"]]
    assert len(args) == len(set(args)) == context.acknowledgements == 3 * 601 + 2
    assert ("funding-rate", "BTC-USDT-261225") not in args, "a dated contract pays no funding"
    assert ("open-interest", "BTC-USDT-261225") in args
    assert liquidated.heartbeat is not None
    assert liquidated.heartbeat.message == "ping"
    assert liquidated.heartbeat.every < 30


def test_an_answer_to_a_subscription_is_told_from_data() -> None:
    venue = Okx()
    assert venue.acknowledgement(b'{"event":"subscribe","arg":{"channel":"mark-price"}}') == Acknowledged()
    assert venue.acknowledgement(b'{"event":"error","code":"60018","msg":"wrong"}') == Denied("wrong")
    assert venue.acknowledgement(b"pong") is None
    assert venue.acknowledgement(liquidations(row(detail())).encode()) is None


CNPY = Instrument("okx", "CNPY-USDT-SWAP", "CNPY", 1.0, "base")
"""A stand-in size: what a contract of it is, no recorded body tells."""


@pytest.mark.parametrize("name", ["liquidation_orders.jsonl", "rest_liquidation_orders.jsonl"])
def test_recorded_liquidations_value_by_value(read: Read, shared: Shared, name: str) -> None:
    """Each recorded close against its own line: posSide, contracts x size, milliseconds, takeover price."""
    known = [*snapshot("okx"), CNPY]
    sizes = {i.instrument: i.contract_size for i in known}
    lines = shared(f"captures/okx/{name}").read_bytes().splitlines()
    expected = []
    for line in lines:
        for told in json.loads(line)["data"]:
            for one in told["details"]:
                base = float(one["sz"]) * sizes[told["instId"]]
                expected.append(
                    (told["instId"], one["posSide"], base, float(one["bkPx"]), base * float(one["bkPx"]),
                     int(one["ts"]) * MS, "takeover", False)
                )  # fmt: skip
    found = [(r.instrument, r.position, r.quantity, r.price, r.notional_usd, r.event_time, r.price_kind, r.backfill)
             for r in read("okx", lines, known)]  # fmt: skip
    assert found == expected
    assert len(found) == {"liquidation_orders.jsonl": 4, "rest_liquidation_orders.jsonl": 20}[name]


def test_recorded_open_interest_is_the_vendors_own_coins_and_usd(read: Read, shared: Shared) -> None:
    (body,) = shared("captures/okx/rest_open_interest.jsonl").read_bytes().splitlines()
    found = {r.instrument: (r.quantity, r.notional_usd) for r in read("okx", [body], snapshot("okx"))}
    assert found == {r["instId"]: (float(r["oiCcy"]), float(r["oiUsd"])) for r in json.loads(body)["data"]}


def test_recorded_funding_has_the_interval_between_its_payments(read: Read, shared: Shared) -> None:
    (body,) = shared("captures/okx/rest_funding_rate.jsonl").read_bytes().splitlines()
    rows = json.loads(body)["data"]
    known = [Instrument("okx", r["instId"], r["instId"].split("-")[0], 1.0, "base") for r in rows]
    found = {r.instrument: r.interval_hours for r in read("okx", [body], known) if isinstance(r, Funding)}
    assert found == {r["instId"]: (int(r["nextFundingTime"]) - int(r["fundingTime"])) / 3_600_000 for r in rows}
    assert 4.0 in found.values(), "not every interval is 8 h"


def test_no_recorded_line_is_a_dead_letter(read: Read, shared: Shared) -> None:
    known = [*snapshot("okx"), CNPY, Instrument("okx", "XAU-USD_UM_XPERP-310502", "XAU", 1.0, "base")]
    for path in sorted(shared("captures/okx").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            records = read("okx", [line], known)
            assert records, path.name
            assert not [r for r in records if isinstance(r, DeadLetter)], path.name


SOUND = liquidations(row(detail(), detail(), detail("buy", "net", size="3")))
SAMPLES = [
    SOUND,
    liquidations(row(detail()), row(detail(), symbol="BTC-USD-SWAP")),
    funding(),
    order(category="adl"),
    channel("open-interest", instId="BTC-USDT-SWAP", oi="1000", oiCcy="10", oiUsd="600500", ts=str(NOW)),
    channel("mark-price", instId="BTC-USDT-SWAP", markPx="60000", ts=str(NOW)),
    channel("balance_and_position", pTime=str(NOW), eventType="adl", posData=[held()]),
    json.dumps({"code": "0", "data": [row(detail())], "msg": ""}),
]


@settings(max_examples=150, deadline=None)
@given(runs([s.encode() for s in SAMPLES]))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless("okx", KNOWN, SOUND.encode(), hostile)
