"""Bybit v5, unified account, linear contracts, signed for by ccxt: the signature is a header.

Bybit's dead man's switch counts from the loss of a private socket, not from a request: REST cannot arm it, so
``deadman`` is off.
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
    dollars,
    ladder,
    positive,
    settles,
    side_of,
)
from connectors.venues.transport import decimal, plain
from schemas.clock import MILLISECOND, SECOND
from schemas.orders import BookLevel, Capabilities, ClientIdRule, Fill, Order, Outcome

_PRIVATE = ("private",)
_PUBLIC = ("public",)
_PAGE = 50
"""The most rows of an answer about orders, and fewer than any other answer holds."""
_LINEAR = {"category": "linear"}
_CAUSES: dict[str, Cause] = {
    "Trade": "order",
    "BustTrade": "liquidation",
    "AdlTrade": "adl",
    "Settle": "settlement",
    "Delivery": "settlement",
}
_FORCED: dict[str, Cause] = {
    "CreateByLiq": "liquidation",
    "CreateByTakeOver_PassThrough": "liquidation",
    "CreateByAdl_PassThrough": "adl",
}

CAPABILITIES = Capabilities(
    venue="bybit",
    client_id=ClientIdRule(form="text", limit=36, unique="open"),
    liquidation_stream=True,
    adl_stream=True,
    margin_stream=False,
    reduce_only="trim",
    post_only=True,
    modify=True,
    fence="none",
    validity=2 * SECOND,
    visibility=SECOND,
    deadman=False,
    funding_hours=8.0,
    requests_per_minute=600,
)
"""Validity is our ``recvWindow``. Uniqueness among open orders and the trimming are *assumed*."""


class Bybit(CcxtVenue):
    """USDT- and USDC-margined contracts."""

    ccxt_id = "bybit"
    production = Endpoints("wss://stream.bybit.com", "https://api.bybit.com")
    capabilities = CAPABILITIES
    options = {  # noqa: RUF012 - a table
        "enableUnifiedMargin": False,
        "enableUnifiedAccount": True,
        "unifiedMarginStatus": 6,
        "recvWindow": 2000,
    }
    order_path = "/v5/order/create"
    headers = frozenset({"Content-Type", "X-BAPI-TIMESTAMP", "X-BAPI-RECV-WINDOW", "X-BAPI-SIGN"})
    credentials = frozenset({"X-BAPI-API-KEY"})
    stripped = frozenset({"Referer"})
    codes = Codes(
        duplicate=frozenset({"110072", "110030", "10014"}),
        unknown=frozenset({"10000", "10016", "10019", "-1"}),
        throttled=frozenset({"10006", "10018", "10429"}),
        absent=frozenset({"110001"}),
    )
    states = {  # noqa: RUF012 - a table
        "Created": "open",
        "New": "open",
        "PartiallyFilled": "partial",
        "Filled": "filled",
        "Cancelled": "cancelled",
        "PartiallyFilledCanceled": "cancelled",
        "Deactivated": "cancelled",
        "Rejected": "rejected",
        "Untriggered": "open",
        "Triggered": "open",
    }
    orders = OrderTable(
        "orderLinkId", "orderId", "side", "orderStatus", "qty", "cumExecQty", "avgPrice", "reduceOnly", "updatedTime"
    )
    positions_table = PositionTable("size", "avgPrice", "markPrice", "liqPrice", "leverage", "positionBalance")

    def order_options(self, order: Order) -> dict[str, Any]:
        """See ``CcxtVenue``. The word for it is said always."""
        options = super().order_options(order)
        return {**options, "timeInForce": "GTC"} if order.price and order.time_in_force == "gtc" else options

    def order_fields(self, order: Order, market: Market) -> dict[str, Any]:
        """See ``CcxtVenue``."""
        fields: dict[str, Any] = {
            **_LINEAR,
            "symbol": order.instrument,
            "side": order.side.capitalize(),
            "orderType": "Market" if order.price is None else "Limit",
            "qty": plain(self.contracts(order, market)),
            "orderLinkId": order.client_id,
        }
        if order.price is not None:
            word = {"gtc": "GTC", "ioc": "IOC", "post_only": "PostOnly"}[order.time_in_force]
            fields |= {"price": plain(order.price), "timeInForce": word}
        return fields | ({"reduceOnly": True} if order.reduce_only else {})

    def cancel(self, market: Market, client_id: str, order_id: str, now: int) -> Ask:  # noqa: ARG002 - by its id
        """See ``CcxtVenue``."""
        fields = {**_LINEAR, "symbol": market.rules.instrument, "orderLinkId": client_id}
        return Ask("POST", _PRIVATE, "v5/order/cancel", fields)

    def modify(self, order: Order, market: Market) -> Ask | None:
        """See ``CcxtVenue``."""
        assert order.price is not None  # noqa: S101 - the port has refused it
        fields = {
            **_LINEAR,
            "symbol": order.instrument,
            "orderLinkId": order.client_id,
            "qty": plain(self.contracts(order, market)),
            "price": plain(order.price),
        }
        return Ask("POST", _PRIVATE, "v5/order/amend", fields)

    def lookup(self, market: Market, client_id: str) -> Sequence[Ask]:
        """See ``CcxtVenue``. Living and just done, then older."""
        fields = {**_LINEAR, "symbol": market.rules.instrument, "orderLinkId": client_id}
        return [Ask("GET", _PRIVATE, path, fields) for path in ("v5/order/realtime", "v5/order/history")]

    def open_orders(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return [
            Ask("GET", _PRIVATE, "v5/order/realtime", {**_LINEAR, "settleCoin": coin, "openOnly": 0, "limit": _PAGE})
            for coin in settles(markets)
        ]

    def fills(self, market: Market, since: int) -> Ask:
        """See ``CcxtVenue``."""
        fields = {
            **_LINEAR,
            "symbol": market.rules.instrument,
            "startTime": since // MILLISECOND,
            "limit": self.page,
        }
        return Ask("GET", _PRIVATE, "v5/execution/list", fields)

    def positions(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return [
            Ask("GET", _PRIVATE, "v5/position/list", {**_LINEAR, "settleCoin": coin, "limit": 200})
            for coin in settles(markets)
        ]

    def balance(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "v5/account/wallet-balance", {"accountType": "UNIFIED"}),)

    def modes(self, markets: Sequence[Market]) -> Ask | None:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return Ask("GET", _PRIVATE, "v5/user/query-api")

    def modes_of(self, body: Any) -> AccountModes:
        """See ``CcxtVenue``. The position mode is each contract's: its position tells."""
        rights = body["permissions"]
        trades = not int(body["readOnly"]) and "Order" in rights.get("ContractTrade", ())
        return AccountModes(trades=trades, withdraws="Withdraw" in rights.get("Wallet", ()))

    def book(self, market: Market) -> tuple[Ask, Ask]:
        """See ``CcxtVenue``."""
        fields = {**_LINEAR, "symbol": market.rules.instrument}
        return (
            Ask("GET", _PUBLIC, "v5/market/orderbook", {**fields, "limit": 25}),
            Ask("GET", _PUBLIC, "v5/market/tickers", fields),
        )

    def word(self, body: Any) -> tuple[str, str]:
        """See ``CcxtVenue``."""
        code = body.get("retCode") if isinstance(body, dict) else None
        if code is None:
            return "-1", "no retCode"
        return ("", "") if code == 0 else (str(code), str(body.get("retMsg", "")))

    def accepted(self, body: Any, markets: Mapping[str, Market]) -> Outcome:  # noqa: ARG002 - it tells no more
        """See ``CcxtVenue``."""
        return Outcome(kind="done", order_id=str(body["result"]["orderId"]))

    def inner(self, body: Any) -> Any:
        """See ``CcxtVenue``.

        :raises ValueError: a page is missing.
        """
        result = body["result"]
        if "list" not in result:
            return result
        # A cursor stands there even after the last page: a short page is the last.
        if result.get("nextPageCursor") and len(result["list"]) >= _PAGE:
            raise ValueError(f"there is more than one page: {len(result['list'])} rows")
        return result["list"]

    def fill(self, row: Any, market: Market, client_id: str | None) -> Fill | None:  # noqa: ARG002 - told by the row
        """See ``CcxtVenue``. Funding comes as an execution too."""
        if row["execType"] in {"Funding", "SessionSettlePnL"}:
            return None
        cause = _FORCED.get(row.get("createType", "")) or _CAUSES.get(row["execType"], "unknown")
        return Fill(
            trade_id=str(row["execId"]),
            venue=self.name,
            instrument=market.rules.instrument,
            order_id=str(row["orderId"]),
            client_id=row["orderLinkId"] if cause == "order" else "",
            side=side_of(row["side"]),
            price=decimal(row["execPrice"]),
            quantity=decimal(row["execQty"]) * market.contract,
            fee=dollars(row["execFee"], row.get("feeCurrency") or market.settle),
            maker=bool(row["isMaker"]),
            cause=cause,
            time=int(row["execTime"]) * MILLISECOND,
        )

    def hedged(self, row: Any) -> bool:
        """See ``CcxtVenue``."""
        return bool(int(row.get("positionIdx", 0)))

    def signed(self, row: Any) -> Decimal:
        """See ``CcxtVenue``."""
        size = decimal(row["size"])
        return size and (size if side_of(row["side"]) == "buy" else -size)

    def margin(self, body: Any) -> tuple[Decimal | None, Decimal | None]:
        """See ``CcxtVenue``."""
        return decimal(body[0]["totalEquity"]), decimal(body[0]["totalAvailableBalance"])

    def levels(self, body: Any, market: Market) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...], int]:
        """See ``CcxtVenue``."""
        return ladder(body["b"], market), ladder(body["a"], market), int(body["ts"]) * MILLISECOND

    def mark(self, body: Any) -> Decimal | None:
        """See ``CcxtVenue``."""
        return positive(body[0]["markPrice"])
