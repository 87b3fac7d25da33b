"""Extended: its codes, its Stark-signed settlements, its ids."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from connectors.venues import signing
from connectors.venues.extended_wire import StarkMarket, fill, outcome, position, salt_of, settlement
from connectors.venues.signing import StarkKey, stark_signed
from connectors.venues.transport import Answer, Lost
from schemas.clock import MINUTE, SECOND, system_clock
from schemas.errors import ExtraMissing, UsageError
from schemas.orders import Order
from tests.connectors.venues.benches import STARK, VAULT, bench


def failed(code: int, text: str = "") -> Answer:
    return Answer(400, {"status": "ERROR", "error": {"code": code, "message": text}})


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (Answer(200, {"status": "OK", "data": {"id": 7, "externalId": "a"}}), "done", ""),
        (Answer(200, {"status": "OK"}), "done", ""),
        (failed(1134, "Duplicate Order"), "duplicate", "1134 Duplicate Order"),
        (failed(1136), "refused", "1136"),
        (failed(1140, "no funds"), "refused", "1140 no funds"),
        (Answer(200, {"status": "?"}), "unknown", "not understood: {'status': '?'}"),
        (Answer(500, None), "unknown", "HTTP 500"),
        (Lost("ReadError"), "unknown", "ReadError"),
    ],
)
def test_outcomes_are_read_from_codes(answer: Answer | Lost, kind: str, code: str) -> None:
    found = outcome(answer)
    assert (found.kind, found.code) == (kind, code)


def order(side: Any, quantity: str, price: str) -> Order:
    return Order(
        venue="extended", instrument="BTC-USD", side=side, quantity=Decimal(quantity), price=Decimal(price),
        time_in_force="gtc", reduce_only=False, client_id="x",
    )  # fmt: skip


MARKET = StarkMarket("0x4254432d3600000000000000000000", Decimal(1_000_000), "0x1", Decimal(1_000_000))


@pytest.mark.parametrize(
    ("side", "amount", "cost"), [("buy", 1001, -43_511_116), ("sell", -1000, 43_511_115)]
)  # 0.0010005 x 43489.3706 is 43.5111152853
def test_amounts_are_rounded_against_a_buyer(side: str, amount: int, cost: int) -> None:
    moved = settlement(
        order(side, "0.0010005", "43489.3706"), MARKET, position=1, fee=Decimal("0.0005"), expires=0, salt=1, public=1
    )
    assert (moved.synthetic_amount, moved.collateral_amount, moved.fee_amount) == (amount, cost, 21_756)


def test_an_order_is_signed_as_the_vendor_signs_it() -> None:
    """The same key, market and order give the same hash and signature as the vendor's own library."""
    key = StarkKey(SecretStr("0x7a7ff6fd3cab02ccdcd4a572563f5976f8976899b03a39773795a3c486d4986"))
    collateral = "0x31857064564ed0ff978e687456963cba09c2c6985d8f9300a1de4962fafa054"
    market = StarkMarket(MARKET.synthetic, MARKET.synthetic_resolution, collateral, MARKET.collateral_resolution)
    moved = settlement(
        order("sell", "0.001", "43445.1168"), market, position=10_002, fee=Decimal("0.0005"),
        expires=1_704_420_537_000, salt=1_473_459_052, public=key.public,
    )  # fmt: skip
    digest = moved.digest("SN_SEPOLIA")
    assert digest == 529621978301228831750156704671293558063128025271079340676658105549022202327
    r, s = key.sign(digest)
    assert hex(r) == "0x3d17d8b9652e5f60d40d079653cfa92b1065ea8cf159609a3c390070dcd44f7"
    assert stark_signed(key.public, digest, r, s)
    assert not stark_signed(key.public, digest + 1, r, s)
    assert moved.digest("SN_MAIN") != digest


def test_the_wire_carries_what_was_signed_and_how_long_it_holds() -> None:
    async def story() -> None:
        async with bench("extended") as b:
            now = system_clock()
            quick = b.port.prepare(b.order("sell", "0.250", "2999.10", reduce_only=True), now=now)
            body = msgspec.json.decode(quick.body)
            assert {k: v for k, v in body.items() if k != "settlement"} == {
                "id": "bw1", "market": "ETH-USD", "type": "LIMIT", "side": "SELL", "qty": "0.25", "price": "2999.1",
                "reduceOnly": True, "postOnly": False, "timeInForce": "IOC",
                "expiryEpochMillis": (now + 30 * SECOND) // 10**6, "fee": "0.0005", "nonce": str(salt_of("bw1")),
                "selfTradeProtectionLevel": "ACCOUNT",
            }  # fmt: skip
            assert body["settlement"]["collateralPosition"] == str(VAULT)
            assert (quick.valid_until, quick.nonce) == (now + 30 * SECOND, None)
            resting = b.port.prepare(b.order("sell", "0.25", "2999.1", "post_only"), now=now)
            assert (msgspec.json.decode(resting.body)["postOnly"], resting.valid_until) == (True, now + 5 * MINUTE)

    asyncio.run(story())


def test_a_builder_fee_or_a_changed_order_is_refused() -> None:
    async def story() -> None:
        async with bench("extended") as b:
            good = b.port.prepare(b.order("buy", "1", "3010"), now=system_clock())
            body = msgspec.json.decode(good.body)
            for change in ({"builderFee": "0.0001"}, {"qty": "2"}, {"fee": "0.001"}):
                forged = msgspec.structs.replace(good, body=msgspec.json.encode({**body, **change}))
                assert (await b.port.send(forged)).kind == "refused"
            assert b.venue.ledger.wallets["desk"].quantity("ETH-USD") == 0
            assert [reason[:9] for reason in b.face.refused] == ["fields: u", "signature", "signature"]

    asyncio.run(story())


def test_without_rules_nothing_is_prepared() -> None:
    async def story() -> None:
        async with bench("extended") as b:
            b.port._markets.clear()
            with pytest.raises(UsageError, match="ask for its rules first"):
                b.port.prepare(b.order("buy", "1", "3010"), now=system_clock())

    asyncio.run(story())


def test_a_resting_order_ends_with_its_signature() -> None:
    async def story() -> None:
        async with bench("extended") as b:
            assert (await b.send(b.order("buy", "1", "2900", "gtc"))).kind == "done"
            b.venue.agenda.run_until(system_clock() + 4 * MINUTE)
            assert b.venue.desk.living("desk", "bw1") is not None
            b.venue.agenda.run_until(system_clock() + 6 * MINUTE)
            assert b.venue.desk.living("desk", "bw1") is None

    asyncio.run(story())


def test_trades_and_positions_are_read() -> None:
    row = {
        "id": 1, "market": "ETH-USD", "orderId": 2, "side": "SELL", "price": "3000", "qty": "2", "fee": "0.5",
        "isTaker": True, "tradeType": "DELEVERAGE", "createdTime": 1_790_000_000_123,
    }  # fmt: skip
    assert (fill(row, "bw1").cause, fill(row, "bw1").client_id) == ("adl", "")
    maker = fill({**row, "tradeType": "LIQUIDATION", "isTaker": False}, "bw1")
    assert (maker.cause, maker.client_id, maker.maker) == ("order", "bw1", True)
    held = position({"market": "ETH-USD", "side": "SHORT", "size": "0.3", "leverage": "10", "adl": 4})
    assert (held.quantity, held.adl_rank, held.entry_price) == (Decimal("-0.3"), 0.8, None)


def test_without_the_extra_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "HAVE_STARK", False)
    with pytest.raises(ExtraMissing, match="fast-stark-crypto is not installed"):
        StarkKey(STARK)
