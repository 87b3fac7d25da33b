"""How Aster words what it answers and tells: outcomes by its codes, orders, fills, positions."""

from __future__ import annotations

from typing import Any, Literal

from connectors.venues.transport import Answer, Lost, decimal, optional, troubled
from schemas.clock import MILLISECOND
from schemas.orders import Fill, Known, OrderState, OrderStatus, Outcome

_DUPLICATE = {-4116, -4225}
"""The client id is among the open orders; the nonce was used: it may be done already."""
_UNKNOWN = {-1000, -1001, -1006, -1007}
"""Internal errors and time-outs between the venue's own parts: the order may live."""
_THROTTLED = {-1003, -1015}
NO_ORDER = {-2011, -2013}
USED_NONCE = -4225

_STATES: dict[str, OrderState] = {
    "NEW": "open",
    "PARTIALLY_FILLED": "partial",
    "FILLED": "filled",
    "CANCELED": "cancelled",
    "EXPIRED": "expired",
    "REJECTED": "rejected",
}


def outcome(answer: Answer | Lost) -> Outcome:
    """What became of an order or cancel, from the venue's own codes."""
    trouble = troubled(answer)
    if trouble is not None:
        return trouble
    assert isinstance(answer, Answer)  # noqa: S101 - lost ones are trouble
    body = answer.body
    code = body.get("code") if isinstance(body, dict) else None
    if code is not None and code != 200:
        kind: Literal["duplicate", "unknown", "throttled", "refused"] = (
            "duplicate" if code in _DUPLICATE
            else "unknown" if code in _UNKNOWN
            else "throttled" if code in _THROTTLED
            else "refused"
        )  # fmt: skip
        return Outcome(kind=kind, code=f"{code} {body.get('msg', '')}".strip(), retry_after=answer.retry_after)
    if not isinstance(body, dict) or "orderId" not in body:
        return Outcome(kind="done" if code == 200 else "unknown", code="" if code == 200 else "no order in the answer")
    return order_status(body).outcome()


def order_status(row: dict[str, Any]) -> OrderStatus:
    """An order as REST tells it."""
    return OrderStatus(
        client_id=row["clientOrderId"],
        order_id=str(row["orderId"]),
        instrument=row["symbol"],
        side="buy" if row["side"] == "BUY" else "sell",
        state=_STATES[row["status"]],
        quantity=decimal(row["origQty"]),
        filled=decimal(row["executedQty"]),
        average_price=optional(row.get("avgPrice")),
        reduce_only=bool(row["reduceOnly"]),
        time=int(row["updateTime"]) * MILLISECOND,
    )


def forced_by(client_id: str, kind: str) -> Literal["order", "liquidation", "adl", "settlement"]:
    """Who sent an order, from its client id and type."""
    if client_id.startswith("adl_autoclose"):
        return "adl"
    if client_id.startswith("settlement_autoclose"):
        return "settlement"
    return "liquidation" if client_id.startswith("autoclose-") or kind == "LIQUIDATION" else "order"


def fill(row: dict[str, Any], order: dict[str, Any] | None) -> Fill:
    """A trade as REST tells it, with the order it was of."""
    client_id = order["clientOrderId"] if order is not None else ""
    cause = forced_by(client_id, order.get("origType", "")) if order is not None else "unknown"
    return Fill(
        trade_id=str(row["id"]),
        venue="aster",
        instrument=row["symbol"],
        order_id=str(row["orderId"]),
        client_id=client_id if cause == "order" else "",
        side="buy" if row["side"] == "BUY" else "sell",
        price=decimal(row["price"]),
        quantity=decimal(row["qty"]),
        # Their commission is what the balance changed by.
        fee=-decimal(row["commission"]),
        maker=bool(row["maker"]),
        cause=cause,
        time=int(row["time"]) * MILLISECOND,
    )


def position(row: dict[str, Any]) -> Known:
    """A position of one-way mode."""
    quantity = decimal(row["positionAmt"])
    if row.get("positionSide", "BOTH") != "BOTH":
        raise ValueError("the account is in hedge mode: set one-way mode")
    return Known(
        instrument=row["symbol"],
        quantity=quantity,
        entry_price=optional(row.get("entryPrice")),
        mark_price=optional(row.get("markPrice")),
        liquidation_price=optional(row.get("liquidationPrice")),
        leverage=optional(row.get("leverage")),
        margin=optional(row.get("isolatedMargin")),
    )


def updated(row: dict[str, Any]) -> list[Fill | OrderStatus]:
    """The fill and the order of an ORDER_TRADE_UPDATE."""
    cause = forced_by(row["c"], row["o"])
    client_id = row["c"] if cause == "order" else ""
    time = int(row["T"]) * MILLISECOND
    found: list[Fill | OrderStatus] = []
    quantity = decimal(row.get("l", "0"))
    if quantity:
        found.append(
            Fill(
                trade_id=str(row["t"]),
                venue="aster",
                instrument=row["s"],
                order_id=str(row["i"]),
                client_id=client_id,
                side="buy" if row["S"] == "BUY" else "sell",
                price=decimal(row["L"]),
                quantity=quantity,
                fee=decimal(row.get("n") or "0"),
                maker=bool(row.get("m")),
                cause=cause,
                time=time,
            )
        )
    if cause == "order" and row["X"] in _STATES:
        found.append(
            OrderStatus(
                client_id=client_id,
                order_id=str(row["i"]),
                instrument=row["s"],
                side="buy" if row["S"] == "BUY" else "sell",
                state=_STATES[row["X"]],
                quantity=decimal(row["q"]),
                filled=decimal(row["z"]),
                average_price=optional(row.get("ap")),
                reduce_only=bool(row.get("R")),
                time=time,
            )
        )
    return found
