"""Bybit v5: linear and inverse on separate sockets; the side of a liquidation is the POSITION's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from connectors.simulator.venue import (
    Asked,
    Close,
    Conversation,
    Listing,
    Venue,
    Wires,
    World,
    base_asset,
    by_symbol,
    encode,
    group_by_symbol,
    reads,
)

_LONGEST = 21_000
"""Characters of all args of one connection."""


class _Bybit(Conversation):
    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.category = asked.path.rpartition("/")[2]
        self.listings = by_symbol(row for row in world.listings if row.group == self.category)
        self.topics: set[str] = set()
        self.last: dict[str, dict[str, str]] = {}

    def hear(self, message: str) -> Wires:
        """Subscriptions are acknowledged as a whole; a ticker's snapshot follows at once."""
        asked = reads(message)
        match asked:
            case {"op": "ping"}:
                yield encode({"success": True, "ret_msg": "pong", "conn_id": "c-1", "req_id": "", "op": "ping"})
            case {"op": "subscribe", "args": list(topics)}:
                yield from self.subscribe(topics, str(asked.get("req_id", "")))
            case _:
                yield encode({"success": False, "ret_msg": "Invalid op", "conn_id": "c-1", "op": ""})

    def subscribe(self, topics: list[str], request: str) -> Wires:
        """Unknown topics refuse the whole request."""
        wrong = [topic for topic in topics if not self.knows(topic)]
        fits = sum(map(len, self.topics | set(topics))) <= _LONGEST
        reason = f"error:handler not found,topic:{wrong[0]}" if wrong else "" if fits else "args size too long"
        answer = {"success": not reason, "ret_msg": reason, "conn_id": "c-1", "req_id": request, "op": "subscribe"}
        yield encode(answer)
        if reason:
            return
        self.topics.update(topics)
        if not self.world.silent():
            for topic in topics:
                if topic.startswith("tickers."):
                    yield self.ticker(topic, "snapshot", self.row(self.listings[topic.partition(".")[2]]))

    def knows(self, topic: str) -> bool:
        """Whether this socket has the topic."""
        name, _, symbol = topic.partition(".")
        return name in {"allLiquidation", "tickers"} and symbol in self.listings

    def forced(self, closes: Sequence[Close]) -> Wires:
        """One frame per symbol, its closes in an array."""
        for symbol, group in group_by_symbol(closes).items():
            topic = f"allLiquidation.{symbol}"
            if topic in self.topics:
                rows = [self.close(close) for close in group]
                yield encode({"topic": topic, "type": "snapshot", "ts": self.world.now(), "data": rows})

    def close(self, close: Close) -> dict[str, Any]:
        """``Buy``: a long was liquidated; the price is the bankruptcy price."""
        return {
            "T": self.world.stamp(close),
            "s": close.listing.symbol,
            "S": "Buy" if close.position == "long" else "Sell",
            "v": close.listing.quantity_text(close.native_quantity),
            "p": close.listing.price_text(close.native_price),
        }

    def context(self) -> Wires:
        """Deltas carry only what changed."""
        for topic in sorted(self.topics):
            name, _, symbol = topic.partition(".")
            if name == "tickers":
                row = self.row(self.listings[symbol])
                known = self.last.get(topic, {})
                changed = {field: value for field, value in row.items() if known.get(field) != value}
                if changed:
                    yield self.ticker(topic, "delta", {"symbol": symbol, **changed}, row)

    def ticker(self, topic: str, kind: str, data: dict[str, str], whole: dict[str, str] | None = None) -> str:
        """One ticker frame; remembers the whole row for the next delta."""
        self.last[topic] = whole or data
        return encode({"topic": topic, "type": kind, "data": data, "cs": 1, "ts": self.world.now()})

    def row(self, listing: Listing) -> dict[str, str]:
        """``openInterest`` counts both sides, ``singleOpenInterest`` one."""
        return ticker(listing, self.world)


def ticker(listing: Listing, world: World) -> dict[str, str]:
    """A whole ticker row, the same on socket and REST."""
    one = world.interest(listing)
    mark = listing.price_text(world.mark(listing))
    value = world.coins(listing) * world.mark(listing) / listing.divisor
    if listing.kind == "inverse":
        value = world.coins(listing)
    return {
        "symbol": listing.symbol,
        "lastPrice": mark,
        "markPrice": mark,
        "indexPrice": listing.price_text(world.index(listing)),
        "openInterest": listing.quantity_text(2.0 * one),
        "openInterestValue": f"{2.0 * value:.4f}",
        "singleOpenInterest": listing.quantity_text(one),
        "singleOpenInterestValue": f"{value:.4f}",
        "nextFundingTime": str(world.next_funding()),
        "fundingRate": f"{world.funding(listing):.8f}",
        "fundingIntervalHour": "8",
        "fundingCap": "0.005",
    }


class Bybit(Venue):
    """``stream.bybit.com`` and ``api.bybit.com``."""

    name = "bybit"
    conversation: ClassVar[type[Conversation]] = _Bybit

    def paths(self, path: str) -> bool:
        """The two public derivative sockets."""
        return path.endswith(("/linear", "/inverse"))

    def rest(self, asked: Asked, world: World) -> Any:
        """``instruments-info``, ``tickers``, ``open-interest`` by category."""
        category = asked.query.get("category", "")
        symbol = asked.query.get("symbol")
        rows = [row for row in world.listings if row.group == category and symbol in {None, row.symbol}]
        if asked.wants("/v5/market/instruments-info"):
            return _result(world, category, [_instrument(row) for row in rows])
        if asked.wants("/v5/market/tickers"):
            return _result(world, category, [ticker(row, world) for row in rows])
        if asked.wants("/v5/market/open-interest") and rows:
            one = world.interest(rows[0])
            listed = {
                "openInterest": rows[0].quantity_text(2.0 * one),
                "singleOpenInterest": rows[0].quantity_text(one),
                "timestamp": str(world.now() // 300_000 * 300_000),
            }
            return _result(world, category, [listed], symbol=rows[0].symbol)
        return None


def _result(world: World, category: str, rows: list[dict[str, Any]], **more: str) -> dict[str, Any]:
    result = {**more, "category": category, "list": rows, "nextPageCursor": ""}
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": world.now()}


def _instrument(listing: Listing) -> dict[str, Any]:
    linear = listing.group == "linear"
    base = base_asset(listing)
    return {
        "symbol": listing.symbol,
        "contractType": "LinearPerpetual" if linear else "InversePerpetual",
        "status": "Trading",
        "baseCoin": base,
        "quoteCoin": "USDT" if linear else "USD",
        "settleCoin": "USDT" if linear else base,
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "priceScale": "2",
        "priceFilter": {"minPrice": "0", "maxPrice": "9999999", "tickSize": listing.price_text(listing.tick)},
        "lotSizeFilter": {"qtyStep": listing.quantity_text(listing.lot), "minOrderQty": "0"},
        "fundingInterval": 480,
    }


VENUES: tuple[Venue, ...] = (Bybit(),)
