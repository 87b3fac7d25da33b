"""How Lighter words what it answers and tells: outcomes by its codes, orders, trades, positions; its transactions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, Protocol

from msgspec import Struct

from connectors.venues.transport import Answer, Lost, decimal, optional, troubled
from schemas.clock import MILLISECOND
from schemas.errors import UsageError
from schemas.orders import Fill, Known, OrderState, OrderStatus, Outcome, OutcomeKind

CREATE, CANCEL, CANCEL_ALL, MODIFY = 14, 15, 16, 17
"""Transaction types."""
TIME_IN_FORCE = {"ioc": 0, "gtc": 1, "post_only": 2}
SCHEDULED, ABORTED = 1, 2
"""Of a cancel-all: at a time, or not after all."""
INVALID_NONCE = 21104
_DUPLICATE = {21728}
_THROTTLED = {23000}
_CAUSES: dict[str, Literal["liquidation", "adl"]] = {"liquidation": "liquidation", "deleverage": "adl"}


class LighterSigner(Protocol):
    """Signs for one account and API key. The venue's own signer is a native library and no part of this package."""

    def sign(self, kind: int, transaction: dict[str, Any]) -> str:
        """``tx_info``: the transaction with its signature, as JSON text. Deterministic, and without network."""

    def token(self, until: int) -> str:
        """What opens private queries and channels until then, seconds UTC."""


class LighterMarket(Struct, frozen=True):
    """How a contract is called and counted on the wire."""

    number: int
    size_decimals: int
    price_decimals: int

    def size(self, quantity: Decimal) -> int:
        """A quantity in the wire's units."""
        return _whole(quantity, self.size_decimals, "quantity")

    def price(self, price: Decimal) -> int:
        """A price in the wire's units."""
        return _whole(price, self.price_decimals, "price")


def _whole(number: Decimal, decimals: int, what: str) -> int:
    scaled = number.scaleb(decimals)
    if scaled != scaled.to_integral_value() or scaled <= 0:
        raise UsageError(f"{what} {number} has more than {decimals} decimals, or is not positive: round it first")
    return int(scaled)


def code_of(answer: Answer | Lost) -> int | None:
    """The venue's own code."""
    if isinstance(answer, Answer) and isinstance(answer.body, dict):
        code = answer.body.get("code")
        return code if isinstance(code, int) else None
    return None


def outcome(answer: Answer | Lost) -> Outcome:
    """What became of a transaction. 200 says only that it was taken in; the stream tells what came of it."""
    trouble = troubled(answer)
    if trouble is not None:
        return trouble
    code = code_of(answer)
    if code is None:
        return Outcome(kind="unknown", code="no code in the answer")
    if code == 200:
        return Outcome(kind="done")
    kind: OutcomeKind = "duplicate" if code in _DUPLICATE else "throttled" if code in _THROTTLED else "refused"
    message = answer.body.get("message", "") if isinstance(answer, Answer) else ""
    return Outcome(kind=kind, code=f"{code} {message}".strip())


def _state(status: str, filled: Decimal) -> OrderState:
    if status.startswith("canceled"):
        return "cancelled"
    if status == "filled":
        return "filled"
    if status in {"open", "pending", "in-progress"}:
        return "partial" if filled else "open"
    raise ValueError(f"no order of this venue is {status!r}")


def order_status(row: dict[str, Any], instrument: str) -> OrderStatus:
    """An order."""
    filled = decimal(row["filled_base_amount"])
    quote = optional(row.get("filled_quote_amount"))
    return OrderStatus(
        client_id=str(row["client_order_index"]),
        order_id=str(row["order_index"]),
        instrument=instrument,
        side="sell" if row["is_ask"] else "buy",
        state=_state(row["status"], filled),
        quantity=decimal(row["initial_base_amount"]),
        filled=filled,
        average_price=quote / filled if filled and quote is not None else None,
        reduce_only=bool(row["reduce_only"]),
        time=int(row["timestamp"]) * MILLISECOND,
    )


def fill(row: dict[str, Any], instrument: str, account: int) -> Fill:
    """A trade of ``account``: which side was ours, and whether the venue closed us.

    In a liquidation the taker is the one liquidated; a deleverage closes both.
    """
    sold = row["ask_account_id"] == account
    maker = bool(row["is_maker_ask"]) == sold
    cause: Literal["order", "liquidation", "adl"] = _CAUSES.get(row["type"], "order")
    if cause == "liquidation" and maker:
        cause = "order"
    side = "ask" if sold else "bid"
    number = row.get(f"{side}_client_id", 0)
    return Fill(
        trade_id=str(row["trade_id"]),
        venue="lighter",
        instrument=instrument,
        order_id=str(row[f"{side}_id"]),
        client_id=str(number) if number and cause == "order" else "",
        side="sell" if sold else "buy",
        price=decimal(row["price"]),
        quantity=decimal(row["size"]),
        # In millionths of the notional.
        fee=decimal(row["usd_amount"]) * int(row.get("maker_fee" if maker else "taker_fee") or 0) / 1_000_000,
        maker=maker,
        cause=cause,
        time=int(row["timestamp"]) * MILLISECOND,
    )


def position(row: dict[str, Any]) -> Known:
    """A position of an account."""
    quantity = decimal(row["position"]) * int(row["sign"])
    value = optional(row.get("position_value"))
    fraction = optional(row.get("initial_margin_fraction"))
    return Known(
        instrument=row["symbol"],
        quantity=quantity,
        entry_price=optional(row.get("avg_entry_price")),
        mark_price=abs(value / quantity) if value is not None else None,
        liquidation_price=optional(row.get("liquidation_price")),
        # The fraction is in percent.
        leverage=100 / fraction if fraction is not None else None,
    )
