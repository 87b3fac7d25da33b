"""Hyperliquid: its texts, its signed actions, its price step."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from connectors.venues.hyperliquid_wire import fill, order_status, outcome, tick
from connectors.venues.signing import EthKey, hyperliquid_agent, signer_of
from connectors.venues.transport import Answer, Lost
from schemas.clock import SECOND, system_clock
from schemas.errors import UsageError
from tests.connectors.venues.benches import KEY, USER, bench


def statuses(*rows: Any) -> Answer:
    return Answer(200, {"status": "ok", "response": {"type": "order", "data": {"statuses": list(rows)}}})


def failed(text: str) -> Answer:
    return Answer(200, {"status": "err", "response": text})


@pytest.mark.parametrize(
    ("answer", "kind", "state"),
    [
        (statuses({"resting": {"oid": 7}}), "done", "open"),
        (statuses({"filled": {"oid": 7, "totalSz": "2", "avgPx": "3000.5"}}), "done", "filled"),
        (statuses({"filled": {"oid": 7, "totalSz": "1.5", "avgPx": "3000.5"}}), "done", "expired"),
        (statuses("success"), "done", "cancelled"),
        (statuses({"error": "Reduce only order would increase position."}), "refused", None),
        (failed("Invalid nonce: duplicate nonce 1790000000000"), "duplicate", None),
        (failed("Insufficient margin to place order."), "refused", None),
        (failed("Too many cumulative requests sent"), "throttled", None),
        (statuses(), "unknown", None),
        (Answer(200, {"status": "ok"}), "unknown", None),
        (Answer(502, None), "unknown", None),
        (Lost("ConnectError"), "unknown", None),
    ],
)
def test_outcomes_are_read_from_texts(answer: Answer | Lost, kind: str, state: str | None) -> None:
    found = outcome(answer, Decimal(2))
    assert (found.kind, found.state) == (kind, state)


def test_an_action_is_signed_as_the_vendor_signs_it() -> None:
    """The same key, action and nonce give the same signature as the vendor's own library."""
    key = EthKey(SecretStr("0x" + "0123456789" * 6 + "0123"))
    wire = {"a": 1, "b": True, "p": "100", "s": "100", "r": False, "t": {"limit": {"tif": "Gtc"}}}
    action = {"type": "order", "orders": [wire], "grouping": "na"}
    r, s, v = key.sign(hyperliquid_agent(action, 0, None, mainnet=True))
    assert (r, s, v) == (
        "0xd65369825a9df5d80099e513cce430311d7d26ddf477f5b3a33d2806b100d78e",
        "0x2b54116ff64054968aa237c20ca9ff68000f977c93289157748a3162b6ea940e",
        28,
    )
    assert key.sign(hyperliquid_agent(action, 0, None, mainnet=False))[0] != r
    assert key.sign(hyperliquid_agent(action, 1, None, mainnet=True))[0] != r
    assert key.sign(hyperliquid_agent(action, 0, 5, mainnet=True))[0] != r


def test_what_is_signed_is_what_is_sent() -> None:
    async def story() -> None:
        async with bench("hyperliquid") as b:
            now = system_clock()
            wanted = b.order("sell", "0.250", "2999.10", "post_only", reduce_only=True)
            body = msgspec.json.decode(b.port.prepare(wanted, now=now).body)
            wire = {
                "a": 0, "b": False, "p": "2999.1", "s": "0.25", "r": True, "t": {"limit": {"tif": "Alo"}},
                "c": f"0x{1:032x}",
            }  # fmt: skip
            assert body["action"] == {"type": "order", "orders": [wire], "grouping": "na"}
            assert (body["nonce"], body["expiresAfter"]) == (now // 10**6, (now + 10 * SECOND) // 10**6)
            signature = body["signature"]
            typed = hyperliquid_agent(body["action"], body["nonce"], body["expiresAfter"], mainnet=True)
            assert signer_of(typed, signature["r"], signature["s"], signature["v"]) == EthKey(KEY).address
            with pytest.raises(UsageError, match="no market orders"):
                b.port.prepare(b.order("sell", "1"), now=now)

    asyncio.run(story())


def test_a_builder_or_an_unknown_action_is_refused() -> None:
    async def story() -> None:
        async with bench("hyperliquid") as b:
            now = system_clock()
            action = {"type": "order", "orders": [b.port._wire(b.order("buy", "1", "3010"))], "grouping": "na"}
            paid = b.port._request({**action, "builder": {"b": "0xbb", "f": 10}}, "ETH", "x", now)
            assert "unknown ['builder']" in (await b.port.send(paid)).code
            approve = b.port._request({"type": "approveBuilderFee", "maxFeeRate": "0.1%"}, "ETH", "x", now)
            assert "no action 'approveBuilderFee'" in (await b.port.send(approve)).code
            assert b.venue.ledger.wallets["desk"].quantity("ETH") == 0

    asyncio.run(story())


@pytest.mark.parametrize(
    ("mark", "decimals", "step"),
    [("3000", 4, "0.1"), ("98765.4", 5, "1"), ("123456", 5, "1"), ("0.001234", 0, "0.000001"), ("12.5", 2, "0.001")],
)
def test_the_price_step_follows_the_price(mark: str, decimals: int, step: str) -> None:
    assert tick(Decimal(mark), decimals) == Decimal(step)


@pytest.mark.parametrize(
    ("status", "left", "state", "filled"),
    [
        ("open", "2", "open", "0"),
        ("open", "0.5", "partial", "1.5"),
        ("filled", "0.0", "filled", "2"),
        ("canceled", "0.5", "cancelled", "1.5"),
        ("reduceOnlyCanceled", "2", "cancelled", "0"),
        ("perpMarginRejected", "2", "rejected", "0"),
    ],
)
def test_states_of_orders(status: str, left: str, state: str, filled: str) -> None:
    row = {"coin": "ETH", "side": "A", "sz": left, "origSz": "2", "oid": 7, "cloid": "0x01"}
    found = order_status(row, status, 1_790_000_000_000)
    assert (found.state, found.filled, found.side) == (state, Decimal(filled), "sell")


def test_a_counterparty_of_a_liquidation_was_not_liquidated() -> None:
    row = {
        "coin": "ETH", "px": "3000", "sz": "2", "side": "B", "time": 1, "dir": "Open Long", "oid": 5, "crossed": False,
        "fee": "0.1", "tid": 9, "cloid": "0x07", "liquidation": {"liquidatedUser": "0xother", "method": "market"},
    }  # fmt: skip
    assert (fill(row, USER).cause, fill(row, USER).client_id) == ("order", "0x07")
    assert (fill(row, "0xOTHER").cause, fill(row, "0xOTHER").client_id) == ("liquidation", "")


def test_a_contract_of_thousands_is_refused() -> None:
    async def story() -> None:
        async with bench("hyperliquid") as b:
            pepe = next(iter(b.port._instruments.values()))
            scaled = type(pepe)("hyperliquid", "kPEPE", "kPEPE", 1.0, "base", number="1")
            with pytest.raises(UsageError, match="single coins"):
                type(b.port)(b.face.endpoints, USER, KEY, [scaled], system_clock)

    asyncio.run(story())
