"""Bitget UTA v3: the side is the POSITION's, the amount is QUOTE notional; classic v2 has no such channel."""

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
    encode,
    reads,
)

_TYPES = frozenset({"usdt-futures", "coin-futures", "usdc-futures"})


class _Bitget(Conversation):
    patience = 120.0

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.topics: list[dict[str, str]] = []
        self.classic = "/v3/" not in asked.path

    def hear(self, message: str) -> Wires:
        """Each argument is answered on its own."""
        if message == "ping":
            yield "pong"
            return
        match reads(message):
            case {"op": "subscribe", "args": list(arguments)}:
                for argument in arguments:
                    yield from self.subscribe(argument)
            case _:
                yield encode({"event": "error", "code": 30003, "msg": "INVALID op"})

    def subscribe(self, argument: dict[str, str]) -> Wires:
        """Liquidations by product type, tickers by symbol."""
        topic = argument.get("topic", "")
        sound = (
            argument.get("instType", "").lower() in _TYPES
            and not self.classic
            and (topic == "liquidation" or (topic == "ticker" and self.listing(argument) is not None))
        )
        if not sound:
            yield encode({"event": "error", "arg": argument, "code": 30001, "msg": "Channel does not exist"})
            return
        self.topics.append(argument)
        yield encode({"event": "subscribe", "arg": argument})
        if topic == "ticker" and not self.world.silent():
            yield self.ticker(argument, "snapshot")

    def listing(self, argument: dict[str, str]) -> Listing | None:
        """The contract of a ticker subscription."""
        symbol = argument.get("symbol", argument.get("instId", ""))
        group = argument.get("instType", "").lower()
        return next((row for row in self.world.listings if row.symbol == symbol and row.group == group), None)

    def forced(self, closes: Sequence[Close]) -> Wires:
        """One frame per product type and second."""
        for argument in self.topics:
            rows = [self.row(close) for close in closes if close.listing.group == argument["instType"].lower()]
            if argument["topic"] == "liquidation" and rows:
                yield encode({"action": "update", "arg": argument, "data": rows, "ts": self.world.now()})

    def row(self, close: Close) -> dict[str, str]:
        """``buy``: a long was liquidated."""
        return {
            "symbol": close.listing.symbol,
            "side": "buy" if close.position == "long" else "sell",
            "price": close.listing.price_text(close.native_price),
            "amount": close.listing.quantity_text(close.native_quantity),
            "ts": str(self.world.stamp(close)),
        }

    def context(self) -> Wires:
        """Every subscribed ticker."""
        for argument in self.topics:
            if argument["topic"] == "ticker":
                yield self.ticker(argument, "snapshot")

    def ticker(self, argument: dict[str, str], action: str) -> str:
        """One ticker frame; its row names no symbol."""
        listing = self.listing(argument)
        row = {} if listing is None else _ticker(listing, self.world)
        return encode({"action": action, "arg": argument, "data": [row], "ts": self.world.now()})


def _ticker(listing: Listing, world: World) -> dict[str, str]:
    mark = listing.price_text(world.mark(listing))
    return {
        "lastPrice": mark,
        "markPrice": mark,
        "indexPrice": listing.price_text(world.index(listing)),
        "fundingRate": f"{world.funding(listing):.8f}",
        "nextFundingTime": str(world.next_funding()),
        "openInterest": f"{world.coins(listing):.4f}",
        "price24hPcnt": "0.01833",
    }


def _instrument(listing: Listing) -> dict[str, str]:
    quote = {"usdt-futures": "USDT", "usdc-futures": "USDC"}.get(listing.group, "USD")
    return {
        "symbol": listing.symbol,
        "category": listing.group.upper(),
        "baseCoin": listing.coin,
        "quoteCoin": quote,
        "type": "perpetual",
        "status": "online",
        "priceMultiplier": listing.price_text(listing.tick),
        "quantityMultiplier": "0.0001",
        "fundInterval": "8",
    }


class Bitget(Venue):
    """``ws.bitget.com`` and ``api.bitget.com``."""

    name = "bitget"
    conversation = _Bitget

    def paths(self, path: str) -> bool:
        """The public sockets of v3 and v2."""
        return path.endswith("/ws/public")

    def rest(self, asked: Asked, world: World) -> Any:
        """``instruments`` and ``tickers`` by category."""
        category = asked.query.get("category", "").lower()
        symbol = asked.query.get("symbol")
        listings = [row for row in world.listings if row.group == category and symbol in {None, row.symbol}]
        if asked.wants("/api/v3/market/instruments"):
            return _answer([_instrument(row) for row in listings], world)
        if asked.wants("/api/v3/market/tickers"):
            now = str(world.now())
            head = {"category": category.upper(), "ts": now}
            return _answer([{**head, "symbol": row.symbol, **_ticker(row, world)} for row in listings], world)
        return None


def _answer(rows: list[dict[str, str]], world: World) -> dict[str, Any]:
    return {"code": "00000", "msg": "success", "requestTime": world.now(), "data": rows}


VENUES: tuple[Venue, ...] = (Bitget(),)
