"""How Hyperliquid words what it answers and tells: outcomes by its texts, orders, fills, positions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from connectors.venues.transport import Answer, Lost, decimal, optional, troubled
from schemas.clock import MILLISECOND
from schemas.orders import Fill, Known, OrderState, OrderStatus, Outcome, OutcomeKind

SIDES: dict[str, Literal["buy", "sell"]] = {"B": "buy", "A": "sell"}
_ADL = "Auto-Deleveraging"
_SPENT_NONCE = "duplicate nonce"


def spent(text: str) -> bool:
    """Whether an error says that the nonce was used before."""
    return _SPENT_NONCE in text.lower()


def outcome(answer: Answer | Lost, quantity: Decimal | None = None) -> Outcome:
    """What became of an order, modification or cancel.

    :arg quantity: what was asked for, so that a fill can be told from a part of it.
    """
    trouble = troubled(answer)
    if trouble is not None:
        return trouble
    match answer.body if isinstance(answer, Answer) else None:
        case {"status": "ok", "response": {"data": {"statuses": [first, *_]}}}:
            return _first(first, quantity)
        case {"status": "ok", "response": {"type": "default"}}:
            return Outcome(kind="done")
        case {"status": "err", "response": str(text)}:
            return Outcome(kind=_kind(text), code=text)
        case body:
            return Outcome(kind="unknown", code=f"not understood: {str(body)[:100]}")


def _kind(text: str) -> OutcomeKind:
    words = text.lower()
    if spent(words):
        return "duplicate"
    return "throttled" if "too many" in words else "refused"


def _first(status: Any, quantity: Decimal | None) -> Outcome:
    match status:
        case "success":
            return Outcome(kind="done", state="cancelled")
        case {"resting": {"oid": oid}}:
            return Outcome(kind="done", order_id=str(oid), state="open")
        case {"filled": {"oid": oid, "totalSz": total, "avgPx": price}}:
            filled = decimal(total)
            state: OrderState | None = None if quantity is None else "filled" if filled >= quantity else "expired"
            return Outcome(kind="done", order_id=str(oid), state=state, filled=filled, average_price=decimal(price))
        case {"error": str(text)}:
            return Outcome(kind=_kind(text), code=text)
    return Outcome(kind="unknown", code=f"not understood: {str(status)[:100]}")


def _state(status: str, left: Decimal, whole: Decimal) -> OrderState:
    word = status.lower()
    if word.endswith("canceled") or word == "scheduledcancel":
        return "cancelled"
    if word.endswith("rejected"):
        return "rejected"
    if word == "filled":
        return "filled"
    if word in {"open", "triggered"}:
        return "partial" if left < whole else "open"
    raise ValueError(f"no order of this venue is {status!r}")


def order_status(row: dict[str, Any], status: str, time: int) -> OrderStatus:
    """An order; what is left of a filled one is 0, of a cancelled one what did not fill.

    :arg time: milliseconds.
    """
    left, whole = decimal(row["sz"]), decimal(row["origSz"])
    state = _state(status, left, whole)
    return OrderStatus(
        client_id=row.get("cloid") or "",
        order_id=str(row["oid"]),
        instrument=row["coin"],
        side=SIDES[row["side"]],
        state=state,
        quantity=whole,
        filled=whole if state == "filled" else whole - left,
        average_price=None,
        reduce_only=bool(row.get("reduceOnly")),
        time=time * MILLISECOND,
    )


def fill(row: dict[str, Any], user: str) -> Fill:
    """A fill of ``user``."""
    told = row.get("liquidation") or {}
    cause: Literal["order", "liquidation", "adl"] = "order"
    if row.get("dir") == _ADL:
        cause = "adl"
    elif str(told.get("liquidatedUser", "")).lower() == user.lower():
        cause = "liquidation"
    return Fill(
        trade_id=str(row["tid"]),
        venue="hyperliquid",
        instrument=row["coin"],
        order_id=str(row["oid"]),
        client_id=(row.get("cloid") or "") if cause == "order" else "",
        side=SIDES[row["side"]],
        price=decimal(row["px"]),
        quantity=decimal(row["sz"]),
        fee=decimal(row["fee"]),
        maker=not row["crossed"],
        cause=cause,
        time=int(row["time"]) * MILLISECOND,
    )


def position(row: dict[str, Any]) -> Known:
    """A position of ``clearinghouseState``."""
    quantity = decimal(row["szi"])
    leverage = row["leverage"]
    return Known(
        instrument=row["coin"],
        quantity=quantity,
        entry_price=optional(row.get("entryPx")),
        mark_price=decimal(row["positionValue"]) / abs(quantity),
        liquidation_price=optional(row.get("liquidationPx")),
        leverage=decimal(leverage["value"]),
        margin=decimal(row["marginUsed"]) if leverage["type"] == "isolated" else None,
    )


def tick(mark: Decimal, size_decimals: int) -> Decimal:
    """The price step at a mark: five significant figures, at most ``6 - size_decimals`` decimals, or any integer."""
    figures = Decimal(1).scaleb(mark.adjusted() - 4)
    return min(Decimal(1), max(figures, Decimal(1).scaleb(size_decimals - 6)))
