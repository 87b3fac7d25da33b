"""Hyperliquid: what is proven by fills, what is guessed from trades, and what proves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from connectors.exchange import Acknowledged, Denied
from connectors.exchanges.hyperliquid import Hyperliquid
from connectors.instruments import snapshot
from schemas.instruments import Instrument
from schemas.records import AccountEvent, Control, DeadLetter, Funding, Liquidation, MarkPrice, OpenInterest, Trade
from tests.conftest import Read
from tests.connectors.exchanges.hostile import assert_harmless, runs

MS = 1_000_000
ETH = Instrument("hyperliquid", "ETH", "ETH", 1.0, "base", "USD", "USDC", number="0")
KPEPE = Instrument("hyperliquid", "kPEPE", "kPEPE", 1.0, "base", "USD", "USDC", number="1")
STOCK = Instrument("hyperliquid", "xyz:ACME", "ACME", 1.0, "base", "USD", "USDC", number="xyz:0")
KNOWN = [ETH, KPEPE, STOCK]

VAULT = "0x2ed5c4484ea3ff8b57d5f2fb152a40d9f2b68308"
OTHER_VAULT = "0xb0a55f13d22f66e6d495ac98113841b2326e9540"
VICTIM = "0x" + "a1" * 20
MAKER = "0x" + "b2" * 20
ZERO = "0x" + "0" * 64


def trade(buyer: str = MAKER, seller: str = VICTIM, tid: int = 77, **fields: Any) -> dict[str, Any]:
    return {"coin": "ETH", "side": "A", "px": "3000", "sz": "2", "time": 1790000000123, "hash": "0x" + "c3" * 32,
            "tid": tid, "users": [buyer, seller]} | fields  # fmt: skip


def trades(*rows: Any) -> str:
    return json.dumps({"channel": "trades", "data": list(rows)})


def fill(method: str | None = "market", tid: int = 77, **fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"coin": "ETH", "px": "3000", "sz": "2", "side": "A", "time": 1790000000123,
           "startPosition": "2", "dir": "Close Long", "hash": "0x" + "c3" * 32, "oid": 5, "crossed": True, "fee": "1",
           "tid": tid}  # fmt: skip
    if method:
        row["liquidation"] = {"liquidatedUser": VICTIM, "markPx": "3001", "method": method}
    return row | fields


COUNTERPARTY = {"side": "B", "startPosition": "0", "dir": "Open Long", "crossed": False}
"""The same trade on the stream of the one who bought."""


def user_fills(*rows: Any, user: str = VICTIM, snapshot: bool = False) -> str:
    return json.dumps({"channel": "userFills", "data": {"user": user, "isSnapshot": snapshot, "fills": list(rows)}})


def forced(records: list[Any]) -> list[Liquidation]:
    return [r for r in records if isinstance(r, Liquidation)]


def test_a_trade_without_a_liquidator_vault_is_a_trade(read: Read) -> None:
    (record,) = read("hyperliquid", [trades(trade())], KNOWN)
    assert isinstance(record, Trade)
    assert (record.taker, record.notional_usd, record.trade_id) == ("sell", 6000.0, "77")
    assert record.event_time == 1790000000123 * MS


def test_a_zero_hash_proves_nothing(read: Read) -> None:
    (record,) = read("hyperliquid", [trades(trade(hash=ZERO))], KNOWN)
    assert isinstance(record, Trade)


def test_a_vault_that_buys_took_over_the_sellers_long_and_the_cause_stays_unknown(read: Read) -> None:
    bought, sold = read(
        "hyperliquid", [trades(trade(buyer=VAULT), trade(seller=VAULT.upper().replace("X", "x"), tid=78))], KNOWN
    )
    assert isinstance(bought, Liquidation)
    assert (bought.position, sold.position) == ("long", "short")
    assert {bought.cause, sold.cause} == {"unknown"}
    assert {bought.coverage, sold.coverage} == {"partial"}
    assert (bought.quantity, bought.price, bought.price_kind, bought.notional_usd) == (2.0, 3000.0, "fill", 6000.0)


def test_a_trade_between_two_vaults_closed_nobody(read: Read) -> None:
    (record,) = read("hyperliquid", [trades(trade(VAULT, OTHER_VAULT))], KNOWN)
    assert isinstance(record, Trade)


def test_equal_trades_with_two_ids_are_two_events_and_a_replayed_frame_adds_none(read: Read) -> None:
    pair = trades(trade(buyer=VAULT), trade(buyer=VAULT, tid=78))
    once = [r.event_id for r in read("hyperliquid", [pair], KNOWN)]
    assert len(set(once)) == 2
    assert [r.event_id for r in read("hyperliquid", [pair, pair], KNOWN)] == once * 2


def test_an_own_liquidation_closed_by_selling_a_long(read: Read) -> None:
    event, account = read("hyperliquid", [user_fills(fill())], KNOWN)
    assert (event.position, event.cause, event.price_kind, event.coverage) == ("long", "liquidation", "fill", "partial")
    assert (event.quantity, event.notional_usd, event.event_time) == (2.0, 6000.0, 1790000000123 * MS)
    assert isinstance(account, AccountEvent)
    assert (account.event, account.position, account.state, account.order_side) == (
        "liquidation",
        "long",
        "flat",
        "sell",
    )


def test_on_the_counterpartys_fill_the_side_is_inverted_and_it_is_not_its_own_liquidation(read: Read) -> None:
    event, account = read("hyperliquid", [user_fills(fill(**COUNTERPARTY), user=MAKER)], KNOWN)
    assert (event.position, event.cause) == ("long", "liquidation")
    assert (account.event, account.position, account.remaining) == ("fill", None, 2.0)


def test_both_parties_tell_one_event(read: Read) -> None:
    own = forced(read("hyperliquid", [user_fills(fill())], KNOWN))
    other = forced(read("hyperliquid", [user_fills(fill(**COUNTERPARTY), user=MAKER)], KNOWN))
    node = forced(read("hyperliquid", [json.dumps([MAKER, fill(**COUNTERPARTY)])], KNOWN))
    assert own[0].event_id == other[0].event_id == node[0].event_id


def test_addresses_are_compared_without_case(read: Read) -> None:
    _, account = read("hyperliquid", [user_fills(fill(), user=VICTIM.upper().replace("0X", "0x"))], KNOWN)
    assert account.event == "liquidation"


@pytest.mark.parametrize(
    ("fields", "event"),
    [({}, "liquidation"), (COUNTERPARTY, "fill"), ({"crossed": False, "side": "B", "dir": "Close Short"}, "fill")],
)
def test_where_no_account_is_named_the_taker_that_does_not_open_is_the_liquidated(
    read: Read, fields: dict[str, Any], event: str
) -> None:
    public, account = read("hyperliquid", [json.dumps({"channel": "user", "data": {"fills": [fill(**fields)]}})], KNOWN)
    assert (public.position, account.event) == ("long", event)
    assert ("not named" in account.detail) == (event == "liquidation")


def test_a_backstop_hands_the_position_over_at_a_takeover_price(read: Read) -> None:
    row = fill("backstop", side="B", dir="Liquidated Cross Long")
    event, account = read("hyperliquid", [user_fills(row, user=VAULT)], KNOWN)
    assert (event.position, event.cause, event.price_kind) == ("long", "backstop", "takeover")
    assert account.event == "fill"


@pytest.mark.parametrize(
    ("words", "position"), [("Liquidated Cross Long", "long"), ("Liquidated Isolated Short", "short")]
)
@pytest.mark.parametrize("side", ["A", "B"])
def test_the_words_of_dir_stand_above_the_side(read: Read, words: str, position: str, side: str) -> None:
    (event,) = read("hyperliquid", [json.dumps(fill("backstop", side=side, dir=words))], KNOWN)
    assert event.position == position


def test_auto_deleveraging_is_the_adl_of_the_fills_own_account(read: Read) -> None:
    row = fill("backstop", side="B", dir="Auto-Deleveraging", startPosition="-2")
    event, account = read("hyperliquid", [user_fills(row, user=MAKER)], KNOWN)
    assert (event.cause, event.position) == ("adl", "short")
    assert (account.event, account.position, account.state) == ("adl", "short", "flat")


def test_a_method_nobody_knows_is_of_unknown_cause(read: Read) -> None:
    (event,) = read("hyperliquid", [json.dumps([VICTIM, fill("auction")])], KNOWN)
    assert (event.cause, event.position) == ("unknown", "long")


def test_a_nodes_fills_are_anybodys_and_no_account_events(read: Read) -> None:
    pairs = [[VICTIM, fill()], [MAKER, fill(**COUNTERPARTY)], [MAKER, fill(None, 80)]]
    records = read("hyperliquid", [json.dumps({"block_number": 1, "events": pairs})], KNOWN)
    assert [type(r) for r in records] == [Liquidation, Liquidation, Control]
    assert records[0].event_id == records[1].event_id


def test_a_snapshot_of_fills_is_backfill(read: Read) -> None:
    event, _ = read("hyperliquid", [user_fills(fill(), snapshot=True)], KNOWN)
    assert event.backfill is True


def test_an_ordinary_own_fill_is_a_fill_and_tells_what_is_left(read: Read) -> None:
    (account,) = read("hyperliquid", [user_fills(fill(None, sz="0.1", startPosition="0.3", cloid="0xf"))], KNOWN)
    assert (account.event, account.position, account.client_id) == ("fill", None, "0xf")
    assert (account.state, account.remaining) == ("known", 0.2)


def test_a_liquidation_of_the_ledger_tells_each_position_it_held(read: Read) -> None:
    held = [{"coin": "ETH", "szi": "2.5"}, {"coin": "kPEPE", "szi": "-40"}]
    delta = {"type": "liquidation", "liquidatedNtlPos": "9", "accountValue": "1", "leverageType": "Cross",
             "liquidatedPositions": held}  # fmt: skip
    updates = [
        {"time": 1790000000123, "hash": "0x", "delta": delta},
        {"time": 1, "hash": "0x", "delta": {"type": "deposit"}},
    ]
    data = {"user": VICTIM, "nonFundingLedgerUpdates": updates}
    update = {"channel": "userNonFundingLedgerUpdates", "data": data}
    long, short, deposit = read("hyperliquid", [json.dumps(update)], KNOWN)
    assert (long.event, long.position, long.quantity, long.price) == ("liquidation", "long", 2.5, None)
    assert (short.position, short.quantity, short.event_time) == ("short", 40_000.0, 1790000000123 * MS)
    assert isinstance(deposit, Control)


def test_the_liquidation_user_event_has_no_coin_so_its_fills_tell(read: Read) -> None:
    told = {
        "lid": 9,
        "liquidator": VAULT,
        "liquidated_user": VICTIM,
        "liquidated_ntl_pos": "1",
        "liquidated_account_value": "1",
    }
    (control,) = read("hyperliquid", [json.dumps({"channel": "user", "data": {"liquidation": told}})], KNOWN)
    assert isinstance(control, Control)
    assert VICTIM in control.detail


CONTEXT = {"funding": "0.0000125", "openInterest": "500.5", "premium": None, "oraclePx": "3001", "markPx": "3000",
           "midPx": None}  # fmt: skip


def test_funding_is_hourly_and_open_interest_base_coins(read: Read) -> None:
    body = {"channel": "activeAssetCtx", "data": {"coin": "ETH", "ctx": CONTEXT}}
    price, funding, interest = read("hyperliquid", [json.dumps(body)], KNOWN, receive_time=1790000000000 * MS)
    assert isinstance(price, MarkPrice)
    assert (price.price, price.index_price, price.event_time) == (3000.0, 3001.0, 1790000000000 * MS)
    assert isinstance(funding, Funding)
    assert (funding.rate, funding.interval_hours, funding.annualised) == (0.0000125, 1.0, pytest.approx(0.1095))
    assert isinstance(interest, OpenInterest)
    assert (interest.quantity, interest.notional_usd) == (500.5, 500.5 * 3000)


def test_k_coins_are_thousands(read: Read) -> None:
    (event,) = read("hyperliquid", [trades(trade(buyer=VAULT, coin="kPEPE", sz="5000", px="0.01"))], KNOWN)
    assert (event.asset, event.quantity, event.price) == ("PEPE", 5_000_000.0, 0.00001)
    assert event.notional_usd == pytest.approx(50.0)


def test_contexts_of_all_dexes_are_matched_by_place_and_a_hip_3_coin_keeps_its_dex(read: Read) -> None:
    sparse = {"funding": "0.00001", "markPx": "20"}
    body = {"channel": "allDexsAssetCtxs", "data": {"ctxs": [["", [CONTEXT, CONTEXT, CONTEXT]], ["xyz", [sparse]]]}}
    records = read("hyperliquid", [json.dumps(body)], KNOWN)
    assert [(r.instrument, r.asset) for r in records if isinstance(r, MarkPrice)] == [
        ("ETH", "ETH"), ("kPEPE", "PEPE"), ("xyz:ACME", "ACME"),
    ]  # fmt: skip
    assert [r.instrument for r in records if isinstance(r, OpenInterest)] == ["ETH", "kPEPE"]
    assert isinstance(records[-1], Control)
    assert "1 markets" in records[-1].detail


def test_the_rest_contexts_are_matched_by_name_and_delisted_ones_skipped(read: Read) -> None:
    body = [{"universe": [{"name": "ETH"}, {"name": "OLD", "isDelisted": True}]}, [CONTEXT, CONTEXT]]
    control, *rest = read("hyperliquid", [json.dumps(body)], KNOWN)
    assert control.what == "metadata"
    assert [(type(r), r.instrument) for r in rest] == [(MarkPrice, "ETH"), (Funding, "ETH"), (OpenInterest, "ETH")]


def test_metadata_numbers_each_dex_by_place() -> None:
    main = {"universe": [{"name": "ETH", "szDecimals": 4}, {"name": "OLD", "isDelisted": True}, {"name": "kPEPE"}]}
    body = [main, None, {"universe": [{"name": "xyz:ACME"}]}]
    assert [(i.instrument, i.asset, i.number) for i in Hyperliquid().metadata(json.dumps(body).encode())] == [
        ("ETH", "ETH", "0"), ("kPEPE", "kPEPE", "2"), ("xyz:ACME", "ACME", "xyz:0"),
    ]  # fmt: skip


def test_every_coin_is_subscribed_and_the_socket_kept_alive_by_json_pings() -> None:
    venue = Hyperliquid()
    found, contexts = venue.connections(venue.production, KNOWN)
    assert found.url == "wss://api.hyperliquid.xyz/ws"
    assert json.loads(found.subscribe[2]) == {
        "method": "subscribe", "subscription": {"type": "trades", "coin": "xyz:ACME"},
    }  # fmt: skip
    assert (found.acknowledgements, contexts.carries_liquidations) == (3, False)
    assert found.heartbeat is not None
    assert (found.heartbeat.message, found.heartbeat.every) == ('{"method":"ping"}', 30.0)
    assert venue.acknowledgement(b'{"channel":"subscriptionResponse","data":{"method":"subscribe"}}') == Acknowledged()
    assert venue.acknowledgement(b'{"channel":"error","data":"Invalid"}') == Denied("Invalid")
    assert venue.acknowledgement(trades(trade()).encode()) is None


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"channel": "subscriptionResponse", "data": {"method": "subscribe"}}, "ack"),
        ({"channel": "error", "data": "Invalid subscription"}, "refused"),
        ({"channel": "pong"}, "pong"),
        ({"channel": "l2Book", "data": {}}, "ignored"),
        ({"universe": [{"name": "ETH"}]}, "metadata"),
        ([{"universe": []}, {"universe": []}], "metadata"),
    ],
)
def test_answers_and_known_channels_are_controls(read: Read, body: Any, what: str) -> None:
    (control,) = read("hyperliquid", [json.dumps(body)], KNOWN)
    assert isinstance(control, Control)
    assert control.what == what


def test_a_frame_nobody_knows_is_a_dead_letter_and_a_broken_row_costs_only_itself(read: Read) -> None:
    assert [type(r) for r in read("hyperliquid", ['{"channel":"x","data":1}', "[]", "4"], KNOWN)] == [DeadLetter] * 3
    assert [type(r) for r in read("hyperliquid", [trades(trade(px="much"), trade())], KNOWN)] == [DeadLetter, Trade]


def test_an_empty_context_is_told_to_be_empty(read: Read) -> None:
    (control,) = read(
        "hyperliquid", [json.dumps({"channel": "activeAssetCtx", "data": {"coin": "ETH", "ctx": {}}})], KNOWN
    )
    assert control.what == "ignored"


SOUND = user_fills(fill(), fill(tid=78, **COUNTERPARTY)).encode()
FRAMES = [SOUND, trades(trade(), trade(buyer=VAULT)).encode(), json.dumps([VICTIM, fill()]).encode(),
          json.dumps({"channel": "activeAssetCtx", "data": {"coin": "ETH", "ctx": CONTEXT}}).encode(),
          json.dumps({"channel": "allDexsAssetCtxs", "data": {"ctxs": [["", [CONTEXT]]]}}).encode(),
          json.dumps([{"universe": [{"name": "ETH"}]}, [CONTEXT]]).encode(),
          json.dumps({"type": "liquidation", "liquidatedPositions": [{"coin": "ETH", "szi": "1"}]}).encode(),
          ]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(hostile=runs(FRAMES))
def test_no_mutant_harms_a_sound_frame(hostile: list[bytes]) -> None:
    assert_harmless("hyperliquid", KNOWN, SOUND, hostile)


def test_recorded_fills_value_by_value(read: Read, shared: Callable[[str], Path]) -> None:
    """Of the four recorded fills only the second is the liquidated side; the others are counterparties."""
    lines = shared("captures/hyperliquid/user_fills_liquidation.jsonl").read_bytes().splitlines()
    for line, own in zip(lines, (False, True, False, False), strict=True):
        body = json.loads(line)
        told = body[1] if isinstance(body, list) else body["data"]["fills"][0] if "data" in body else body
        records = read("hyperliquid", [line], snapshot("hyperliquid"))
        (event,) = forced(records)
        sold = told["side"] == "A"
        assert event.position == ("long" if sold == own else "short")
        assert (event.cause, event.price_kind, event.coverage) == ("liquidation", "fill", "partial")
        assert (event.instrument, event.price, event.quantity) == (told["coin"], float(told["px"]), float(told["sz"]))
        assert event.notional_usd == pytest.approx(float(told["px"]) * float(told["sz"]), rel=1e-12)
        assert event.event_time == told["time"] * MS
        assert [r.event for r in records if isinstance(r, AccountEvent)] == (["fill"] if "data" in body else [])


def test_the_recorded_backstop_closed_a_long_at_a_takeover_price(read: Read, shared: Callable[[str], Path]) -> None:
    (line,) = shared("captures/hyperliquid/user_fills_backstop_trimmed.jsonl").read_bytes().splitlines()
    told = json.loads(line)
    (event,) = read("hyperliquid", [line], snapshot("hyperliquid"))
    assert (event.position, event.cause, event.price_kind) == ("long", "backstop", "takeover")
    assert (event.price, event.quantity) == (float(told["px"]), float(told["sz"]))
    assert event.event_time == told["time"] * MS


def test_recorded_places_and_names_agree(read: Read, shared: Callable[[str], Path]) -> None:
    """What the socket tells by place and REST by name is the same coin: the prices are of one order."""
    (by_place,) = shared("captures/hyperliquid/all_dexs_asset_ctxs.jsonl").read_bytes().splitlines()
    (by_name,) = shared("captures/hyperliquid/rest_meta_and_asset_ctxs.jsonl").read_bytes().splitlines()
    placed, named = (
        {
            r.instrument: r.price
            for r in read("hyperliquid", [line], snapshot("hyperliquid"))
            if isinstance(r, MarkPrice)
        }
        for line in (by_place, by_name)
    )
    assert set(named) == {"BTC", "ETH"}
    assert all(placed[coin] == pytest.approx(named[coin], rel=0.5) for coin in named)


def test_every_recorded_line_is_understood(read: Read, shared: Callable[[str], Path]) -> None:
    for path in sorted(shared("captures/hyperliquid").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            records = read("hyperliquid", [line], snapshot("hyperliquid"))
            assert records
            assert not [r for r in records if isinstance(r, DeadLetter)], line
