"""KuCoin: no liquidations, only context, in lots, with a handshake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.catalogue import Catalogue
from connectors.exchange import Acknowledged, Denied, Frame
from connectors.exchanges import exchanges
from connectors.exchanges.kucoin import Kucoin
from connectors.instruments import snapshot
from connectors.normaliser import Normaliser
from schemas.errors import ConnectionLost
from schemas.instruments import Instrument
from schemas.records import AccountEvent, Control, DeadLetter, Funding, Liquidation, MarkPrice, OpenInterest, Trade
from tests.conftest import Read
from tests.connectors.exchanges.hostile import runs

MS = 1_000_000
XBT = Instrument("kucoin", "XBTUSDTM", "XBT", 0.001, "base")
INVERSE = Instrument("kucoin", "XBTUSDM", "XBT", 1.0, "usd", "USD", "XBT")
KNOWN = [XBT, INVERSE]


def told(subject: str, data: Any, topic: str = "/contract/instrument:XBTUSDTM") -> str:
    return json.dumps({"topic": topic, "type": "message", "subject": subject, "data": data})


def mark(price: float = 60000.5) -> str:
    return told(
        "mark.index.price",
        {"markPrice": price, "indexPrice": 60001.5, "granularity": 1000, "timestamp": 1790000000000},
    )


def contract(symbol: str = "XBTUSDTM", **fields: Any) -> dict[str, Any]:
    return {"symbol": symbol, "baseCurrency": "XBT", "quoteCurrency": "USDT", "settleCurrency": "USDT", "tickSize": 0.1,
            "multiplier": 0.001, "isInverse": False, "openInterest": "5000", "markPrice": 60000.0,
            "indexPrice": 60001.0, "fundingFeeRate": 0.0001, "predictedFundingFeeRate": None,
            "fundingRateGranularity": 28800000,
            "currentFundingRateGranularity": 14400000, "nextFundingRateTime": 3600000,
            "nextFundingRateDateTime": 1790003600000} | fields  # fmt: skip


def test_there_is_no_public_liquidation_feed_and_none_is_invented() -> None:
    venue = Kucoin()
    assert venue.has_liquidations is False
    assert not any(c.carries_liquidations for c in venue.connections(venue.production, KNOWN))
    assert "liquidation" not in "".join(s for c in venue.connections(venue.production, KNOWN) for s in c.subscribe)


def test_marks_are_stamped_in_milliseconds(read: Read) -> None:
    (price,) = read("kucoin", [mark()], KNOWN)
    assert isinstance(price, MarkPrice)
    assert (price.asset, price.price, price.index_price) == ("BTC", 60000.5, 60001.5)
    assert price.event_time == 1790000000000 * MS


def test_trades_are_stamped_in_nanoseconds_and_sized_in_lots(read: Read) -> None:
    data = {"symbol": "XBTUSDTM", "sequence": 1, "side": "sell", "size": 5, "price": "60000", "tradeId": "9",
            "ts": 1790000000123456789}  # fmt: skip
    (trade,) = read("kucoin", [told("match", data, "/contractMarket/execution:XBTUSDTM")], KNOWN)
    assert isinstance(trade, Trade)
    assert (trade.taker, trade.event_time) == ("sell", 1790000000123456789)
    assert (trade.quantity, trade.notional_usd) == (0.005, pytest.approx(300.0))


def test_granularity_tells_a_predicted_rate_from_a_settled_one(read: Read) -> None:
    predicted, settled = read(
        "kucoin",
        [
            told("funding.rate", {"granularity": 60000, "fundingRate": -0.0003, "timestamp": 1790000000000}),
            told("funding.rate", {"granularity": 14400000, "fundingRate": 0.0002, "timestamp": 1790000000000}),
        ],
        KNOWN,
    )
    assert (predicted.rate, predicted.settled, predicted.interval_hours) == (-0.0003, False, 8.0)
    assert (settled.rate, settled.settled, settled.interval_hours) == (0.0002, True, 4.0)


def test_a_prediction_is_for_the_interval_the_contract_has(read: Read) -> None:
    *_, predicted = read(
        "kucoin",
        [json.dumps(contract()), told("funding.rate", {"granularity": 60000, "fundingRate": 0.1, "timestamp": 1})],
        KNOWN,
    )
    assert predicted.interval_hours == 4.0


@pytest.mark.parametrize("wrapped", [False, True])
def test_open_interest_is_lots_times_multiplier(read: Read, wrapped: bool) -> None:
    body = {"code": "200000", "data": [contract()]} if wrapped else contract()
    price, interest, funding = read("kucoin", [json.dumps(body)], KNOWN, receive_time=1790000000000 * MS)
    assert isinstance(interest, OpenInterest)
    assert (interest.quantity, interest.notional_usd) == (5.0, 300_000.0)
    assert isinstance(funding, Funding)
    assert (funding.rate, funding.interval_hours, funding.settled) == (0.0001, 4.0, False)
    assert price.index_price == 60001.0


def test_next_funding_rate_time_is_what_remains_and_date_time_the_instant(read: Read) -> None:
    now = 1790000000000 * MS
    bodies = [contract(), contract(nextFundingRateDateTime=None)]
    records = read("kucoin", [json.dumps(b) for b in bodies], KNOWN, receive_time=now)
    assert [r.next_time for r in records if isinstance(r, Funding)] == [1790003600000 * MS, now + 3_600_000 * MS]


def test_the_multiplier_minus_1_of_an_inverse_contract_is_1_usd(read: Read) -> None:
    row = contract("XBTUSDM", multiplier=-1, isInverse=True, quoteCurrency="USD", settleCurrency="XBT")
    linear, inverse = Kucoin().metadata(json.dumps({"code": "200000", "data": [contract(), row]}).encode())
    assert (linear.contract_size, linear.contract_unit, linear.tick) == (0.001, "base", 0.1)
    assert (inverse.contract_size, inverse.contract_unit, inverse.settle) == (1.0, "usd", "XBT")
    _, interest, _ = read("kucoin", [json.dumps(row)], [inverse])
    assert (interest.notional_usd, interest.quantity) == (5000.0, 5000 / 60000)


def test_the_address_and_the_ping_interval_come_with_the_token() -> None:
    venue = Kucoin()
    (connection,) = venue.connections(venue.production, KNOWN)
    assert connection.token is not None
    assert (connection.token.method, connection.token.path) == ("POST", "/api/v1/bullet-public")
    server = {"endpoint": "wss://ws.example/", "encrypt": True, "protocol": "websocket", "pingInterval": 18000}
    answer = {"code": "200000", "data": {"token": "a+b==", "instanceServers": [server]}}
    url, every = venue.address(json.dumps(answer).encode())
    assert url == "wss://ws.example/?token=a%2Bb%3D%3D&connectId=breakwater"
    assert every == 18.0
    assert connection.heartbeat is not None
    assert json.loads(connection.heartbeat.message)["type"] == "ping"


@pytest.mark.parametrize("answer", [b'{"code":"429000","msg":"Too Many Requests"}', b'{"code":"200000","data":{}}'])
def test_an_answer_without_a_token_is_a_lost_connection(answer: bytes) -> None:
    with pytest.raises(ConnectionLost, match="kucoin gave no token"):
        Kucoin().address(answer)


def test_one_subscription_names_a_hundred_contracts_and_is_answered() -> None:
    venue = Kucoin()
    (connection,) = venue.connections(venue.production, [XBT] * 150)
    topics = [json.loads(message)["topic"] for message in connection.subscribe]
    assert [topic.count("XBTUSDTM") for topic in topics] == [100, 50]
    assert connection.acknowledgements == 2
    assert venue.acknowledgement(b'{"id":"0","type":"ack"}') == Acknowledged()
    assert venue.acknowledgement(b'{"id":"0","type":"error","code":404,"data":"topic x is not found"}') == Denied(
        "topic x is not found"
    )
    assert venue.acknowledgement(mark().encode()) is None


@pytest.mark.parametrize(
    ("reason", "left", "event", "state"),
    [
        ("positionChange", -20, "position", "known"),
        ("positionChange", 0, "position", "flat"),
        ("liquidation", 5, "liquidation", "known"),
        ("adl", 0, "adl", "flat"),
    ],
)
def test_a_position_change_tells_what_is_left(read: Read, reason: str, left: int, event: str, state: str) -> None:
    data = {"symbol": "XBTUSDTM", "currentQty": left, "markPrice": 60000, "changeReason": reason,
            "currentTimestamp": 1790000000123}  # fmt: skip
    (record,) = read("kucoin", [told("position.change", data, "/contract/position:XBTUSDTM")], KNOWN)
    assert isinstance(record, AccountEvent)
    assert (record.event, record.state, record.detail) == (event, state, reason)
    assert record.remaining == pytest.approx(left * 0.001)
    assert record.event_time == 1790000000123 * MS


@pytest.mark.parametrize(
    ("frame", "what"),
    [
        ({"id": "a", "type": "welcome"}, "welcome"),
        ({"id": "a", "type": "ack"}, "ack"),
        ({"id": "a", "type": "pong"}, "pong"),
        ({"id": "a", "type": "error", "code": 404, "data": "no topic"}, "refused"),
        ({"code": "429000", "msg": "slow down"}, "refused"),
        (json.loads(told("position.settlement", {"qty": 1})), "ignored"),
        (json.loads(told("position.change", {"changeReason": "markPriceChange"})), "ignored"),
    ],
)
def test_answers_and_unused_subjects_are_controls(read: Read, frame: Any, what: str) -> None:
    (control,) = read("kucoin", [json.dumps(frame)], KNOWN)
    assert isinstance(control, Control)
    assert control.what == what


def test_a_frame_nobody_knows_is_a_dead_letter(read: Read) -> None:
    assert [type(r) for r in read("kucoin", [told("mystery", {}), "{}", "3"], KNOWN)] == [DeadLetter] * 3


FRAMES = [mark().encode(), json.dumps(contract()).encode(),
          json.dumps({"code": "200000", "data": [contract()]}).encode(),
          told("funding.rate", {"granularity": 60000, "fundingRate": 0.1, "timestamp": 1}).encode(),
          told("position.change", {"symbol": "XBTUSDTM", "currentQty": 3, "currentTimestamp": 1}).encode()]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(hostile=runs(FRAMES))
def test_no_mutant_raises_or_vanishes_or_harms_a_sound_frame(hostile: list[bytes]) -> None:
    normaliser = Normaliser(exchanges().values(), Catalogue(KNOWN))
    sound = normaliser.normalise([Frame("kucoin", "fuzz", mark().encode(), 0)]).others
    for frame in hostile:
        assert list(normaliser.normalise([Frame("kucoin", "fuzz", frame, 0)]).records()), frame[:200]
    assert normaliser.normalise([Frame("kucoin", "fuzz", mark().encode(), 0)]).others == sound


def test_recorded_contracts_value_by_value(read: Read, shared: Callable[[str], Path]) -> None:
    for line in shared("captures/kucoin/rest_contracts_active_rows.jsonl").read_bytes().splitlines():
        row = json.loads(line)
        price, interest, funding = read("kucoin", [line], snapshot("kucoin"))
        lots, size = float(row["openInterest"]), abs(row["multiplier"])
        usd = lots * size if row["isInverse"] else lots * size * row["markPrice"]
        assert (interest.notional_usd, price.price) == (pytest.approx(usd), row["markPrice"])
        assert interest.quantity == pytest.approx(usd / row["markPrice"])
        assert (funding.rate, funding.interval_hours) == (row["fundingFeeRate"], 8.0)
        assert funding.next_time == row["nextFundingRateDateTime"] * MS


def test_every_recorded_line_is_understood_and_none_is_a_liquidation(read: Read, shared: Callable[[str], Path]) -> None:
    for path in sorted(shared("captures/kucoin").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            records = read("kucoin", [line], snapshot("kucoin"))
            assert records
            assert not [r for r in records if isinstance(r, DeadLetter | Liquidation)], line
