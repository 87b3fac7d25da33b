"""OKX v5 swaps in net mode and cross margin, signed for by ccxt: the signature is a header.

Quantities on the wire are contracts. Fills of the last three days are told.
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
    side_of,
)
from connectors.venues.transport import decimal, plain
from schemas.clock import HOUR, MILLISECOND, MINUTE, SECOND
from schemas.orders import BookLevel, Capabilities, ClientIdRule, Fill, Order, Outcome

_PRIVATE = ("private",)
_PUBLIC = ("public",)
_SWAP = {"instType": "SWAP"}
_LIQUIDATIONS = range(100, 108)
_DELEVERAGINGS = range(125, 129)
_DELIVERIES = range(112, 114)

CAPABILITIES = Capabilities(
    venue="okx",
    client_id=ClientIdRule(form="text", limit=32, unique="open"),
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
    requests_per_minute=600,
)
"""Client ids are letters and digits only. Validity is the ``expTime`` header of each order; cancels have none."""


class Okx(CcxtVenue):
    """USDT- and USDC-margined swaps."""

    ccxt_id = "okx"
    production = Endpoints("wss://ws.okx.com:8443", "https://www.okx.com")
    capabilities = CAPABILITIES
    options = {"createOrder": "privatePostTradeOrder", "brokerId": None}  # noqa: RUF012 - a table
    order_path = "/api/v5/trade/order"
    reach = 3 * 24 * HOUR - MINUTE
    headers = frozenset({"Content-Type", "OK-ACCESS-TIMESTAMP", "OK-ACCESS-SIGN"})
    credentials = frozenset({"OK-ACCESS-KEY", "OK-ACCESS-PASSPHRASE"})
    codes = Codes(
        duplicate=frozenset({"51016"}),
        unknown=frozenset({"50001", "50004", "50013", "50026", "51149", "1", "2"}),
        throttled=frozenset({"50011", "50040", "50061"}),
        absent=frozenset({"51603"}),
    )
    states = {  # noqa: RUF012 - a table
        "live": "open",
        "partially_filled": "partial",
        "filled": "filled",
        "canceled": "cancelled",
        "mmp_canceled": "cancelled",
    }
    orders = OrderTable("clOrdId", "ordId", "side", "state", "sz", "accFillSz", "avgPx", "reduceOnly", "uTime")
    positions_table = PositionTable("pos", "avgPx", "markPx", "liqPx", "lever", "margin")

    def order_options(self, order: Order) -> dict[str, Any]:
        """See ``CcxtVenue``."""
        return {**super().order_options(order), "marginMode": "cross"}

    def order_headers(self, now: int) -> tuple[tuple[str, str], ...]:
        """See ``CcxtVenue``."""
        return (("expTime", str((now + self.capabilities.validity) // MILLISECOND)),)

    def order_fields(self, order: Order, market: Market) -> dict[str, Any]:
        """See ``CcxtVenue``."""
        word = {"gtc": "limit", "ioc": "ioc", "post_only": "post_only"}[order.time_in_force]
        fields: dict[str, Any] = {
            "instId": order.instrument,
            "tdMode": "cross",
            "side": order.side,
            "ordType": "market" if order.price is None else word,
            "sz": plain(self.contracts(order, market)),
            "clOrdId": order.client_id,
        }
        if order.price is not None:
            fields["px"] = plain(order.price)
        return fields | ({"reduceOnly": True} if order.reduce_only else {})

    def cancel(self, market: Market, client_id: str, order_id: str, now: int) -> Ask:  # noqa: ARG002 - by its id
        """See ``CcxtVenue``."""
        fields = {"instId": market.rules.instrument, "clOrdId": client_id}
        return Ask("POST", _PRIVATE, "trade/cancel-order", fields)

    def modify(self, order: Order, market: Market) -> Ask | None:
        """See ``CcxtVenue``."""
        assert order.price is not None  # noqa: S101 - the port has refused it
        fields = {
            "instId": order.instrument,
            "clOrdId": order.client_id,
            "newSz": plain(self.contracts(order, market)),
            "newPx": plain(order.price),
        }
        return Ask("POST", _PRIVATE, "trade/amend-order", fields)

    def lookup(self, market: Market, client_id: str) -> Sequence[Ask]:
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "trade/order", {"instId": market.rules.instrument, "clOrdId": client_id}),)

    def open_orders(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "trade/orders-pending", _SWAP),)

    def fills(self, market: Market, since: int) -> Ask:
        """See ``CcxtVenue``."""
        fields = {**_SWAP, "instId": market.rules.instrument, "begin": since // MILLISECOND, "limit": self.page}
        return Ask("GET", _PRIVATE, "trade/fills", fields)

    def positions(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "account/positions", _SWAP),)

    def balance(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("GET", _PRIVATE, "account/balance"),)

    def modes(self, markets: Sequence[Market]) -> Ask | None:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return Ask("GET", _PRIVATE, "account/config")

    def modes_of(self, body: Any) -> AccountModes:
        """See ``CcxtVenue``."""
        rights = body[0]["perm"].split(",")
        return AccountModes(body[0]["posMode"] == "net_mode", "trade" in rights, "withdraw" in rights)

    def book(self, market: Market) -> tuple[Ask, Ask]:
        """See ``CcxtVenue``."""
        name = market.rules.instrument
        return (
            Ask("GET", _PUBLIC, "market/books", {"instId": name, "sz": 20}),
            Ask("GET", _PUBLIC, "public/mark-price", {**_SWAP, "instId": name}),
        )

    def deadman(self, ttl: int, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``. Whole seconds, ten at least."""
        return (Ask("POST", _PRIVATE, "trade/cancel-all-after", {"timeOut": str(max(10, -(-ttl // SECOND)))}),)

    def word(self, body: Any) -> tuple[str, str]:
        """See ``CcxtVenue``. What an order suffered is beside it, under a code of its own."""
        code = body.get("code") if isinstance(body, dict) else None
        if code is None:
            return "1", "no code"
        row = body["data"][0] if body.get("data") and isinstance(body["data"][0], dict) else {}
        if row.get("sCode", "0") != "0":
            return str(row["sCode"]), str(row.get("sMsg", ""))
        return ("", "") if code == "0" else (str(code), str(body.get("msg", "")))

    def accepted(self, body: Any, markets: Mapping[str, Market]) -> Outcome:  # noqa: ARG002 - it tells no more
        """See ``CcxtVenue``."""
        return Outcome(kind="done", order_id=str(body["data"][0]["ordId"]))

    def inner(self, body: Any) -> Any:
        """See ``CcxtVenue``."""
        return body["data"]

    def instrument_of(self, row: Any) -> str:
        """See ``CcxtVenue``."""
        return str(row["instId"])

    def fill(self, row: Any, market: Market, client_id: str | None) -> Fill | None:  # noqa: ARG002 - told by the row
        """See ``CcxtVenue``."""
        cause = _cause(row.get("subType"))
        return Fill(
            trade_id=str(row["tradeId"]),
            venue=self.name,
            instrument=market.rules.instrument,
            order_id=str(row["ordId"]),
            client_id=row["clOrdId"] if cause == "order" else "",
            side=side_of(row["side"]),
            price=decimal(row["fillPx"]),
            quantity=decimal(row["fillSz"]) * market.contract,
            # Theirs is what the balance changed by.
            fee=-dollars(row["fee"], row["feeCcy"]),
            maker=row["execType"] == "M",
            cause=cause,
            time=int(row.get("fillTime") or row["ts"]) * MILLISECOND,
        )

    def hedged(self, row: Any) -> bool:
        """See ``CcxtVenue``."""
        return bool(row.get("posSide", "net") != "net")

    def margin(self, body: Any) -> tuple[Decimal | None, Decimal | None]:
        """See ``CcxtVenue``. What is free is told for the account or, in simpler modes, per coin."""
        row = body[0]
        free = row.get("availEq") or sum(dollars(d.get("availEq"), d["ccy"]) for d in row["details"])
        return decimal(row["totalEq"]), decimal(free)

    def levels(self, body: Any, market: Market) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...], int]:
        """See ``CcxtVenue``."""
        row = body[0]
        return ladder(row["bids"], market), ladder(row["asks"], market), int(row["ts"]) * MILLISECOND

    def mark(self, body: Any) -> Decimal | None:
        """See ``CcxtVenue``."""
        return positive(body[0]["markPx"])


def _cause(kind: str | None) -> Cause:
    """Of a fill's kind of bill."""
    number = int(kind or 0)
    if number in _LIQUIDATIONS:
        return "liquidation"
    if number in _DELEVERAGINGS:
        return "adl"
    return "settlement" if number in _DELIVERIES else "order"
