"""Binance USD-M, signed for by ccxt: a form with its signature last.

Fees paid in BNB count as nothing: keep that switch off. Fills do not name the client's id, so they are joined with
the orders of the contract; who forced one is told by that id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.exchange import Endpoints
from connectors.venues.access import AccountModes
from connectors.venues.ccxt_venue import (
    Ask,
    CcxtVenue,
    Codes,
    Market,
    OrderTable,
    PositionTable,
    dollars,
    ladder,
    positive,
    side_of,
)
from connectors.venues.transport import decimal, plain
from schemas.clock import MILLISECOND, SECOND
from schemas.orders import BookLevel, Capabilities, ClientIdRule, Fill, Order, Outcome

_TIME_IN_FORCE = {"gtc": "GTC", "ioc": "IOC", "post_only": "GTX"}
_PRIVATE = ("fapiPrivate",)
_V3 = ("fapiPrivateV3",)
_PUBLIC = ("fapiPublic",)

CAPABILITIES = Capabilities(
    venue="binance_usdm",
    client_id=ClientIdRule(form="text", limit=36, unique="open"),
    liquidation_stream=True,
    adl_stream=True,
    margin_stream=True,
    reduce_only="trim",
    post_only=True,
    modify=True,
    fence="none",
    validity=2 * SECOND,
    visibility=SECOND,
    deadman=True,
    funding_hours=8.0,
    requests_per_minute=1200,
)
"""Validity is our ``recvWindow``. That a reduce-only order is trimmed is *assumed*."""


class Binance(CcxtVenue):
    """USDT- and USDC-margined contracts."""

    ccxt_id = "binanceusdm"
    production = Endpoints("wss://fstream.binance.com", "https://fapi.binance.com")
    capabilities = CAPABILITIES
    options = {"recvWindow": 2000, "broker": {}}  # noqa: RUF012 - a table
    order_path = "/fapi/v1/order"
    headers = frozenset({"Content-Type"})
    credentials = frozenset({"X-MBX-APIKEY"})
    signing_fields = frozenset({"timestamp", "recvWindow", "signature"})
    page = 1000
    fill_order = "orderId"
    codes = Codes(
        duplicate=frozenset({"-4116"}),
        unknown=frozenset({"-1000", "-1001", "-1006", "-1007", "-1008"}),
        throttled=frozenset({"-1003", "-1015"}),
        absent=frozenset({"-2011", "-2013"}),
    )
    states = {  # noqa: RUF012 - a table
        "NEW": "open",
        "PARTIALLY_FILLED": "partial",
        "FILLED": "filled",
        "CANCELED": "cancelled",
        "EXPIRED": "expired",
        "EXPIRED_IN_MATCH": "expired",
        "REJECTED": "rejected",
    }
    orders = OrderTable(
        "clientOrderId", "orderId", "side", "status", "origQty", "executedQty", "avgPrice", "reduceOnly", "updateTime"
    )
    positions_table = PositionTable(
        "positionAmt", "entryPrice", "markPrice", "liquidationPrice", None, "isolatedMargin"
    )

    def order_fields(self, order: Order, market: Market) -> dict[str, Any]:
        """See ``CcxtVenue``."""
        fields = {
            "symbol": order.instrument,
            "side": order.side.upper(),
            "type": "MARKET" if order.price is None else "LIMIT",
            "quantity": plain(self.contracts(order, market)),
            "newClientOrderId": order.client_id,
            "newOrderRespType": "RESULT",
        }
        if order.price is not None:
            fields |= {"price": plain(order.price), "timeInForce": _TIME_IN_FORCE[order.time_in_force]}
        return fields | ({"reduceOnly": "true"} if order.reduce_only else {})

    def cancel(self, market: Market, client_id: str, order_id: str, now: int) -> Ask:  # noqa: ARG002 - by its id
        """See ``CcxtVenue``."""
        return Ask("DELETE", _PRIVATE, "order", {"symbol": market.rules.instrument, "origClientOrderId": client_id})

    def modify(self, order: Order, market: Market) -> Ask | None:
        """See ``CcxtVenue``."""
        assert order.price is not None  # noqa: S101 - the port has refused it
        fields = {
            "symbol": order.instrument,
            "side": order.side.upper(),
            "origClientOrderId": order.client_id,
            "quantity": plain(self.contracts(order, market)),
            "price": plain(order.price),
        }
        return Ask("PUT", _PRIVATE, "order", fields)

    def lookup(self, market: Market, client_id: str) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        fields = {"symbol": market.rules.instrument, "origClientOrderId": client_id}
        return (Ask("GET", _PRIVATE, "order", fields),)

    def open_orders(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "openOrders"),)

    def fills(self, market: Market, since: int) -> Ask:
        """See ``CcxtVenue``."""
        fields = {"symbol": market.rules.instrument, "startTime": since // MILLISECOND, "limit": self.page}
        return Ask("GET", _PRIVATE, "userTrades", fields)

    def history(self, market: Market) -> Ask | None:
        """See ``CcxtVenue``."""
        return Ask("GET", _PRIVATE, "allOrders", {"symbol": market.rules.instrument, "limit": self.page})

    def positions(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("GET", _V3, "positionRisk"),)

    def balance(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("GET", _V3, "account"),)

    def modes(self, markets: Sequence[Market]) -> Ask | None:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return Ask("GET", _PRIVATE, "positionSide/dual")

    def modes_of(self, body: Any) -> AccountModes:
        """See ``CcxtVenue``. What the key may do is told elsewhere."""
        return AccountModes(one_way=not body["dualSidePosition"])

    def book(self, market: Market) -> tuple[Ask, Ask]:
        """See ``CcxtVenue``."""
        fields = {"symbol": market.rules.instrument}
        return Ask("GET", _PUBLIC, "depth", {**fields, "limit": 20}), Ask("GET", _PUBLIC, "premiumIndex", fields)

    def deadman(self, ttl: int, markets: Sequence[Market]) -> Sequence[Ask]:
        """See ``CcxtVenue``. Each contract has its own switch."""
        return [
            Ask(
                "POST",
                _PRIVATE,
                "countdownCancelAll",
                {"symbol": market.rules.instrument, "countdownTime": ttl // MILLISECOND},
            )
            for market in markets
        ]

    def word(self, body: Any) -> tuple[str, str]:
        """See ``CcxtVenue``."""
        if not isinstance(body, dict) or "code" not in body or body["code"] == 200:
            return "", ""
        return str(body["code"]), str(body.get("msg", ""))

    def accepted(self, body: Any, markets: Mapping[str, Market]) -> Outcome:
        """See ``CcxtVenue``."""
        return self.order_status(body, markets[body["symbol"]]).outcome()

    def fill(self, row: Any, market: Market, client_id: str | None) -> Fill | None:
        """See ``CcxtVenue``."""
        cause = forced_by(client_id)
        return Fill(
            trade_id=str(row["id"]),
            venue=self.name,
            instrument=market.rules.instrument,
            order_id=str(row["orderId"]),
            client_id=client_id or "" if cause == "order" else "",
            side=side_of(row["side"]),
            price=decimal(row["price"]),
            quantity=decimal(row["qty"]) * market.contract,
            # Documented with one sign and seen with the other; nobody is paid for taking.
            fee=abs(dollars(row["commission"], row["commissionAsset"])),
            maker=bool(row["maker"]),
            cause=cause,
            time=int(row["time"]) * MILLISECOND,
        )

    def hedged(self, row: Any) -> bool:
        """See ``CcxtVenue``."""
        return bool(row.get("positionSide", "BOTH") != "BOTH")

    def margin(self, body: Any) -> tuple[Decimal | None, Decimal | None]:
        """See ``CcxtVenue``."""
        return decimal(body["totalMarginBalance"]), decimal(body["availableBalance"])

    def levels(self, body: Any, market: Market) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...], int]:
        """See ``CcxtVenue``."""
        return ladder(body["bids"], market), ladder(body["asks"], market), int(body["T"]) * MILLISECOND

    def mark(self, body: Any) -> Decimal | None:
        """See ``CcxtVenue``."""
        return positive(body["markPrice"])


def forced_by(client_id: str | None) -> Any:
    """Who sent an order, from its client id; nobody knows where that was not found."""
    if client_id is None:
        return "unknown"
    for beginning, cause in (("autoclose-", "liquidation"), ("adl_auto", "adl"), ("settlement_auto", "settlement")):
        if client_id.startswith(beginning):
            return cause
    return "order"
