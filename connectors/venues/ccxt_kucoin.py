"""KuCoin futures, classic account in one-way mode and cross margin, signed for by ccxt: the signature is a header.

Quantities on the wire are whole contracts. ccxt puts ``leverage`` 1 into each order; in cross margin the venue does
not use it. The venue changes no order and has no dead man's switch for futures, so ``modify`` and ``deadman`` are off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.exchange import Endpoints
from connectors.venues.ccxt_venue import (
    Ask,
    Cause,
    CcxtVenue,
    Codes,
    Market,
    OrderTable,
    PositionTable,
    dollars,
    ladder,
    positive,
    settles,
    side_of,
)
from connectors.venues.transport import decimal, plain
from schemas.clock import MILLISECOND, SECOND
from schemas.orders import BookLevel, Capabilities, ClientIdRule, Fill, Order, OrderStatus, Outcome

_PRIVATE = ("futuresPrivate",)
_PUBLIC = ("futuresPublic",)
_CAUSES: dict[str, Cause] = {
    "trade": "order",
    "liquid": "liquidation",
    "liquidation": "liquidation",
    "adl": "adl",
    "settlement": "settlement",
}

CAPABILITIES = Capabilities(
    venue="kucoin",
    client_id=ClientIdRule(form="text", limit=36, unique="open"),
    liquidation_stream=False,
    adl_stream=False,
    margin_stream=False,
    reduce_only="trim",
    post_only=True,
    modify=False,
    fence="none",
    validity=5 * SECOND,
    visibility=SECOND,
    deadman=False,
    funding_hours=8.0,
    requests_per_minute=600,
)
"""No stream of it is read here: forced closes show in polled fills.
The venue takes timestamps five seconds old. Uniqueness among open orders and the trimming are *assumed*."""


class Kucoin(CcxtVenue):
    """USDT-margined contracts."""

    ccxt_id = "kucoinfutures"
    production = Endpoints("wss://ws-api-futures.kucoin.com", "https://api-futures.kucoin.com")
    capabilities = CAPABILITIES
    options = {"uta": False, "partner": None}  # noqa: RUF012 - a table
    order_path = "/api/v1/orders"
    headers = frozenset({"Content-Type", "KC-API-KEY-VERSION", "KC-API-TIMESTAMP", "KC-API-SIGN"})
    credentials = frozenset({"KC-API-KEY", "KC-API-PASSPHRASE"})
    stripped = frozenset({"KC-API-PARTNER", "KC-API-PARTNER-SIGN", "KC-API-PARTNER-VERIFY"})
    fill_order = "orderId"
    codes = Codes(
        duplicate=frozenset({"126044", "126033"}),
        unknown=frozenset({"500000", "no code"}),
        throttled=frozenset({"429000", "1015"}),
        absent=frozenset({"100001", "126043"}),
    )
    states = {"open": "open", "filled": "filled", "cancelled": "cancelled"}  # noqa: RUF012 - a table
    orders = OrderTable("clientOid", "id", "side", "state", "size", "dealSize", "average", "reduceOnly", "updatedAt")
    positions_table = PositionTable(
        "currentQty", "avgEntryPrice", "markPrice", "liquidationPrice", "leverage", "posMargin"
    )

    def order_options(self, order: Order) -> dict[str, Any]:
        """See ``CcxtVenue``."""
        return {**super().order_options(order), "marginMode": "cross"}

    def order_fields(self, order: Order, market: Market) -> dict[str, Any]:
        """See ``CcxtVenue``."""
        fields: dict[str, Any] = {
            "clientOid": order.client_id,
            "side": order.side,
            "symbol": order.instrument,
            "type": "market" if order.price is None else "limit",
            "leverage": 1,
            "marginMode": "CROSS",
            "size": int(self.contracts(order, market)),
        }
        if order.price is not None:
            fields["price"] = plain(order.price)
            words: dict[str, dict[str, Any]] = {"ioc": {"timeInForce": "IOC"}, "post_only": {"postOnly": True}}
            fields |= words.get(order.time_in_force, {})
        return fields | ({"reduceOnly": True} if order.reduce_only else {})

    def cancel(self, market: Market, client_id: str, order_id: str, now: int) -> Ask:  # noqa: ARG002 - by its id
        """See ``CcxtVenue``."""
        fields = {"clientOid": client_id, "symbol": market.rules.instrument}
        return Ask("DELETE", _PRIVATE, "orders/client-order/{clientOid}", fields)

    def lookup(self, market: Market, client_id: str) -> Sequence[Ask]:  # noqa: ARG002 - the id is enough
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "orders/byClientOid", {"clientOid": client_id}),)

    def open_orders(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "orders", {"status": "active", "pageSize": self.page}),)

    def fills(self, market: Market, since: int) -> Ask:
        """See ``CcxtVenue``."""
        fields = {"symbol": market.rules.instrument, "startAt": since // MILLISECOND, "pageSize": self.page}
        return Ask("GET", _PRIVATE, "fills", fields)

    def history(self, market: Market) -> Ask | None:
        """See ``CcxtVenue``."""
        fields = {"symbol": market.rules.instrument, "status": "done", "pageSize": self.page}
        return Ask("GET", _PRIVATE, "orders", fields)

    def positions(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "positions"),)

    def balance(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "account-overview", {"currency": settles(markets)[0]}),)

    def book(self, market: Market) -> tuple[Ask, Ask]:
        """See ``CcxtVenue``."""
        fields = {"symbol": market.rules.instrument}
        return (
            Ask("GET", _PUBLIC, "level2/depth20", fields),
            Ask("GET", _PUBLIC, "mark-price/{symbol}/current", fields),
        )

    def word(self, body: Any) -> tuple[str, str]:
        """See ``CcxtVenue``."""
        code = body.get("code") if isinstance(body, dict) else None
        if code is None:
            return "no code", ""
        return ("", "") if code == "200000" else (str(code), str(body.get("msg", "")))

    def accepted(self, body: Any, markets: Mapping[str, Market]) -> Outcome:  # noqa: ARG002 - it tells no more
        """See ``CcxtVenue``. A cancel names only the client's id."""
        data = body["data"]
        if not data.keys() & {"orderId", "clientOid"}:
            raise ValueError(f"neither orderId nor clientOid in {sorted(data)}")
        return Outcome(kind="done", order_id=str(data.get("orderId") or ""))

    def inner(self, body: Any) -> Any:
        """See ``CcxtVenue``."""
        data = body["data"]
        return data["items"] if isinstance(data, dict) and "items" in data else data

    def order_status(self, row: Any, market: Market) -> OrderStatus:
        """See ``CcxtVenue``. What became of an order is told by what it traded."""
        size, dealt = decimal(row["size"]), decimal(row["dealSize"])
        state = "open" if row["isActive"] else "filled" if dealt == size else "cancelled"
        average = decimal(row["dealValue"]) / (dealt * market.contract) if dealt else None
        return super().order_status({**row, "state": state, "average": average}, market)

    def fill(self, row: Any, market: Market, client_id: str | None) -> Fill | None:
        """See ``CcxtVenue``. A fill has nanoseconds where everything else has milliseconds."""
        cause = _CAUSES.get(str(row["tradeType"]).lower(), "unknown")
        return Fill(
            trade_id=str(row["tradeId"]),
            venue=self.name,
            instrument=market.rules.instrument,
            order_id=str(row["orderId"]),
            client_id=client_id or "" if cause == "order" else "",
            side=side_of(row["side"]),
            price=decimal(row["price"]),
            quantity=decimal(row["size"]) * market.contract,
            fee=dollars(row["fee"], row["feeCurrency"]),
            maker=row["liquidity"] == "maker",
            cause=cause,
            time=int(row["tradeTime"]),
        )

    def hedged(self, row: Any) -> bool:
        """See ``CcxtVenue``."""
        return bool(row.get("positionSide", "BOTH") != "BOTH")

    def margin(self, body: Any) -> tuple[Decimal | None, Decimal | None]:
        """See ``CcxtVenue``."""
        return decimal(body["accountEquity"]), decimal(body["availableBalance"])

    def levels(self, body: Any, market: Market) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...], int]:
        """See ``CcxtVenue``."""
        return ladder(body["bids"], market), ladder(body["asks"], market), int(body["ts"])

    def mark(self, body: Any) -> Decimal | None:
        """See ``CcxtVenue``."""
        return positive(body["value"])
