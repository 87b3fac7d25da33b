"""Extended (X10): subscribed by URL; ``seq`` 1 replays old trades; ids exceed 2^53."""

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
    base_asset,
    encode,
)

_REPLAYED = 50
_FIRST_ID = 2_104_498_792_354_000_000
_STREAMS = ("publicTrades", "prices/mark", "prices/index", "funding")


class _Extended(Conversation):
    heartbeat = 15.0

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        stream, market = _stream(asked.path)
        self.stream = stream
        self.listings = [row for row in world.listings if market in {"", row.symbol}]
        self.sequence = 0

    def frame(self, data: Any, **kind: str) -> str:
        """Frames are numbered from 1."""
        self.sequence += 1
        return encode({**kind, "data": data, "ts": self.world.now(), "seq": self.sequence})

    def opening(self) -> Wires:
        """Old trades, or the present state."""
        if self.world.silent():
            return
        if self.stream == "publicTrades":
            past = [close for close in self.world.recent(_REPLAYED) if close.listing in self.listings]
            rows = [self.trade(close) for close in past]
            yield self.frame([*rows, *(self.plain(row, 0) for row in self.listings)])
        else:
            yield from self.context()

    def forced(self, closes: Sequence[Close]) -> Wires:
        """All markets of the socket in one frame."""
        if self.stream != "publicTrades":
            return
        rows = []
        for close in closes:
            if close.listing in self.listings:
                rows.append(self.trade(close))
                if close.number % 3 == 0:
                    rows.append(self.plain(close.listing, close.number))
        if rows:
            yield self.frame(rows)

    def trade(self, close: Close) -> dict[str, Any]:
        """``S`` is the taker's side."""
        kind = "DELEVERAGE" if close.cause == "adl" else "LIQUIDATION"
        side = "SELL" if close.sold else "BUY"
        row = _trade(close.listing, 10 * close.number, side, kind, close.native_price, close.native_quantity)
        return {**row, "T": self.world.stamp(close)}

    def plain(self, listing: Listing, number: int) -> dict[str, Any]:
        """An ordinary trade."""
        trade = self.world.ordinary(listing, number)
        unique = 10 * number + 1 + 1_000_000 * self.world.listings.index(listing)
        row = _trade(listing, unique, trade.taker.upper(), "TRADE", trade.price, trade.quantity)
        return {**row, "T": self.world.now()}

    def context(self) -> Wires:
        """Prices and funding of the socket's markets."""
        if self.stream == "publicTrades":
            return
        for listing in self.listings:
            yield self.state(listing)

    def state(self, listing: Listing) -> str:
        """One market's frame of this stream."""
        world = self.world
        if self.stream == "funding":
            rate = f"{world.funding(listing, 1.0):.10f}"
            return self.frame({"m": listing.symbol, "T": world.next_funding(1), "f": rate})
        mark = self.stream == "prices/mark"
        price = world.mark(listing) if mark else world.index(listing)
        data = {"m": listing.symbol, "p": listing.price_text(price), "ts": 0}
        return self.frame(data, type="MP" if mark else "IP")


def _stream(path: str) -> tuple[str, str]:
    """Stream and market of a path; the market may be left out."""
    for stream in _STREAMS:
        head, found, market = path.partition(f"/{stream}")
        if found and "/" not in market.removeprefix("/") and head.endswith(("/v1", "")):
            return stream, market.removeprefix("/")
    return "", ""


def _trade(listing: Listing, number: int, side: str, kind: str, price: float, quantity: float) -> dict[str, Any]:
    return {
        "i": _FIRST_ID + number,
        "m": listing.symbol,
        "S": side,
        "tT": kind,
        "T": 0,
        "p": listing.price_text(price),
        "q": listing.quantity_text(quantity),
    }


def _market(listing: Listing, world: World) -> dict[str, Any]:
    """Open interest in USD and in base."""
    return {
        "name": listing.symbol,
        "type": "PERPETUAL",
        "uiName": listing.symbol,
        "assetName": base_asset(listing),
        "collateralAssetName": "USD",
        "active": True,
        "status": "ACTIVE",
        "marketStats": {
            "lastPrice": listing.price_text(world.mark(listing)),
            "markPrice": listing.price_text(world.mark(listing)),
            "indexPrice": listing.price_text(world.index(listing)),
            "fundingRate": f"{world.funding(listing, 1.0):.10f}",
            "nextFundingRate": world.next_funding(1),
            "openInterest": f"{world.interest(listing) * world.mark(listing):.6f}",
            "openInterestBase": listing.quantity_text(world.interest(listing)),
        },
        "tradingConfig": {
            "minOrderSize": listing.quantity_text(listing.lot),
            "minPriceChange": listing.price_text(listing.tick),
        },
    }


class Extended(Venue):
    """``api.starknet.extended.exchange`` for both."""

    name = "extended"
    conversation = _Extended

    def paths(self, path: str) -> bool:
        """Trades, prices and funding, of one market or of all."""
        return bool(_stream(path)[0])

    def rest(self, asked: Asked, world: World) -> Any:
        """``info/markets``."""
        if not asked.wants("/api/v1/info/markets"):
            return None
        wanted = asked.query.get("market")
        rows = [row for row in world.listings if wanted in {None, row.symbol}]
        return {"status": "OK", "data": [_market(row, world) for row in rows]}


VENUES: tuple[Venue, ...] = (Extended(),)
