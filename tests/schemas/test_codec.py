"""Messages: what goes in comes out, and what is none of a topic costs only itself."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.batches import Batch, Names
from schemas.codec import (
    CloseDecoder,
    decode,
    decode_frame,
    encode,
    encode_closes,
    encode_frame,
    letter,
)
from schemas.errors import Unreadable
from schemas.records import DeadLetter, FeedStatus, Liquidation, OpenInterest
from schemas.topics import DEAD_LETTERS, FEEDS, LIQUIDATIONS, MARKET, SIGNALS, TOPIC_OF, TOPICS
from tests.schemas.test_tables import any_record


def a_close(number: int = 0, **changed: Any) -> Liquidation:
    told = Liquidation(
        event_id=f"{number:016x}", venue="okx", instrument="BTC-USDT-SWAP", asset="BTC", position="long",
        cause="liquidation", price=64_000.5, price_kind="bankruptcy", quantity=0.25, notional_usd=16_000.125,
        event_time=1_791_565_602_120_000_001 + number, receive_time=1_791_565_602_163_456_789 + number,
        coverage="sampled", backfill=False, time_source="venue",
    )  # fmt: skip
    return msgspec.structs.replace(told, **changed)


@pytest.mark.parametrize("record", TOPIC_OF, ids=lambda r: r.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_a_record_sent_and_read_is_the_same_record(record: Any, data: st.DataObject) -> None:
    told = data.draw(any_record(record))
    message = encode(told)
    assert decode(TOPICS[message.topic], message.value, message.headers) == told


def test_a_message_says_what_it_is_which_it_is_and_when() -> None:
    message = encode(a_close(7))
    assert message.topic == "liquidations.v1"
    assert message.key == b"BTC"
    assert message.timestamp == 1_791_565_602_120
    assert message.headers == [
        ("content-type", b"application/json"), ("schema", b"liquidation.v1"), ("event-id", b"0000000000000007"),
    ]  # fmt: skip
    assert message.value.startswith(b'{"kind":"liquidation","event_id":"0000000000000007"')


def test_the_same_thing_told_twice_has_one_id() -> None:
    told = OpenInterest("okx", "BTC-USDT-SWAP", "BTC", 1.0, 2.0, 3, 4)
    again = msgspec.structs.replace(told, receive_time=5)
    assert dict(encode(told).headers)["event-id"] == b"okx/BTC-USDT-SWAP/3" == dict(encode(again).headers)["event-id"]
    first, second = (DeadLetter("okx", "x", "why", raw, 1) for raw in (b"a", b"b"))
    assert dict(encode(first).headers)["event-id"] != dict(encode(second).headers)["event-id"]


@pytest.mark.parametrize("name", ["price", "quantity"])
def test_a_number_nobody_told_is_null_on_the_wire_and_nan_in_the_record(name: str) -> None:
    message = encode(a_close(**{name: math.nan}))
    assert f'"{name}":null'.encode() in message.value
    assert math.isnan(getattr(decode(LIQUIDATIONS, message.value), name))
    columns, faults = CloseDecoder(Names(), Names()).columns([message.value])
    assert not faults
    assert math.isnan(getattr(columns, name)[0])


CLOSES = st.lists(any_record(Liquidation), max_size=8)


@given(CLOSES, st.sampled_from([math.nan, 1.5]))
def test_columns_and_records_say_the_same(told: list[Liquidation], price: float) -> None:
    told = [msgspec.structs.replace(one, price=price) for one in told]
    decoder = CloseDecoder(Names(), Names())
    columns, faults = decoder.columns([encode(one).value for one in told])
    batch = Batch(columns, decoder.instruments, decoder.assets)  # type: ignore[arg-type]  # names are a sequence enough
    assert not faults
    assert repr(list(batch.records())) == repr(told)
    assert list(encode_closes(batch)) == [encode(one) for one in told]


POISON: dict[str, tuple[bytes | None, str]] = {
    "no JSON": (b"\xff\xfe", "no record of"),
    "empty": (b"", "no record of"),
    "no value": (None, "no value"),
    "no object": (b"[]", "no record of"),
    "two objects": (encode(a_close(1)).value * 2, "trailing"),
    "an unknown kind": (b'{"kind":"liquidation_v2"}', "liquidation_v2"),
    "a field is missing": (b'{"kind":"liquidation"}', "missing required field"),
    "an unknown venue": (encode(a_close(venue="nowhere")).value, "nowhere"),
    "an unknown cause": (encode(a_close()).value.replace(b'"cause":"liq', b'"cause":"xliq'), "xliquidation"),
    "an id that is no number": (encode(a_close(event_id="z" * 16)).value, "hexadecimal"),
    "an id that is too short": (encode(a_close(event_id="7")).value, "16 hex digits"),
    "an id with a gap": (encode(a_close(event_id="00000000  000000")).value, "16 hex digits"),
    "a time nothing can hold": (encode(a_close(event_time=2**63)).value, "no record of"),
    "no number": (encode(a_close()).value.replace(b"16000.125", b"null"), "notional_usd"),
    "deep": (b"[" * 100_000, "no record of"),
}


@pytest.mark.parametrize("name", POISON)
def test_one_bad_value_costs_only_itself(name: str) -> None:
    value, reason = POISON[name]
    good = [encode(a_close(number)).value for number in range(3)]
    decoder = CloseDecoder(Names(), Names())
    columns, faults = decoder.columns([good[0], value, *good[1:]])
    assert columns.event_id.tolist() == [0, 1, 2]
    assert [index for index, _ in faults] == [1]
    assert reason in faults[0][1]


def test_thousands_at_once_are_in_order_and_faults_keep_their_index() -> None:
    values: list[bytes | None] = [encode(a_close(number)).value for number in range(2_000)]
    for place in (0, 511, 512, 1_999):
        values[place] = b"{"
    columns, faults = CloseDecoder(Names(), Names()).columns(values)
    assert [index for index, _ in faults] == [0, 511, 512, 1_999]
    assert columns.event_id.tolist() == [n for n in range(2_000) if n not in {0, 511, 512, 1_999}]


@pytest.mark.parametrize("name", [name for name, topic in TOPICS.items() if topic.records])
@pytest.mark.parametrize("value", [b"\xff", b"{}", b'{"kind":"dance"}', None, b"[" * 100_000])
def test_what_is_no_record_of_a_topic_says_why(name: str, value: bytes | None) -> None:
    with pytest.raises(Unreadable, match=rf"no record of {name}|no value"):
        decode(TOPICS[name], value)


@given(st.binary(max_size=40))
def test_no_bytes_whatever_are_more_than_unreadable(value: bytes) -> None:
    for topic in (LIQUIDATIONS, MARKET, SIGNALS):
        with pytest.raises(Unreadable):
            decode(topic, value)
    assert len(CloseDecoder(Names(), Names()).columns([value])[1]) == 1


def test_a_field_of_a_newer_reader_is_ignored() -> None:
    newer = encode(a_close(5)).value[:-1] + b',"insurance_usd":1}'
    assert decode(LIQUIDATIONS, newer) == a_close(5)
    columns, faults = CloseDecoder(Names(), Names()).columns([newer])
    assert (columns.event_id.tolist(), faults) == ([5], [])


def test_a_record_of_a_newer_version_is_refused_and_not_guessed() -> None:
    told = FeedStatus("okx", "x", "connected", "", 1)
    with pytest.raises(Unreadable, match=r"feed_status\.v2 in feeds\.v1.*newer version"):
        decode(FEEDS, encode(told).value, [("schema", b"feed_status.v2")])


def test_a_native_frame_is_carried_to_the_byte() -> None:
    payload = bytes(range(256))
    message = encode_frame("bybit", "liquidations", payload, 1_791_565_602_163_456_789)
    assert (message.key, message.value) == (b"bybit", payload)
    assert message.timestamp == 1_791_565_602_163
    read = decode_frame(message.value, message.headers)
    assert read == ("bybit", "liquidations", payload, 1_791_565_602_163_456_789, "frame")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"venue": None}, "'venue'"),
        ({"receive-time": b"soon"}, "headers of a native frame"),
        ({"receive-time": b"-1"}, "no time"),
        ({"venue": b"nowhere"}, "newer version"),
        ({"venue": b"\xff"}, "headers of a native frame"),
        ({"schema": b"frame.v2"}, "version v2"),
    ],
)
def test_a_frame_whose_headers_cannot_be_says_why(changed: dict[str, bytes | None], reason: str) -> None:
    headers = dict(encode_frame("bybit", "liquidations", b"{}", 1).headers)
    told = [(name, value) for name, value in (headers | changed).items() if value is not None]
    with pytest.raises(Unreadable, match=reason):
        decode_frame(b"{}", told)


def test_a_dead_letter_keeps_the_bytes_and_the_place() -> None:
    told = letter("breakwater.signals.v1", 3, 1234, b"x" * 100_000, "why", 9)
    assert (told.venue, told.feed, len(told.raw)) == ("bus", "breakwater.signals.v1/3/1234", 64 * 1024)
    assert decode(DEAD_LETTERS, encode(told).value) == told
