"""Bitfinex: entry price is no closing price, one position in several rows, spot pairs among the derivatives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.bitfinex import Bitfinex
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import Control, DeadLetter, Funding, MarketRecord, MarkPrice, OpenInterest
from tests.connectors.exchanges.hostile import runs
from tests.connectors.exchanges.reading import liquidations, records

VENUE = "bitfinex"
BITFINEX = Bitfinex()
T = 1_790_000_000_000
"""Milliseconds."""
TRIGGER, EXECUTION = 0, 1
ENTRY = 150.25


def row(position: int, amount: float | str, closing: float | None, kind: int = EXECUTION, **more: Any) -> list[Any]:
    symbol, time = more.get("symbol", "tSOLF0:USTF0"), more.get("time", T)
    return ["pos", position, time, None, symbol, amount, ENTRY, None, kind, 1, None, closing]


def frame(*rows: list[Any], channel: int = 77) -> str:
    return json.dumps([channel, list(rows)])


ACK = '{"event":"subscribed","channel":"status","chanId":55,"key":"deriv:tSOLF0:USTF0"}'
STATUS = json.dumps(
    [55, [T, None, 171.0, 170.5, None, 1e6, None, T + 60_000, 0.0001, 6, None, -0.0002, None, None, 170.75, None, None,
          1234.5, None, None, None, 0.0005, 0.0025]]
)  # fmt: skip


def controls(found: list[MarketRecord]) -> list[str]:
    return [record.detail for record in found if isinstance(record, Control)]


def test_a_positive_amount_was_a_long() -> None:
    long, short = liquidations(records(VENUE, [frame(row(1, 2.5, 171.5), row(2, -4.0, 172.0))]))
    assert (long.position, long.quantity, long.notional_usd) == ("long", 2.5, 2.5 * 171.5)
    assert (short.position, short.quantity, short.notional_usd) == ("short", 4.0, 4 * 172.0)


def test_field_6_is_the_entry_price_and_field_11_the_closing_one() -> None:
    (event,) = liquidations(records(VENUE, [frame(row(1, 2.5, 171.5))]))
    assert (event.price, event.price_kind, event.coverage) == (171.5, "takeover", "complete")


def test_double_rows_of_one_position_are_one_event_with_the_amount_of_the_trigger_at_the_closing_price() -> None:
    rows = [row(1, 10.0, None, TRIGGER), row(1, 4.0, 171.5), row(1, 6.0, 171.4)]
    for frames in ([frame(*rows)], [frame(r) for r in rows]):
        (event,) = liquidations(records(VENUE, frames))
        assert (event.quantity, event.price) == (10.0, 171.5)


def test_a_trigger_that_tells_its_price_is_counted_and_its_executions_are_not() -> None:
    found = records(VENUE, [frame(row(1, 10.0, 171.5, TRIGGER), row(1, 10.0, 171.4), row(2, 1.0, 171.0))])
    assert [(e.quantity, e.price) for e in liquidations(found)] == [(10.0, 171.5), (1.0, 171.0)]
    assert controls(found) == ["position 1 is counted already"]


def test_a_trigger_without_a_closing_price_is_no_event_yet() -> None:
    (found,) = records(VENUE, [frame(row(1, 10.0, None, TRIGGER))])
    assert isinstance(found, Control)
    assert found.detail == "position 1 triggered, its closing price is not told yet"


@pytest.mark.parametrize("cut", [11, 12])
def test_an_execution_with_null_or_absent_field_11_is_told_at_the_mark_price_and_never_at_the_entry_price(
    cut: int,
) -> None:
    old = frame(row(1, 2.0, None)[:cut])
    (letter,) = records(VENUE, [old])
    assert isinstance(letter, DeadLetter)
    assert "[6] is the entry price" in letter.reason
    (event,) = liquidations(records(VENUE, [ACK, STATUS, old]))
    assert (event.price, event.price_kind, event.quantity) == (170.75, "mark", 2.0)


def test_amounts_in_scientific_notation() -> None:
    text = f'[77,[["pos",1,{T},null,"tSOLF0:USTF0",-1e-8,150,null,1,1,null,1.5E2]]]'
    (event,) = liquidations(records(VENUE, [text]))
    assert (event.position, event.quantity, event.price) == ("short", 1e-8, 150.0)


def test_milliseconds_may_be_fractional_and_whole_ones_are_exact() -> None:
    whole, fraction = liquidations(records(VENUE, [frame(row(1, 1, 171.5), row(2, 1, 171.5, time=T + 0.25))]))
    assert (whole.event_time, fraction.event_time) == (T * 1_000_000, T * 1_000_000 + 250_000)


def test_liquidations_of_margin_positions_on_spot_pairs_are_known_and_ignored() -> None:
    (found,) = records(VENUE, [frame(row(1, 2.5, 171.5, symbol="tSOLUSD"))])
    assert isinstance(found, Control)
    assert found.what == "ignored"


def test_the_position_id_is_the_key_so_a_replay_after_reconnecting_adds_none() -> None:
    first, later = frame(row(1, 2.5, 171.5)), frame(row(1, 2.5, 171.5), channel=99)
    (one,) = liquidations(records(VENUE, [first]))
    (two,) = liquidations(records(VENUE, [later]))
    assert one.event_id == two.event_id
    assert len(liquidations(records(VENUE, [first, first]))) == 1


def test_equal_closes_of_two_positions_in_one_frame_are_two_events() -> None:
    one, two = liquidations(records(VENUE, [frame(row(1, 2.5, 171.5), row(2, 2.5, 171.5))]))
    assert one.event_id != two.event_id


def test_rest_history_is_backfill() -> None:
    (event,) = liquidations(records(VENUE, [json.dumps([[row(1, 2.5, 171.5)]])]))
    assert event.backfill


def test_status_is_matched_by_the_channel_number_of_the_acknowledgement() -> None:
    _, mark, interest, funding = records(VENUE, [ACK, STATUS])
    assert isinstance(mark, MarkPrice)
    assert (mark.instrument, mark.price, mark.index_price) == ("tSOLF0:USTF0", 170.75, 170.5)
    assert isinstance(interest, OpenInterest)
    assert (interest.quantity, interest.notional_usd) == (1234.5, 1234.5 * 170.75)
    assert isinstance(funding, Funding)
    assert (funding.rate, funding.interval_hours, funding.next_time) == (-0.0002, 8.0, (T + 60_000) * 1_000_000)


def test_a_status_without_a_recorded_acknowledgement_is_understood_but_is_nobodys() -> None:
    (found,) = records(VENUE, [STATUS])
    assert isinstance(found, Control)
    assert (found.what, found.detail[:18]) == ("ignored", "derivatives status")


def test_heartbeats_and_answers() -> None:
    found = records(VENUE, ['[77,"hb"]', '{"event":"info","version":2}', '{"event":"error","msg":"dup","code":10301}'])
    assert [record.what for record in found if isinstance(record, Control)] == ["heartbeat", "welcome", "refused"]
    assert BITFINEX.acknowledgement(ACK.encode()) == Acknowledged()
    assert BITFINEX.acknowledgement(b'{"event":"error","msg":"dup","code":10301}') == Denied("10301: dup")
    assert BITFINEX.acknowledgement(STATUS.encode()) is None


def test_connections_hold_25_channels_each_and_the_first_the_liquidations() -> None:
    connections = BITFINEX.connections(BITFINEX.production, snapshot(VENUE))
    messages = [json.loads(m) for c in connections for m in c.subscribe]
    assert messages[0] == {"event": "subscribe", "channel": "status", "key": "liq:global"}
    assert {m["key"] for m in messages[1:]} == {f"deriv:{i.instrument}" for i in snapshot(VENUE)}
    assert all(len(c.subscribe) == c.acknowledgements <= 25 for c in connections)
    assert [c.carries_liquidations for c in connections] == [True, False]


def test_metadata_counts_base_coins_and_spells_assets_as_everyone_does() -> None:
    assert list(BITFINEX.metadata(b'[["SOLF0:USTF0","ETHF0:BTCF0","IOTF0:USTF0"]]')) == [
        Instrument(VENUE, "tSOLF0:USTF0", "SOL", 1.0, "base", "USDT", "USDT"),
        Instrument(VENUE, "tETHF0:BTCF0", "ETH", 1.0, "base", "BTC", "BTC"),
        Instrument(VENUE, "tIOTF0:USTF0", "IOTA", 1.0, "base", "USDT", "USDT"),
    ]


SOUND = [frame(row(9_000_000 + n, 2.5, 171.5), row(9_100_000 + n, -1e-8, 172.5)) for n in range(2)]
SAMPLES = [
    frame(row(1, 10.0, None, TRIGGER), row(1, 4.0, 171.5), row(2, -1, 171.5, symbol="tSOLUSD")),
    json.dumps([[row(3, 2.5, 171.5)], [row(4, -2.5, 171.5)]]),
    ACK, STATUS, '[77,"hb"]', '[["SOLF0:USTF0","ETHF0:BTCF0"]]', '{"event":"info","version":2}',
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(runs([sample.encode() for sample in [*SAMPLES, frame(row(8, 2.5, 171.5))]]))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    # a position is told once, so the sound frame before and the one after are of two positions
    first, last = (liquidations(records(VENUE, [sound])) for sound in SOUND)
    told = liquidations(records(VENUE, [SOUND[0], *hostile, SOUND[1]]))
    assert (told[:2], told[-2:]) == (first, last)
    for mutant in hostile:
        assert records(VENUE, [mutant]), f"the frame vanished: {mutant[:200]!r}"


def test_every_recorded_line_is_understood_and_the_liquidations_are_as_documented(
    shared: Callable[[str], Path],
) -> None:
    folder = shared("captures/bitfinex")
    told = []
    for file in sorted(folder.glob("*.jsonl")):
        found = records(VENUE, file.read_bytes().splitlines())
        assert not [record for record in found if isinstance(record, DeadLetter)]
        told += liquidations(found)
    # the websocket example is a margin position on a spot pair; the REST one is a perpetual
    assert [
        (e.instrument, e.position, e.quantity, e.notional_usd, e.price, e.price_kind, e.event_time) for e in told
    ] == [("tAMPF0:USTF0", "long", 1e-8, 1.0098e-8, 1.0098, "takeover", 1678465351520000000)]
