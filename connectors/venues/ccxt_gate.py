"""Gate futures in single mode, signed for by ccxt: the signature is a header.

Quantities on the wire are signed contracts. Client ids begin with ``t-``; the venue documents no refusal of a second
order of the same id, so none is relied on, and finds an order by it only while it lives and shortly after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.exchange import Endpoints
from connectors.venues.access import AccountModes
from connectors.venues.ccxt_venue import (
    Ask,
    Cause,
    CcxtVenue,
    Codes,
    Market,
    OrderTable,
    PositionTable,
    ladder,
    positive,
    settles,
)
from connectors.venues.transport import decimal, plain
from schemas.clock import MILLISECOND, SECOND
from schemas.orders import BookLevel, Capabilities, ClientIdRule, Fill, Order, OrderState, OrderStatus, Outcome

_PRIVATE = ("private", "futures")
_PUBLIC = ("public", "futures")
_SENT_BY: dict[str, Cause] = {"liquidation": "liquidation", "auto_deleveraging": "adl", "insurance": "liquidation"}
_OWN = "t-"

CAPABILITIES = Capabilities(
    venue="gate",
    client_id=ClientIdRule(form="text", limit=28, prefix=_OWN, unique="none"),
    liquidation_stream=False,
    adl_stream=False,
    margin_stream=False,
    reduce_only="trim",
    post_only=True,
    modify=True,
    fence="none",
    validity=2 * SECOND,
    visibility=SECOND,
    deadman=True,
    funding_hours=8.0,
    requests_per_minute=600,
)
"""No stream of it is read here: forced closes show in polled fills.
Validity is the ``x-gate-exptime`` header of each order. Trimming is *assumed*."""


class Gate(CcxtVenue):
    """USDT-margined contracts."""

    ccxt_id = "gate"
    production = Endpoints("wss://fx-ws.gateio.ws", "https://api.gateio.ws")
    capabilities = CAPABILITIES
    options = {"unifiedAccount": False}  # noqa: RUF012 - a table
    order_path = "/api/v4/futures/usdt/orders"
    headers = frozenset({"Content-Type", "Timestamp", "SIGN", "X-Gate-Size-Decimal"})
    credentials = frozenset({"KEY"})
    stripped = frozenset({"X-Gate-Channel-Id"})
    codes = Codes(
        duplicate=frozenset(),
        unknown=frozenset({"INTERNAL", "SERVER_ERROR", "TOO_BUSY", "no label"}),
        throttled=frozenset({"TOO_MANY_REQUESTS", "TOO_FAST"}),
        absent=frozenset({"ORDER_NOT_FOUND", "CLIENT_ID_NOT_FOUND"}),
    )
    states = {}  # noqa: RUF012 - read from two fields
    orders = OrderTable("text", "id", "size", "status", "size", "left", "fill_price", "is_reduce_only", "create_time")
    positions_table = PositionTable("size", "entry_price", "mark_price", "liq_price", "leverage", "margin")

    def settle_id(self, market: Market) -> str:
        """See ``CcxtVenue``."""
        return market.settle.lower()

    def order_headers(self, now: int) -> tuple[tuple[str, str], ...]:
        """See ``CcxtVenue``."""
        return (("x-gate-exptime", str((now + self.capabilities.validity) // MILLISECOND)),)

    def order_fields(self, order: Order, market: Market) -> dict[str, Any]:
        """See ``CcxtVenue``. A market order is one at any price."""
        word = {"gtc": None, "ioc": "ioc", "post_only": "poc"}[order.time_in_force]
        fields: dict[str, Any] = {
            "contract": order.instrument,
            "size": int(_signed(order, self.contracts(order, market))),
            "price": plain(order.price) if order.price is not None else "0",
            "text": order.client_id,
        }
        if order.price is None or word is not None:
            fields["tif"] = word if order.price is not None else "ioc"
        return fields | ({"reduce_only": True} if order.reduce_only else {})

    def cancel(self, market: Market, client_id: str, order_id: str, now: int) -> Ask:  # noqa: ARG002 - by its id
        """See ``CcxtVenue``. The id is in the path: without it, the venue would cancel every order of the contract.

        :raises ValueError: the id is none of ours.
        """
        return Ask("DELETE", _PRIVATE, "{settle}/orders/{order_id}", self._one(market, client_id))

    def _one(self, market: Market, client_id: str) -> dict[str, Any]:
        if not client_id.startswith(_OWN):
            raise ValueError(f"a client id of Gate begins with {_OWN}: {client_id!r}")
        return {"settle": self.settle_id(market), "order_id": client_id}

    def modify(self, order: Order, market: Market) -> Ask | None:
        """See ``CcxtVenue``."""
        assert order.price is not None  # noqa: S101 - the port has refused it
        size = int(_signed(order, self.contracts(order, market)))
        fields = {**self._one(market, order.client_id), "size": size, "price": plain(order.price)}
        return Ask("PUT", _PRIVATE, "{settle}/orders/{order_id}", fields)

    def lookup(self, market: Market, client_id: str) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "{settle}/orders/{order_id}", self._one(market, client_id)),)

    def open_orders(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return [
            Ask("GET", _PRIVATE, "{settle}/orders", {"settle": coin.lower(), "status": "open", "limit": self.page})
            for coin in settles(markets)
        ]

    def fills(self, market: Market, since: int) -> Ask:
        """See ``CcxtVenue``."""
        fields = {
            "settle": self.settle_id(market),
            "contract": market.rules.instrument,
            "from": since // SECOND,
            "limit": self.page,
        }
        return Ask("GET", _PRIVATE, "{settle}/my_trades_timerange", fields)

    def positions(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return [Ask("GET", _PRIVATE, "{settle}/positions", {"settle": coin.lower()}) for coin in settles(markets)]

    def balance(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "{settle}/accounts", {"settle": settles(markets)[0].lower()}),)

    def modes(self, markets: Sequence[Market]) -> Ask | None:
        """See ``CcxtVenue``."""
        return self.balance(markets)[0]

    def modes_of(self, body: Any) -> AccountModes:
        """See ``CcxtVenue``."""
        return AccountModes(one_way=not body["in_dual_mode"])

    def book(self, market: Market) -> tuple[Ask, Ask]:
        """See ``CcxtVenue``."""
        fields = {"settle": self.settle_id(market), "contract": market.rules.instrument}
        return (
            Ask("GET", _PUBLIC, "{settle}/order_book", {**fields, "limit": 20}),
            Ask("GET", _PUBLIC, "{settle}/contracts/{contract}", fields),
        )

    def deadman(self, ttl: int, markets: Sequence[Market]) -> Sequence[Ask]:
        """See ``CcxtVenue``. Whole seconds, five at least."""
        seconds = max(5, -(-ttl // SECOND))
        return [
            Ask("POST", _PRIVATE, "{settle}/countdown_cancel_all", {"settle": coin.lower(), "timeout": seconds})
            for coin in settles(markets)
        ]

    def word(self, body: Any) -> tuple[str, str]:
        """See ``CcxtVenue``."""
        if isinstance(body, dict) and "label" in body:
            return str(body["label"]), str(body.get("message", ""))
        return ("", "") if isinstance(body, (dict, list)) else ("no label", "")

    def accepted(self, body: Any, markets: Mapping[str, Market]) -> Outcome:
        """See ``CcxtVenue``."""
        return self.order_status(body, markets[body["contract"]]).outcome()

    def instrument_of(self, row: Any) -> str:
        """See ``CcxtVenue``."""
        return str(row["contract"])

    def order_status(self, row: Any, market: Market) -> OrderStatus:
        """See ``CcxtVenue``. Side and what is filled are in the signs of size and what is left."""
        size, left = decimal(row["size"]), decimal(row["left"])
        filled = abs(size - left) * market.contract
        return OrderStatus(
            client_id=str(row["text"]),
            order_id=str(row["id"]),
            instrument=market.rules.instrument,
            side="buy" if size > 0 else "sell",
            state=_state(row, bool(filled)),
            quantity=abs(size) * market.contract,
            filled=filled,
            average_price=positive(row["fill_price"]),
            reduce_only=bool(row["is_reduce_only"]),
            time=int(decimal(row.get("finish_time") or row["create_time"]) * SECOND),
        )

    def fill(self, row: Any, market: Market, client_id: str | None) -> Fill | None:  # noqa: ARG002 - told by the row
        """See ``CcxtVenue``."""
        size, text = decimal(row["size"]), str(row["text"])
        return Fill(
            trade_id=str(row.get("trade_id") or row["id"]),
            venue=self.name,
            instrument=market.rules.instrument,
            order_id=str(row["order_id"]),
            client_id=text if text.startswith(_OWN) else "",
            side="buy" if size > 0 else "sell",
            price=decimal(row["price"]),
            quantity=abs(size) * market.contract,
            fee=decimal(row["fee"]),
            maker=row["role"] == "maker",
            cause=_SENT_BY.get(text, "order"),
            time=int(decimal(row["create_time"]) * SECOND),
        )

    def hedged(self, row: Any) -> bool:
        """See ``CcxtVenue``."""
        return bool(row.get("mode", "single") != "single")

    def margin(self, body: Any) -> tuple[Decimal | None, Decimal | None]:
        """See ``CcxtVenue``."""
        return decimal(body["total"]) + decimal(body["unrealised_pnl"]), decimal(body["available"])

    def levels(self, body: Any, market: Market) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...], int]:
        """See ``CcxtVenue``."""
        bids, asks = (ladder(body[name], market, "p", "s") for name in ("bids", "asks"))
        return bids, asks, int(decimal(body["current"]) * SECOND)

    def mark(self, body: Any) -> Decimal | None:
        """See ``CcxtVenue``."""
        return positive(body["mark_price"])


def _signed(order: Order, contracts: Decimal) -> Decimal:
    return contracts if order.side == "buy" else -contracts


def _state(row: Any, filled: bool) -> OrderState:
    if row["status"] == "open":
        return "partial" if filled else "open"
    return "filled" if row["finish_as"] == "filled" else "cancelled"
