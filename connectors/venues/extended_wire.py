"""How Extended words what it answers and tells: outcomes by its codes, orders, trades, positions, settlements."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_UP, Decimal
from hashlib import blake2b
from typing import Any, Literal

from msgspec import Struct

from connectors.venues.signing import Settlement
from connectors.venues.transport import Answer, Lost, decimal, optional, troubled
from schemas.clock import MILLISECOND
from schemas.orders import Fill, Known, Order, OrderState, OrderStatus, Outcome, OutcomeKind

_DUPLICATE = {1134}
_STATES: dict[str, OrderState] = {
    "NEW": "open",
    "UNTRIGGERED": "open",
    "PARTIALLY_FILLED": "partial",
    "FILLED": "filled",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
    "REJECTED": "rejected",
}
_CAUSES: dict[tuple[str, bool], Literal["liquidation", "adl"]] = {
    ("LIQUIDATION", True): "liquidation",
    ("DELEVERAGE", True): "adl",
    ("DELEVERAGE", False): "adl",
}
"""The maker a liquidated taker met is not the one liquidated."""


class StarkMarket(Struct, frozen=True):
    """How a contract is called and counted on the chain (``l2Config``)."""

    synthetic: str
    synthetic_resolution: Decimal
    collateral: str
    collateral_resolution: Decimal


def outcome(answer: Answer | Lost) -> Outcome:
    """What became of an order or cancel. The answer to an order says only that it was taken in."""
    trouble = troubled(answer)
    if trouble is not None:
        return trouble
    match answer.body if isinstance(answer, Answer) else None:
        case {"status": "OK", "data": {"id": number}}:
            return Outcome(kind="done", order_id=str(number))
        case {"status": "OK"}:
            return Outcome(kind="done")
        case {"status": "ERROR", "error": {"code": code, **rest}}:
            kind: OutcomeKind = "duplicate" if code in _DUPLICATE else "refused"
            return Outcome(kind=kind, code=f"{code} {rest.get('message', '')}".strip())
        case body:
            return Outcome(kind="unknown", code=f"not understood: {str(body)[:100]}")


def settlement(
    order: Order, market: StarkMarket, *, position: int, fee: Decimal, expires: int, salt: int, public: int
) -> Settlement:
    """What the order may move: rounded against the account when it buys, as the venue computes it too."""
    if order.price is None:
        raise ValueError("a settlement needs a price")
    buys = order.side == "buy"
    mode = ROUND_UP if buys else ROUND_DOWN
    worth = order.quantity * order.price
    amount = int((order.quantity * market.synthetic_resolution).to_integral_value(mode))
    cost = int((worth * market.collateral_resolution).to_integral_value(mode))
    paid = int((worth * fee * market.collateral_resolution).to_integral_value(ROUND_CEILING))
    return Settlement(
        position=position,
        synthetic=market.synthetic,
        synthetic_amount=amount if buys else -amount,
        collateral=market.collateral,
        collateral_amount=-cost if buys else cost,
        fee_amount=paid,
        expires=expires,
        salt=salt,
        public=public,
    )


def salt_of(client_id: str) -> int:
    """The same order is salted the same way: 31 bits, never 0."""
    return int.from_bytes(blake2b(client_id.encode(), digest_size=4).digest(), "big") % (2**31 - 1) + 1


def order_status(row: dict[str, Any]) -> OrderStatus:
    """An order."""
    return OrderStatus(
        client_id=row["externalId"],
        order_id=str(row["id"]),
        instrument=row["market"],
        side="buy" if row["side"] == "BUY" else "sell",
        state=_STATES[row["status"]],
        quantity=decimal(row["qty"]),
        filled=decimal(row.get("filledQty") or "0"),
        average_price=optional(row.get("averagePrice")),
        reduce_only=bool(row["reduceOnly"]),
        time=int(row["updatedTime"]) * MILLISECOND,
    )


def fill(row: dict[str, Any], client_id: str) -> Fill:
    """A trade of the account.

    :arg client_id: of its order, where known.
    """
    forced = _CAUSES.get((row["tradeType"], bool(row["isTaker"])))
    return Fill(
        trade_id=str(row["id"]),
        venue="extended",
        instrument=row["market"],
        order_id=str(row.get("orderId", "")),
        client_id=client_id if forced is None else "",
        side="buy" if row["side"] == "BUY" else "sell",
        price=decimal(row["price"]),
        quantity=decimal(row["qty"]),
        fee=decimal(row["fee"]),
        maker=not row["isTaker"],
        cause=forced or "order",
        time=int(row["createdTime"]) * MILLISECOND,
    )


def position(row: dict[str, Any]) -> Known:
    """A position. Its ADL rank is told from 1 to 5."""
    size = decimal(row["size"])
    rank = row.get("adl")
    return Known(
        instrument=row["market"],
        quantity=size if row["side"] == "LONG" else -size,
        entry_price=optional(row.get("openPrice")),
        mark_price=optional(row.get("markPrice")),
        liquidation_price=optional(row.get("liquidationPrice")),
        leverage=optional(row.get("leverage")),
        adl_rank=float(rank) / 5.0 if rank else None,
    )
