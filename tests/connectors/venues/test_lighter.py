"""Lighter: its codes, its transactions, its numbers. Signed by a stand-in: the venue's signer is not shipped."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from connectors.simulator.trading import Window
from connectors.venues.lighter import LighterPort
from connectors.venues.lighter_keys import Learned
from connectors.venues.lighter_wire import LighterMarket, fill, order_status, outcome, position
from connectors.venues.transport import Answer, Lost
from schemas.clock import HOUR, MINUTE, system_clock
from schemas.errors import UsageError
from schemas.instruments import Instrument
from schemas.orders import ContractRules
from tests.connectors.venues.benches import FakeSigner, bench

ETH = Instrument("lighter", "ETH", "ETH", 1.0, "base", "USDC", "USDC", number="0")


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (Answer(200, {"code": 200, "tx_hash": "0x"}), "done", ""),
        (Answer(400, {"code": 21728, "message": "already exists"}), "duplicate", "21728 already exists"),
        (Answer(400, {"code": 21104, "message": "invalid nonce"}), "refused", "21104 invalid nonce"),
        (Answer(400, {"code": 21733}), "refused", "21733"),
        (Answer(400, {"code": 23000, "message": "slow down"}), "throttled", "23000 slow down"),
        (Answer(200, {}), "unknown", "no code in the answer"),
        (Answer(504, None), "unknown", "HTTP 504"),
        (Lost("ReadTimeout"), "unknown", "ReadTimeout"),
    ],
)
def test_outcomes_are_read_from_codes(answer: Answer | Lost, kind: str, code: str) -> None:
    found = outcome(answer)
    assert (found.kind, found.code) == (kind, code)


def transaction(body: bytes) -> tuple[int, dict[str, Any]]:
    fields = dict(parse_qsl(body.decode()))
    return int(fields["tx_type"]), json.loads(fields["tx_info"])


def test_the_wire_carries_whole_numbers_and_the_right_flags() -> None:
    async def story() -> None:
        async with bench("lighter") as b:
            now = system_clock()
            request = b.port.prepare(b.order("sell", "0.250", "2999.10", reduce_only=True, number=9), now=now)
            kind, told = transaction(request.body)
            del told["Sig"]
            assert (kind, told) == (
                14,
                {
                    "AccountIndex": 77, "ApiKeyIndex": 4, "MarketIndex": 0, "ClientOrderIndex": 9, "BaseAmount": 250,
                    "Price": 29991, "IsAsk": 1, "Type": 0, "TimeInForce": 0, "ReduceOnly": 1, "TriggerPrice": 0,
                    "OrderExpiry": 0, "ExpiredAt": (now + 10 * MINUTE) // 10**6, "Nonce": request.nonce,
                },
            )  # fmt: skip
            _, resting = transaction(b.port.prepare(b.order("buy", "1", "2900", "post_only"), now=now).body)
            assert (resting["TimeInForce"], resting["OrderExpiry"]) == (2, (now + 24 * HOUR) // 10**6)
            assert resting["Nonce"] == told["Nonce"] + 1

    asyncio.run(story())


def test_a_lost_transaction_costs_one_refusal_and_no_more() -> None:
    """The number after a lost one is too high: the client asks for the right one and goes on."""

    async def story() -> None:
        async with bench("lighter", Window(kind="lost_before", count=1), patience=0.3) as b:
            kinds = [(await b.send(b.order("buy", "1", "3010", number=n))).kind for n in (1, 2, 3)]
            assert kinds == ["unknown", "refused", "done"]

    asyncio.run(story())


def test_what_one_connection_sent_another_of_the_account_fences_by_the_key_it_was_signed_with() -> None:
    """Each key has numbers of its own: those of another would void, or prove, nothing."""

    async def story() -> None:
        async with bench("lighter") as b:
            known = Learned()
            first, second = (
                LighterPort(b.face.endpoints, 77, number, FakeSigner(), [ETH], system_clock, timeout=0.3, learned=known)
                for number in (4, 5)
            )
            assert isinstance(await first.rules("ETH"), ContractRules)
            assert [key.nonce for key in known.keys.values()] == [1, 1]
            for number in (7, 8, 9):
                await second.send(second.prepare(b.order("buy", "1", "2900", "gtc", number=number), now=system_clock()))
            lost = first.prepare(b.order("buy", "1", "3010"), now=system_clock())
            assert await second.fence(lost) == "voided"
            assert (await second.send(lost)).kind == "duplicate"
            assert b.venue.ledger.wallets["desk"].quantity("ETH") == 0
            known.keys.pop(4)
            assert await second.fence(lost) == "unknown"
            for port in (first, second):
                await port.close()

    asyncio.run(story())


def test_an_integrator_or_a_changed_transaction_is_refused() -> None:
    async def story() -> None:
        async with bench("lighter") as b:
            extra = {"MarketIndex": 0, "Index": 5, "IntegratorAccountIndex": 718718}
            paid = b.port._request(15, extra, "ETH", "5", system_clock())
            assert "unknown ['IntegratorAccountIndex']" in (await b.port.send(paid)).code
            register = b.port._request(8, {}, "ETH", "5", system_clock())
            assert "transaction type 8" in (await b.port.send(register)).code
            good = b.port.prepare(b.order("buy", "1", "3010"), now=system_clock())
            forged = type(good)(
                **{
                    **{name: getattr(good, name) for name in good.__struct_fields__},
                    "body": good.body.replace(b"1000", b"9000"),
                }
            )
            assert "invalid signature" in (await b.port.send(forged)).code
            assert b.venue.ledger.wallets["desk"].quantity("ETH") == 0

    asyncio.run(story())


def test_what_has_too_many_decimals_is_not_sent() -> None:
    market = LighterMarket(0, 3, 1)
    assert (market.size(Decimal("0.25")), market.price(Decimal("2999.1"))) == (250, 29_991)
    for wrong in (
        lambda: market.size(Decimal("0.0005")),
        lambda: market.price(Decimal("1.23")),
        lambda: market.size(Decimal(0)),
    ):
        with pytest.raises(UsageError, match="round it first"):
            wrong()


TRADE = {
    "trade_id": 5, "type": "trade", "market_id": 0, "size": "2", "price": "3000", "usd_amount": "6000", "ask_id": 8,
    "bid_id": 9, "ask_client_id": 80, "bid_client_id": 90, "ask_account_id": 77, "bid_account_id": 1,
    "is_maker_ask": True, "taker_fee": 280, "maker_fee": 28, "timestamp": 1_790_000_000_123,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "side", "maker", "cause", "client_id", "fee"),
    [
        ({}, "sell", True, "order", "80", "0.168"),
        ({"is_maker_ask": False}, "sell", False, "order", "80", "1.68"),
        ({"ask_account_id": 1, "bid_account_id": 77}, "buy", False, "order", "90", "1.68"),
        ({"type": "liquidation"}, "sell", True, "order", "80", "0.168"),
        ({"type": "liquidation", "is_maker_ask": False}, "sell", False, "liquidation", "", "1.68"),
        ({"type": "deleverage"}, "sell", True, "adl", "", "0.168"),
    ],
)
def test_which_side_of_a_trade_was_ours(
    change: dict[str, Any], side: str, maker: bool, cause: str, client_id: str, fee: str
) -> None:
    found = fill({**TRADE, **change}, "ETH", 77)
    assert (found.side, found.maker, found.cause, found.client_id) == (side, maker, cause, client_id)
    assert found.fee == Decimal(fee)


@pytest.mark.parametrize(
    ("status", "filled", "state"),
    [
        ("open", "0", "open"),
        ("in-progress", "1", "partial"),
        ("filled", "2", "filled"),
        ("canceled-reduce-only", "0", "cancelled"),
    ],
)
def test_states_of_orders(status: str, filled: str, state: str) -> None:
    row = {
        "client_order_index": 5, "order_index": 6, "is_ask": True, "status": status, "initial_base_amount": "2",
        "filled_base_amount": filled, "filled_quote_amount": "3000.5", "reduce_only": 1, "timestamp": 1,
    }  # fmt: skip
    found = order_status(row, "ETH")
    assert (found.state, found.client_id, found.reduce_only) == (state, "5", True)
    assert found.average_price == (Decimal("3000.5") / Decimal(filled) if filled != "0" else None)


def test_a_position_is_signed() -> None:
    row = {"symbol": "ETH", "sign": -1, "position": "2", "position_value": "6000", "initial_margin_fraction": "10"}
    found = position(row)
    assert (found.quantity, found.mark_price, found.leverage) == (-2, 3000, 10)
