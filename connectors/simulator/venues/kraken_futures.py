"""Kraken futures: a liquidation is a trade of that type; subscribing replays the newest hundred trades."""

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
    reads,
)

_REPLAYED = 100


class _Kraken(Conversation):
    patience = 60.0

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.listings = by_symbol(world.listings)
        self.subscribed: dict[str, list[str]] = {"trade": [], "ticker": []}
        self.heard_of = False
        """Whether the ``heartbeat`` feed is subscribed."""

    def opening(self) -> Wires:
        """The version."""
        return (encode({"event": "info", "version": 1}),)

    def hear(self, message: str) -> Wires:
        """One answer per product."""
        match reads(message):
            case {"event": "subscribe", "feed": "heartbeat"}:
                self.heard_of = True
                yield encode({"event": "subscribed", "feed": "heartbeat"})
            case {"event": "subscribe", "feed": ("trade" | "ticker") as feed, "product_ids": list(products)}:
                for product in products:
                    yield from self.subscribe(feed, product)
            case {"event": "subscribe"}:
                yield encode({"event": "error", "message": "Invalid feed"})
            case _:
                yield encode({"event": "alert", "message": "Bad request"})

    def subscribe(self, feed: str, product: str) -> Wires:
        """A snapshot follows at once."""
        if product not in self.listings:
            yield encode({"event": "error", "message": "Invalid product id"})
            return
        self.subscribed[feed].append(product)
        yield encode({"event": "subscribed", "feed": feed, "product_ids": [product]})
        if self.world.silent():
            return
        if feed == "ticker":
            yield self.ticker(product)
        else:
            yield encode({"feed": "trade_snapshot", "product_id": product, "trades": self.snapshot(product)})

    def snapshot(self, product: str) -> list[dict[str, Any]]:
        """Newest first, liquidations among fills."""
        listing = self.listings[product]
        told = [self.trade(close) for close in reversed(self.world.recent(_REPLAYED - 1, listing))]
        return [*told, self.fill(listing, 0)]

    def forced(self, closes: Sequence[Close]) -> Wires:
        """One trade per frame, ordinary fills between."""
        for close in closes:
            if close.listing.symbol in self.subscribed["trade"]:
                yield encode(self.trade(close))
                if close.number % 3 == 0:
                    yield encode(self.fill(close.listing, close.number))

    def trade(self, close: Close) -> dict[str, Any]:
        """``side`` is the taker's."""
        side = "sell" if close.sold else "buy"
        row = _trade(close.listing, 10 * close.number, side, close.native_quantity, close.native_price)
        return {**row, "type": "liquidation", "time": self.world.stamp(close)}

    def fill(self, listing: Listing, number: int) -> dict[str, Any]:
        """An ordinary trade."""
        plain = self.world.ordinary(listing, number)
        unique = 10 * number + 1 + 10_000_000 * self.world.listings.index(listing)
        row = _trade(listing, unique, plain.taker, plain.quantity, plain.price)
        return {**row, "type": "fill", "time": self.world.now()}

    def context(self) -> Wires:
        """Tickers, and the heartbeat where wanted."""
        for product in self.subscribed["ticker"]:
            yield self.ticker(product)
        if self.heard_of:
            yield encode({"feed": "heartbeat", "time": self.world.now()})

    def ticker(self, product: str) -> str:
        """One ticker frame."""
        return encode(ticker(self.listings[product], self.world))


def _trade(listing: Listing, number: int, side: str, quantity: float, price: float) -> dict[str, Any]:
    return {
        "feed": "trade",
        "product_id": listing.symbol,
        "uid": guid(number),
        "side": side,
        "type": "",
        "seq": number,
        "time": 0,
        "qty": quantity,
        "price": price,
    }


def ticker(listing: Listing, world: World) -> dict[str, Any]:
    """``funding_rate`` is an absolute amount per contract, ``relative_funding_rate`` the hourly fraction."""
    relative, index = world.funding(listing, 1.0), world.index(listing)
    absolute = relative / index if listing.kind == "inverse" else relative * index
    return {
        "time": world.now(),
        "product_id": listing.symbol,
        "funding_rate": absolute,
        "funding_rate_prediction": absolute,
        "relative_funding_rate": relative,
        "relative_funding_rate_prediction": relative,
        "next_funding_rate_time": world.next_funding(1),
        "feed": "ticker",
        "bid": world.mark(listing),
        "ask": world.mark(listing),
        "dtm": 0,
        "leverage": "50x",
        "index": index,
        "last": world.mark(listing),
        "suspended": False,
        "tag": "perpetual",
        "pair": f"{listing.symbol[3:-3]}:USD",
        "openInterest": world.interest(listing),
        "markPrice": world.mark(listing),
        "maturityTime": 0,
        "post_only": False,
    }


def _instrument(listing: Listing) -> dict[str, Any]:
    inverse = listing.kind == "inverse"
    base = listing.symbol[3:-3]
    return {
        "symbol": listing.symbol,
        "type": "futures_inverse" if inverse else "flexible_futures",
        "underlying": f"rr_{base.lower()}usd",
        "tickSize": listing.tick,
        "contractSize": 1,
        "tradeable": True,
        "base": "BTC" if base == "XBT" else base,
        "quote": "USD",
        "pair": f"{'BTC' if base == 'XBT' else base}:USD",
        "contractValueTradePrecision": 0 if inverse else 4,
        "fundingRateCoefficient": 1,
    }


def _rest_ticker(listing: Listing, world: World) -> dict[str, Any]:
    row = ticker(listing, world)
    return {
        "symbol": listing.symbol,
        "tag": "perpetual",
        "pair": row["pair"],
        "last": row["last"],
        "markPrice": row["markPrice"],
        "indexPrice": row["index"],
        "openInterest": row["openInterest"],
        "fundingRate": row["funding_rate"],
        "fundingRatePrediction": row["funding_rate_prediction"],
        "suspended": False,
    }


class KrakenFutures(Venue):
    """``futures.kraken.com`` for both."""

    name = "kraken_futures"
    conversation = _Kraken

    def rest(self, asked: Asked, world: World) -> Any:
        """``instruments`` and ``tickers``."""
        head = {"result": "success", "serverTime": world.now()}
        if asked.wants("/derivatives/api/v3/instruments"):
            return {**head, "instruments": [_instrument(row) for row in world.listings]}
        if asked.wants("/derivatives/api/v3/tickers"):
            return {**head, "tickers": [_rest_ticker(row, world) for row in world.listings]}
        return None


VENUES: tuple[Venue, ...] = (KrakenFutures(),)
