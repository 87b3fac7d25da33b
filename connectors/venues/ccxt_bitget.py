"""Bitget v2 futures in one-way mode and cross margin, signed for by ccxt: the signature is a header.

A lost request can run for half a minute: the venue takes timestamps as old as that and no expiry. It changes an order
only under a new id and has no dead man's switch, so ``modify`` and ``deadman`` are off.
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
from schemas.orders import BookLevel, Capabilities, ClientIdRule, Fill, Order, OrderStatus, Outcome

_PRIVATE = ("private", "mix")
_PUBLIC = ("public", "mix")
_FORCED: tuple[tuple[str, Cause], ...] = (
    ("burst", "liquidation"),
    ("reduce", "liquidation"),
    ("dte_sys_adl", "adl"),
    ("delivery", "settlement"),
)

CAPABILITIES = Capabilities(
    venue="bitget",
    client_id=ClientIdRule(form="text", limit=32, unique="open"),
    liquidation_stream=False,
    adl_stream=False,
    margin_stream=False,
    reduce_only="trim",
    post_only=True,
    modify=False,
    fence="none",
    validity=30 * SECOND,
    visibility=SECOND,
    deadman=False,
    funding_hours=8.0,
    requests_per_minute=600,
)
"""No stream of it is read here: forced closes show in polled fills.
Uniqueness among open orders and the trimming are *assumed*."""


class Bitget(CcxtVenue):
    """USDT- and USDC-margined contracts."""

    ccxt_id = "bitget"
    production = Endpoints("wss://ws.bitget.com", "https://api.bitget.com")
    capabilities = CAPABILITIES
    options = {"uta": False, "broker": None}  # noqa: RUF012 - a table
    order_path = "/api/v2/mix/order/place-order"
    headers = frozenset({"Content-Type", "ACCESS-SIGN", "ACCESS-TIMESTAMP"})
    credentials = frozenset({"ACCESS-KEY", "ACCESS-PASSPHRASE"})
    stripped = frozenset({"X-CHANNEL-API-CODE"})
    fill_order = "orderId"
    codes = Codes(
        duplicate=frozenset({"40786", "40708", "43118", "25212"}),
        unknown=frozenset({"40010", "40015", "40725", "45001", "50000", "no code"}),
        throttled=frozenset({"429", "30007", "40003"}),
        absent=frozenset({"40109", "40768", "43001"}),
    )
    states = {  # noqa: RUF012 - a table
        "init": "open",
        "new": "open",
        "live": "open",
        "partially_filled": "partial",
        "filled": "filled",
        "canceled": "cancelled",
    }
    orders = OrderTable(
        "clientOid", "orderId", "side", "state", "size", "baseVolume", "priceAvg", "reduceOnly", "uTime"
    )
    positions_table = PositionTable("total", "openPriceAvg", "markPrice", "liquidationPrice", "leverage", "marginSize")

    def order_options(self, order: Order) -> dict[str, Any]:
        """See ``CcxtVenue``."""
        return {**super().order_options(order), "marginMode": "cross"}

    def order_fields(self, order: Order, market: Market) -> dict[str, Any]:
        """See ``CcxtVenue``."""
        word = {"gtc": "GTC", "ioc": "IOC", "post_only": "post_only"}[order.time_in_force]
        fields = {
            "symbol": order.instrument,
            "productType": _product(market.settle),
            "marginMode": "crossed",
            "marginCoin": market.settle,
            "side": order.side,
            "orderType": "market" if order.price is None else "limit",
            "force": "GTC" if order.price is None else word,
            "size": plain(self.contracts(order, market)),
            "clientOid": order.client_id,
        }
        if order.price is not None:
            fields["price"] = plain(order.price)
        return fields | ({"reduceOnly": "YES"} if order.reduce_only else {})

    def _one(self, market: Market, client_id: str) -> dict[str, Any]:
        return {
            "symbol": market.rules.instrument,
            "productType": _product(market.settle),
            "clientOid": client_id,
        }

    def cancel(self, market: Market, client_id: str, order_id: str, now: int) -> Ask:  # noqa: ARG002 - by its id
        """See ``CcxtVenue``."""
        return Ask("POST", _PRIVATE, "v2/mix/order/cancel-order", self._one(market, client_id))

    def lookup(self, market: Market, client_id: str) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "v2/mix/order/detail", self._one(market, client_id)),)

    def open_orders(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return [
            Ask("GET", _PRIVATE, "v2/mix/order/orders-pending", {"productType": _product(coin), "limit": self.page})
            for coin in settles(markets)
        ]

    def fills(self, market: Market, since: int) -> Ask:
        """See ``CcxtVenue``."""
        fields = {
            "symbol": market.rules.instrument,
            "productType": _product(market.settle),
            "startTime": since // MILLISECOND,
            "limit": self.page,
        }
        return Ask("GET", _PRIVATE, "v2/mix/order/fills", fields)

    def history(self, market: Market) -> Ask | None:
        """See ``CcxtVenue``."""
        fields = {"symbol": market.rules.instrument, "productType": _product(market.settle), "limit": self.page}
        return Ask("GET", _PRIVATE, "v2/mix/order/orders-history", fields)

    def positions(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return [
            Ask(
                "GET",
                _PRIVATE,
                "v2/mix/position/all-position",
                {"productType": _product(coin), "marginCoin": coin},
            )
            for coin in settles(markets)
        ]

    def balance(self, markets: Sequence[Market]) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "v2/mix/account/accounts", {"productType": _product(settles(markets)[0])}),)

    def modes(self, markets: Sequence[Market]) -> Ask | None:
        """See ``CcxtVenue``."""
        market = markets[0]
        fields = {
            "symbol": market.rules.instrument,
            "productType": _product(market.settle),
            "marginCoin": market.settle,
        }
        return Ask("GET", _PRIVATE, "v2/mix/account/account", fields)

    def modes_of(self, body: Any) -> AccountModes:
        """See ``CcxtVenue``."""
        return AccountModes(one_way=body["posMode"] == "one_way_mode")

    def book(self, market: Market) -> tuple[Ask, Ask]:
        """See ``CcxtVenue``."""
        fields = {"symbol": market.rules.instrument, "productType": _product(market.settle)}
        return (
            Ask("GET", _PUBLIC, "v2/mix/market/merge-depth", {**fields, "limit": 15}),
            Ask("GET", _PUBLIC, "v2/mix/market/symbol-price", fields),
        )

    def word(self, body: Any) -> tuple[str, str]:
        """See ``CcxtVenue``."""
        code = body.get("code") if isinstance(body, dict) else None
        if code is None:
            return "no code", ""
        return ("", "") if code == "00000" else (str(code), str(body.get("msg", "")))

    def accepted(self, body: Any, markets: Mapping[str, Market]) -> Outcome:  # noqa: ARG002 - it tells no more
        """See ``CcxtVenue``."""
        return Outcome(kind="done", order_id=str(body["data"]["orderId"]))

    def inner(self, body: Any) -> Any:
        """See ``CcxtVenue``. An empty list is written as nothing."""
        data = body["data"]
        for name in ("entrustedList", "fillList"):
            if isinstance(data, dict) and name in data:
                return data[name] or []
        return data

    def order_status(self, row: Any, market: Market) -> OrderStatus:
        """See ``CcxtVenue``. Lists call the state ``status``."""
        return super().order_status({"state": row.get("status"), **row}, market)

    def fill(self, row: Any, market: Market, client_id: str | None) -> Fill | None:
        """See ``CcxtVenue``."""
        kind = str(row.get("tradeSide", ""))
        forced: list[Cause] = [cause for beginning, cause in _FORCED if kind.startswith(beginning)]
        cause: Cause = forced[0] if forced else "order"
        ours = row.get("clientOid") or client_id or ""
        return Fill(
            trade_id=str(row["tradeId"]),
            venue=self.name,
            instrument=market.rules.instrument,
            order_id=str(row["orderId"]),
            client_id=ours if cause == "order" else "",
            side=side_of(row["side"]),
            price=decimal(row["price"]),
            quantity=decimal(row["baseVolume"]) * market.contract,
            # Theirs is what the balance changed by.
            fee=-sum((dollars(f["totalFee"], f["feeCoin"]) for f in row["feeDetail"]), Decimal(0)),
            maker=row["tradeScope"] == "maker",
            cause=cause,
            time=int(row["cTime"]) * MILLISECOND,
        )

    def hedged(self, row: Any) -> bool:
        """See ``CcxtVenue``."""
        return bool(row.get("posMode", "one_way_mode") != "one_way_mode")

    def signed(self, row: Any) -> Decimal:
        """See ``CcxtVenue``."""
        size = decimal(row["total"])
        if row["holdSide"] not in {"long", "short"}:
            raise ValueError(f"a position is long or short: {row['holdSide']!r}")
        return size if row["holdSide"] == "long" else -size

    def margin(self, body: Any) -> tuple[Decimal | None, Decimal | None]:
        """See ``CcxtVenue``."""
        row = next(row for row in body if dollars(1, row["marginCoin"]))
        return decimal(row["accountEquity"]), decimal(row["crossedMaxAvailable"])

    def levels(self, body: Any, market: Market) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...], int]:
        """See ``CcxtVenue``."""
        return ladder(body["bids"], market), ladder(body["asks"], market), int(body["ts"]) * MILLISECOND

    def mark(self, body: Any) -> Decimal | None:
        """See ``CcxtVenue``."""
        return positive(body[0]["markPrice"])


def _product(settle: str) -> str:
    return f"{settle}-FUTURES"
