"""BitMEX: a liquidation is an order in the ``liquidation`` table, without a time: inserted, updated, deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectors.simulator.venue import (
    Asked,
    Close,
    Conversation,
    Listing,
    Venue,
    Wires,
    World,
    by_symbol,
    encode,
    guid,
    iso,
    reads,
)

_KEYS = {"liquidation": ["orderID"], "instrument": ["symbol"], "funding": ["timestamp", "symbol"]}
_TYPES = {"orderID": "guid", "symbol": "symbol", "side": "symbol", "price": "float", "leavesQty": "long"}


class _Bitmex(Conversation):
    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.listings = by_symbol(world.listings)
        self.topics: list[str] = []
        self.open: dict[str, Close] = {}
        """Liquidation orders in the book by order id."""

    def opening(self) -> Wires:
        """The welcome, and the subscriptions of the URL."""
        yield encode(
            {
                "info": "Welcome to the BitMEX Realtime API.",
                "version": "2.0.0",
                "timestamp": iso(self.world.now()),
                "docs": "https://www.bitmex.com/app/wsAPI",
                "heartbeatEnabled": False,
                "limit": {"remaining": 719},
            }
        )
        topics = [topic for topic in self.asked.query.get("subscribe", "").split(",") if topic]
        if topics:
            yield from self.subscribe(topics, {"op": "subscribe", "args": topics})

    def hear(self, message: str) -> Wires:
        """Each topic is acknowledged and followed by its partial."""
        if message == "ping":
            yield "pong"
            return
        match reads(message):
            case {"op": "subscribe", "args": list(topics)} as request:
                yield from self.subscribe(topics, request)
            case {"op": "subscribe", "args": str(topic)} as request:
                yield from self.subscribe([topic], request)
            case _:
                yield encode({"status": 400, "error": "Unrecognized request.", "meta": {}, "request": {}})

    def subscribe(self, topics: list[str], request: dict[str, Any]) -> Wires:
        """Unknown tables are refused with 400."""
        for topic in topics:
            table, _, symbol = topic.partition(":")
            if table not in _KEYS or (symbol and symbol not in self.listings):
                yield encode({"status": 400, "error": f"Unknown table: {table}", "meta": {}, "request": request})
                continue
            self.topics.append(topic)
            yield encode({"success": True, "subscribe": topic, "request": request})
            types = _TYPES if table == "liquidation" else {"symbol": "symbol"}
            head = {"table": table, "action": "partial", "keys": _KEYS[table], "types": types}
            rows = [] if self.world.silent() else self.rows(table, symbol)
            yield encode({**head, "filter": {"symbol": symbol} if symbol else {}, "data": rows})

    def rows(self, table: str, symbol: str) -> list[dict[str, Any]]:
        """What the table holds of one contract or of all."""
        if table == "liquidation":
            return []
        make = instrument if table == "instrument" else _settled
        return [make(row, self.world) for row in self.listings.values() if symbol in {"", row.symbol}]

    def wants(self, table: str, symbol: str) -> bool:
        """Whether the client follows this contract in this table."""
        return table in self.topics or f"{table}:{symbol}" in self.topics

    def forced(self, closes: Sequence[Close]) -> Wires:
        """Orders already in the book move or go before new ones come."""
        yield from self.settle()
        for close in closes:
            if self.wants("liquidation", close.listing.symbol):
                order = guid(close.number)
                self.open[order] = close
                row = {
                    "orderID": order,
                    "symbol": close.listing.symbol,
                    "side": "Sell" if close.sold else "Buy",
                    "price": close.native_price,
                    "leavesQty": int(close.native_quantity),
                }
                yield self.liquidation("insert", [row])

    def liquidation(self, action: str, rows: list[dict[str, Any]]) -> str:
        """A change of the table."""
        return encode({"table": "liquidation", "action": action, "data": rows})

    def settle(self) -> Wires:
        """A price that follows the market, then what is left (changed columns only); then the order goes."""
        for order, close in self.open.items():
            head = {"orderID": order, "symbol": close.listing.symbol}
            if close.number % 2:
                moved = float(close.listing.price_text(close.native_price * (0.9997 if close.sold else 1.0003)))
                yield self.liquidation("update", [{**head, "price": moved}])
            if close.number % 3 == 0:
                yield self.liquidation("update", [{**head, "leavesQty": int(close.native_quantity) // 2}])
            yield self.liquidation("delete", [head])
        self.open.clear()

    def context(self) -> Wires:
        """Changed columns of the subscribed instruments."""
        yield from self.settle()
        rows = [
            {name: row[name] for name in _CHANGING}
            for symbol, listing in self.listings.items()
            if self.wants("instrument", symbol)
            for row in [instrument(listing, self.world)]
        ]
        if rows:
            yield encode({"table": "instrument", "action": "update", "data": rows})


_CHANGING = ("symbol", "lastPrice", "markPrice", "fairPrice", "openInterest", "openValue", "fundingRate", "timestamp")


def instrument(listing: Listing, world: World) -> dict[str, Any]:
    """A whole row of the ``instrument`` table."""
    base = "XBT" if listing.coin == "BTC" else listing.coin
    mark, contracts = world.mark(listing), int(world.interest(listing))
    linear = listing.kind == "linear"
    usdt = listing.symbol.endswith("USDT")
    return {
        "symbol": listing.symbol,
        "rootSymbol": base,
        "state": "Open",
        "typ": "FFWCSX",
        "expiry": None,
        "positionCurrency": "USD" if listing.kind == "inverse" else base if linear else "",
        "underlying": base,
        "quoteCurrency": "USDT" if usdt else "USD",
        "settlCurrency": "USDt" if usdt else "XBt",
        "lotSize": int(listing.lot),
        "tickSize": listing.tick,
        **_multipliers(listing),
        "fundingInterval": "2000-01-01T08:00:00.000Z",
        "fundingTimestamp": iso(world.next_funding()),
        "fundingRate": world.funding(listing),
        "indicativeFundingRate": world.funding(listing),
        "openInterest": contracts,
        "openValue": _value(listing, contracts, mark, float(world.market.context.mark[world.second(), 0])),
        "lastPrice": mark,
        "markPrice": mark,
        "fairPrice": mark,
        "indicativeSettlePrice": world.index(listing),
        "timestamp": iso(world.now()),
    }


def _settled(listing: Listing, world: World) -> dict[str, Any]:
    """A row of the ``funding`` table: the last rate paid."""
    return {
        "timestamp": iso(world.next_funding() - 8 * 3_600_000),
        "symbol": listing.symbol,
        "fundingInterval": "2000-01-01T08:00:00.000Z",
        "fundingRate": world.funding(listing),
        "fundingRateDaily": 3.0 * world.funding(listing),
    }


def _multipliers(listing: Listing) -> dict[str, Any]:
    """XBTUSD: 1 USD a contract. Linear: lots. Quanto: satoshi per contract and point of price."""
    head = {"isQuanto": listing.kind == "quanto", "isInverse": listing.kind == "inverse"}
    if listing.kind == "inverse":
        return {**head, "multiplier": -100_000_000, "underlyingToPositionMultiplier": None,
                "underlyingToSettleMultiplier": -100_000_000, "quoteToSettleMultiplier": None}  # fmt: skip
    if listing.kind == "quanto":
        return {**head, "multiplier": round(listing.unit * 1e8), "underlyingToPositionMultiplier": None,
                "underlyingToSettleMultiplier": None, "quoteToSettleMultiplier": 3108}  # fmt: skip
    lots = round(1.0 / listing.unit)
    return {**head, "multiplier": round(listing.unit * 1e6), "underlyingToPositionMultiplier": lots,
            "underlyingToSettleMultiplier": None, "quoteToSettleMultiplier": 1_000_000}  # fmt: skip


def _value(listing: Listing, contracts: int, mark: float, bitcoin: float) -> int:
    _, usd = listing.measure(contracts, mark, bitcoin)
    return round(usd * 1e6) if listing.kind == "linear" else round(usd / bitcoin * 1e8)


class Bitmex(Venue):
    """``ws.bitmex.com`` and ``www.bitmex.com``."""

    name = "bitmex"
    conversation = _Bitmex

    def paths(self, path: str) -> bool:
        """``/realtime``."""
        return path.endswith("/realtime")

    def rest(self, asked: Asked, world: World) -> Any:
        """``instrument/active`` and ``instrument``."""
        for path in ("/api/v1/instrument/active", "/api/v1/instrument", "/api/v1/instrument/activeAndIndices"):
            if asked.wants(path):
                wanted = asked.query.get("symbol")
                return [instrument(row, world) for row in world.listings if wanted in {None, row.symbol}]
        return None


VENUES: tuple[Venue, ...] = (Bitmex(),)
