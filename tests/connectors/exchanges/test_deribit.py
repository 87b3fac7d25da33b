"""Deribit: the flag says whose order was forced, amounts are USD or coins, heartbeats must be answered."""

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
from connectors.exchanges.deribit import Deribit
from connectors.instruments import snapshot
from connectors.normaliser import Normaliser
from schemas.instruments import Instrument
from schemas.records import Control, DeadLetter, Funding, MarkPrice, OpenInterest, Trade
from tests.connectors.exchanges.hostile import assert_harmless, runs
from tests.connectors.exchanges.reading import liquidations, records

VENUE = "deribit"
DERIBIT = Deribit()
T = 1_790_000_000_000
"""Milliseconds."""


def trade(
    flag: str | None, direction: str, number: int = 1, symbol: str = "BTC-PERPETUAL", **more: Any
) -> dict[str, Any]:
    made = {
        "trade_id": str(number), "timestamp": T, "price": 61250.0, "amount": 490.0, "direction": direction,
        "instrument_name": symbol, "contracts": 49.0, "mark_price": 61251.0, "trade_seq": number,
    }  # fmt: skip
    return made | ({"liquidation": flag} if flag else {}) | more


def notice(*trades: dict[str, Any], channel: str = "trades.BTC-PERPETUAL.100ms") -> str:
    params = {"channel": channel, "data": list(trades)}
    return json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params})


def ticker(symbol: str, **more: Any) -> str:
    data = {
        "instrument_name": symbol, "timestamp": T, "mark_price": 61250.0, "index_price": 61240.0,
        "open_interest": 1225000.0, "state": "open",
    }  # fmt: skip
    params = {"channel": f"ticker.{symbol}.100ms", "data": data | more}
    return json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params})


@pytest.mark.parametrize(
    ("flag", "direction", "closed"),
    [
        ("T", "sell", ["long"]),
        ("T", "buy", ["short"]),
        ("M", "buy", ["long"]),
        ("M", "sell", ["short"]),
        ("MT", "sell", ["long", "short"]),
        ("MT", "buy", ["short", "long"]),
    ],
)
def test_the_flag_names_taker_or_maker_and_direction_is_the_takers(
    flag: str, direction: str, closed: list[str]
) -> None:
    found = liquidations(records(VENUE, [notice(trade(flag, direction))]))
    assert [event.position for event in found] == closed
    assert {event.cause for event in found} == {"liquidation"}


def test_mt_is_two_liquidations_of_one_trade_with_two_ids_and_both_amounts() -> None:
    one, two = liquidations(records(VENUE, [notice(trade("MT", "sell"))]))
    assert one.event_id != two.event_id
    assert (one.notional_usd, two.notional_usd) == (490.0, 490.0)


def test_amount_is_usd_on_inverse_and_coins_on_linear_contracts_whatever_their_size() -> None:
    frames = [notice(trade("T", "sell")), notice(trade("T", "sell", 2, "BTC_USDC-PERPETUAL", amount=0.25))]
    for inverse_size, linear_size in ((1.0, 1.0), (10.0, 0.001)):
        catalogue = Catalogue(
            [
                Instrument(VENUE, "BTC-PERPETUAL", "BTC", inverse_size, "usd", "USD", "BTC"),
                Instrument(VENUE, "BTC_USDC-PERPETUAL", "BTC", linear_size, "base", "USDC", "USDC"),
            ]
        )
        batch = Normaliser(exchanges().values(), catalogue).normalise(
            [Frame(VENUE, "t", f.encode(), 0) for f in frames]
        )
        inverse, linear = liquidations(list(batch.records()))
        assert (inverse.quantity, inverse.notional_usd) == (490.0 / 61250.0, 490.0)
        assert (linear.quantity, linear.notional_usd) == (0.25, 0.25 * 61250.0)


def test_price_is_the_fill_and_the_feed_is_complete() -> None:
    (event,) = liquidations(records(VENUE, [notice(trade("T", "sell"))]))
    assert (event.price, event.price_kind, event.coverage, event.event_time, event.time_source) == (
        61250.0, "fill", "complete", T * 1_000_000, "venue",
    )  # fmt: skip


def test_an_unflagged_trade_is_an_ordinary_trade() -> None:
    (found,) = records(VENUE, [notice(trade(None, "sell"))])
    assert isinstance(found, Trade)
    assert (found.taker, found.price, found.notional_usd, found.trade_id) == ("sell", 61250.0, 490.0, "1")


def test_equal_fills_are_two_events_a_replayed_frame_and_the_history_add_none() -> None:
    one, two = trade("T", "sell", 1), trade("T", "sell", 2)
    live = liquidations(records(VENUE, [notice(one, two), notice(one, two)]))
    assert len({event.event_id for event in live}) == 2
    history = json.dumps({"jsonrpc": "2.0", "id": 9, "result": {"trades": [two, one], "has_more": False}})
    replayed = liquidations(records(VENUE, [history]))
    assert {event.event_id for event in replayed} == {event.event_id for event in live}
    assert all(event.backfill for event in replayed)
    assert not any(event.backfill for event in live)


def test_an_unknown_flag_costs_its_own_row() -> None:
    found = records(VENUE, [notice(trade("X", "sell"), trade("T", "sell", 2), trade("T", "hold", 3))])
    assert [event.position for event in liquidations(found)] == ["long"]
    assert sum(isinstance(record, DeadLetter) for record in found) == 2


def test_ticker_tells_mark_one_sided_open_interest_and_the_running_eight_hour_rate() -> None:
    mark, interest, funding = records(VENUE, [ticker("BTC-PERPETUAL", current_funding=0.00004, funding_8h=0.00002)])
    assert isinstance(mark, MarkPrice)
    assert (mark.price, mark.index_price) == (61250.0, 61240.0)
    assert isinstance(interest, OpenInterest)
    assert (interest.quantity, interest.notional_usd) == (20.0, 1225000.0)
    assert isinstance(funding, Funding)
    assert (funding.rate, funding.interval_hours, funding.next_time) == (0.00004, 8.0, None)


def test_options_are_no_perpetuals_and_are_ignored() -> None:
    found = records(VENUE, [ticker("BTC-25DEC26-60000-C"), notice(trade("T", "sell", symbol="BTC-25DEC26-60000-P"))])
    assert [record.what for record in found if isinstance(record, Control)] == ["ignored", "ignored"]


def test_test_request_is_answered_with_public_test() -> None:
    request = b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}'
    reply = DERIBIT.reply(request)
    assert reply is not None
    assert json.loads(reply)["method"] == "public/test"
    assert DERIBIT.reply(b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}') is None
    found = records(VENUE, [request, '{"jsonrpc":"2.0","id":1,"result":{"version":"1.2.26"}}'])
    assert [record.what for record in found if isinstance(record, Control)] == ["ping", "pong"]


def test_subscription_answers_by_id_and_an_empty_list_is_a_refusal() -> None:
    (connection,) = DERIBIT.connections(DERIBIT.production, snapshot(VENUE))
    heartbeat, *subscriptions = (json.loads(message) for message in connection.subscribe)
    assert heartbeat["method"] == "public/set_heartbeat"
    assert [s["params"]["channels"][0] for s in subscriptions] == [
        "trades.BTC-PERPETUAL.100ms", "ticker.BTC-PERPETUAL.100ms",
    ]  # fmt: skip
    assert connection.acknowledgements == len(subscriptions)
    for subscription in subscriptions:
        answer = {"jsonrpc": "2.0", "id": subscription["id"], "result": subscription["params"]["channels"]}
        assert DERIBIT.acknowledgement(json.dumps(answer).encode()) == Acknowledged()
        assert isinstance(DERIBIT.acknowledgement(json.dumps(answer | {"result": []}).encode()), Denied)
    assert (
        DERIBIT.acknowledgement(json.dumps({"jsonrpc": "2.0", "id": heartbeat["id"], "result": "ok"}).encode()) is None
    )
    assert DERIBIT.acknowledgement(b'{"jsonrpc":"2.0","id":10,"error":{"code":1,"message":"bad"}}') == Denied("bad")


def test_no_socket_carries_more_than_400_channels() -> None:
    many = [Instrument(VENUE, f"X{n}-PERPETUAL", "X", 1, "usd") for n in range(450)]
    connections = DERIBIT.connections(DERIBIT.production, many)
    channels = [[ch for m in c.subscribe[1:] for ch in json.loads(m)["params"]["channels"]] for c in connections]
    assert [len(c) for c in channels] == [400, 400, 100]
    assert len({c.feed for c in connections}) == 3


SOUND = notice(trade("T", "sell", 900), trade("MT", "buy", 910), trade("M", "buy", 920, "SOL_USDC-PERPETUAL"))
SAMPLES = [
    SOUND,
    notice(trade("T", "sell"), trade(None, "buy", 2), trade("MT", "sell", 3)),
    ticker("BTC-PERPETUAL", current_funding=0.1),
    ticker("BTC-25DEC26-60000-C"),
    json.dumps({"jsonrpc": "2.0", "result": {"trades": [trade("T", "sell")]}}),
    '{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}',
    '{"jsonrpc":"2.0","id":10,"result":["trades.BTC-PERPETUAL.100ms"]}',
]


@settings(max_examples=150, deadline=None)
@given(runs([sample.encode() for sample in SAMPLES]))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless(VENUE, snapshot(VENUE), SOUND.encode(), hostile)


def test_every_recorded_line_is_understood_but_the_documented_trade_that_names_no_instrument(
    shared: Callable[[str], Path],
) -> None:
    for file in sorted(shared("captures/deribit").glob("*.jsonl")):
        lines = file.read_bytes().splitlines()
        letters = [record for record in records(VENUE, lines) if isinstance(record, DeadLetter)]
        if file.name == "trade_liquidation.doc.jsonl":
            assert [letter.raw for letter in letters] == lines
            assert "instrument_name" in letters[0].reason
        else:
            assert letters == []


def test_the_documented_liquidation_closes_a_short_once_its_instrument_is_named(shared: Callable[[str], Path]) -> None:
    documented = json.loads(shared("captures/deribit/trade_liquidation.doc.jsonl").read_bytes())
    (event,) = liquidations(records(VENUE, [json.dumps(documented | {"instrument_name": "BTC-PERPETUAL"})]))
    assert (event.position, event.quantity, event.notional_usd, event.price, event.price_kind, event.event_time) == (
        "short", 20 / 8960, 20.0, 8960.0, "fill", 1590484513004000000,
    )  # fmt: skip


def test_metadata_lists_linear_perpetuals_counted_in_coins(shared: Callable[[str], Path]) -> None:
    told = {
        i.instrument: i
        for i in DERIBIT.metadata(shared("captures/deribit/rest_instruments_usdc_2022.jsonl").read_bytes())
    }
    assert told["SOL_USDC-PERPETUAL"] == Instrument(
        VENUE, "SOL_USDC-PERPETUAL", "SOL", 1.0, "base", "USDC", "USDC", 0.01
    )
