"""Bitfinex v2 derivatives, signed for by ccxt: the signature is a header over a nonce that must always grow.

The growing nonce guards against replay and knows no age: how long a lost request can run is *assumed*. Client ids are
numbers, unique for a day in UTC; an order whose own number is not known is cancelled under today's date. Rows are
lists. Refusals come with status 500, so there the body is read first. Orders are not changed here, and the dead man's
switch needs a socket: ``modify`` and ``deadman`` are off. Equity is the wallet without open profit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
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
    positive,
)
from connectors.venues.transport import Answer, decimal, plain
from schemas.clock import MILLISECOND, SECOND
from schemas.orders import BookLevel, Capabilities, ClientIdRule, Fill, Order, OrderState, OrderStatus, Outcome

_PRIVATE = ("private",)
_PUBLIC = ("public",)
_REDUCE_ONLY, _POST_ONLY = 1024, 4096
_WALLET = ("margin", "USTF0")
_STATES: tuple[tuple[str, OrderState], ...] = (
    ("ACTIVE", "open"),
    ("PARTIALLY FILLED", "partial"),
    ("EXECUTED", "filled"),
    ("INSUFFICIENT", "rejected"),
)

CAPABILITIES = Capabilities(
    venue="bitfinex",
    client_id=ClientIdRule(form="integer", limit=45, unique="day"),
    liquidation_stream=False,
    adl_stream=False,
    margin_stream=False,
    reduce_only="trim",
    post_only=True,
    modify=False,
    fence="none",
    validity=60 * SECOND,
    visibility=5 * SECOND,
    deadman=False,
    funding_hours=8.0,
    requests_per_minute=90,
)
"""Validity, visibility and the trimming are *assumed*."""


class Bitfinex(CcxtVenue):
    """USDT-margined contracts."""

    ccxt_id = "bitfinex"
    production = Endpoints("wss://api.bitfinex.com", "https://api.bitfinex.com")
    capabilities = CAPABILITIES
    order_path = "/v2/auth/w/order/submit"
    headers = frozenset({"Content-Type", "bfx-nonce", "bfx-signature"})
    credentials = frozenset({"bfx-apikey"})
    counts = True
    page = 2500
    codes = Codes(
        duplicate=frozenset({"10114", "duplicate"}),
        unknown=frozenset({"10000", "20060", "no list"}),
        throttled=frozenset({"11010"}),
        absent=frozenset(),
    )
    states = {}  # noqa: RUF012 - read from the beginning of a text
    orders = OrderTable(2, 0, 7, 13, 7, 6, 17, 12, 5)
    positions_table = PositionTable(2, 3, None, 8, 9, None)

    def order_options(self, order: Order) -> dict[str, Any]:
        """See ``CcxtVenue``."""
        return {**super().order_options(order), "clientOrderId": int(order.client_id)}

    def order_fields(self, order: Order, market: Market) -> dict[str, Any]:
        """See ``CcxtVenue``."""
        contracts = self.contracts(order, market)
        ioc = order.time_in_force == "ioc"
        fields: dict[str, Any] = {
            "symbol": order.instrument,
            "amount": plain(contracts if order.side == "buy" else -contracts),
            "type": "MARKET" if order.price is None else "IOC" if ioc else "LIMIT",
            "cid": int(order.client_id),
        }
        post_only = order.price is not None and order.time_in_force == "post_only"
        flags = _REDUCE_ONLY * order.reduce_only + _POST_ONLY * post_only
        if order.price is not None:
            fields["price"] = plain(order.price)
        return fields | ({"flags": flags} if flags else {})

    def cancel(self, market: Market, client_id: str, order_id: str, now: int) -> Ask:  # noqa: ARG002 - ids are global
        """See ``CcxtVenue``."""
        if order_id:
            return Ask("POST", _PRIVATE, "auth/w/order/cancel", {"id": int(order_id)})
        day = datetime.fromtimestamp(now // SECOND, UTC).strftime("%Y-%m-%d")
        return Ask("POST", _PRIVATE, "auth/w/order/cancel", {"cid": int(client_id), "cid_date": day})

    def lookup(self, market: Market, client_id: str) -> Sequence[Ask]:  # noqa: ARG002 - rows are chosen afterwards
        """See ``CcxtVenue``."""
        name = {"symbol": market.rules.instrument}
        return (
            Ask("POST", _PRIVATE, "auth/r/orders/{symbol}", name),
            Ask("POST", _PRIVATE, "auth/r/orders/{symbol}/hist", {**name, "limit": 500}),
        )

    def open_orders(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("POST", _PRIVATE, "auth/r/orders"),)

    def fills(self, market: Market, since: int) -> Ask:
        """See ``CcxtVenue``."""
        fields = {"symbol": market.rules.instrument, "start": since // MILLISECOND, "limit": self.page, "sort": 1}
        return Ask("POST", _PRIVATE, "auth/r/trades/{symbol}/hist", fields)

    def positions(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("POST", _PRIVATE, "auth/r/positions"),)

    def balance(self, markets: Sequence[Market]) -> Sequence[Ask]:  # noqa: ARG002 - of the whole account
        """See ``CcxtVenue``."""
        return (Ask("POST", _PRIVATE, "auth/r/wallets"),)

    def modes(self, markets: Sequence[Market]) -> Ask | None:  # noqa: ARG002 - of the key
        """See ``CcxtVenue``."""
        return Ask("POST", _PRIVATE, "auth/r/permissions")

    def modes_of(self, body: Any) -> AccountModes:
        """See ``CcxtVenue``. Rows say what may be read and what may be written."""
        writes = {row[0]: bool(row[2]) for row in body}
        return AccountModes(one_way=True, trades=writes.get("orders"), withdraws=writes.get("withdraw"))

    def book(self, market: Market) -> tuple[Ask, Ask]:
        """See ``CcxtVenue``."""
        name = market.rules.instrument
        return (
            Ask("GET", _PUBLIC, "book/{symbol}/{precision}", {"symbol": name, "precision": "P0", "len": 25}),
            Ask("GET", _PUBLIC, "status/deriv", {"keys": name}),
        )

    def word(self, body: Any) -> tuple[str, str]:
        """See ``CcxtVenue``. ``["error", 10001, "why"]``, or a notice whose seventh place says how it went."""
        if not isinstance(body, list):
            return "no list", ""
        if body and body[0] == "error":
            return _named(str(body[1]), str(body[2]))
        if len(body) > 7 and str(body[1]).endswith("-req") and body[6] != "SUCCESS":
            return _named(str(body[6]), str(body[7]))
        return "", ""

    def failed(self, answer: Answer) -> bool:
        """See ``CcxtVenue``."""
        return isinstance(answer.body, list) and answer.body[:1] == ["error"]

    def accepted(self, body: Any, markets: Mapping[str, Market]) -> Outcome:  # noqa: ARG002 - it tells no more
        """See ``CcxtVenue``. The order is told before it was matched: its state means nothing yet."""
        order = body[4][0] if isinstance(body[4][0], list) else body[4]
        return Outcome(kind="done", order_id=str(int(order[0])))

    def inner(self, body: Any) -> Any:
        """See ``CcxtVenue``."""
        return body

    def instrument_of(self, row: Any) -> str:
        """See ``CcxtVenue``. Positions begin with it, orders have it fourth."""
        return str(row[0] if isinstance(row[0], str) else row[3])

    def order_status(self, row: Any, market: Market) -> OrderStatus:
        """See ``CcxtVenue``. What is left and what was wanted carry the side as their sign."""
        wanted, left = decimal(row[7]), decimal(row[6])
        return OrderStatus(
            client_id=str(row[2]),
            order_id=str(row[0]),
            instrument=market.rules.instrument,
            side="buy" if wanted > 0 else "sell",
            state=_state(str(row[13])),
            quantity=abs(wanted) * market.contract,
            filled=abs(wanted - left) * market.contract,
            average_price=positive(row[17]),
            reduce_only=bool(int(row[12] or 0) & _REDUCE_ONLY),
            time=int(row[5]) * MILLISECOND,
        )

    def fill(self, row: Any, market: Market, client_id: str | None) -> Fill | None:  # noqa: ARG002 - told by the row
        """See ``CcxtVenue``. Nothing marks a forced one: one without a client id has an unknown cause."""
        amount, ours = decimal(row[4]), row[11]
        return Fill(
            trade_id=str(row[0]),
            venue=self.name,
            instrument=market.rules.instrument,
            order_id=str(row[3]),
            client_id=str(ours) if ours is not None else "",
            side="buy" if amount > 0 else "sell",
            price=decimal(row[5]),
            quantity=abs(amount) * market.contract,
            # Theirs is what the balance changed by.
            fee=-dollars(row[9], row[10]),
            maker=row[8] == 1,
            cause="order" if ours is not None else "unknown",
            time=int(row[2]) * MILLISECOND,
        )

    def margin(self, body: Any) -> tuple[Decimal | None, Decimal | None]:
        """See ``CcxtVenue``. What is free is at times not computed yet."""
        row = next(row for row in body if tuple(row[:2]) == _WALLET)
        return decimal(row[2]), decimal(row[4]) if row[4] is not None else None

    def levels(self, body: Any, market: Market) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...], int]:
        """See ``CcxtVenue``. Asks have negative amounts; no time is told."""
        levels = [(decimal(price), decimal(amount)) for price, _, amount in body]
        bids = tuple(BookLevel(price, amount * market.contract) for price, amount in levels if amount > 0)
        asks = tuple(BookLevel(price, -amount * market.contract) for price, amount in levels if amount < 0)
        return bids, asks, 0

    def mark(self, body: Any) -> Decimal | None:
        """See ``CcxtVenue``."""
        return positive(body[0][15])


def _named(code: str, message: str) -> tuple[str, str]:
    """The one refusal that has no number of its own gets a name."""
    return ("duplicate" if "duplicate" in message.lower() else code), message


def _state(text: str) -> OrderState:
    if "CANCELED" in text:
        return "cancelled"
    for beginning, state in _STATES:
        if text.startswith(beginning):
            return state
    raise ValueError(f"no state of an order: {text!r}")
