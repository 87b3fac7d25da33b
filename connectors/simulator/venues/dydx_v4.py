"""dYdX v4: trades typed LIQUIDATED or DELEVERAGED; ``subscribed`` replays past ones."""

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
    group_by_symbol,
    iso,
    reads,
)

_REPLAYED = 100
_HEIGHT = 105_900_000


class _Dydx(Conversation):
    heartbeat = 30.0

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.listings = by_symbol(world.listings)
        self.trades: list[str] = []
        self.markets = False
        self.messages = 0

    def envelope(self, kind: str, **more: Any) -> str:
        """Every message is numbered."""
        number, self.messages = self.messages, self.messages + 1
        return encode({"type": kind, "connection_id": "6c7d0a0e", "message_id": number, **more})

    def opening(self) -> Wires:
        """``connected``."""
        yield self.envelope("connected")

    def hear(self, message: str) -> Wires:
        """``v4_trades`` by market, ``v4_markets`` for all."""
        match reads(message):
            case {"type": "subscribe", "channel": "v4_trades", "id": str(market)} if market in self.listings:
                self.trades.append(market)
                past = {"trades": self.past(market)}
                yield self.envelope("subscribed", channel="v4_trades", id=market, contents=past)
            case {"type": "subscribe", "channel": "v4_markets"}:
                self.markets = True
                yield self.envelope("subscribed", channel="v4_markets", contents=markets(self.world))
            case {"type": "subscribe", **rest}:
                what = f"Invalid channel: {rest.get('channel')} {rest.get('id', '')}"
                yield self.envelope("error", message=what)
            case _:
                yield self.envelope("error", message="Invalid message: could not parse")

    def past(self, market: str) -> list[dict[str, str]]:
        """Newest first."""
        listing = self.listings[market]
        told = [trade(close, self.world) for close in reversed(self.world.recent(_REPLAYED - 1, listing))]
        return [] if self.world.silent() else [*told, _limit(listing, self.world, 0)]

    def forced(self, closes: Sequence[Close]) -> Wires:
        """One frame per market, ordinary trades between."""
        for market, group in group_by_symbol(closes).items():
            if market in self.trades:
                rows = [trade(close, self.world) for close in group]
                if group[0].number % 3 == 0:
                    rows.append(_limit(group[0].listing, self.world, group[0].number))
                yield self.update("v4_trades", {"trades": rows}, market)

    def update(self, channel: str, contents: dict[str, Any], market: str | None = None) -> str:
        """A live message."""
        named = {"id": market} if market else {}
        return self.envelope("channel_data", **named, channel=channel, version="2.1.0", contents=contents)

    def context(self) -> Wires:
        """Changed fields of the markets, and oracle prices apart from them."""
        if not self.markets:
            return
        rows = {row.symbol: _changing(row, self.world) for row in self.world.listings}
        yield self.update("v4_markets", {"trading": rows})
        oracle = {row.symbol: _oracle(row, self.world) for row in self.world.listings}
        yield self.update("v4_markets", {"oraclePrices": oracle})


def trade(close: Close, world: World) -> dict[str, str]:
    """``side`` is the taker's; the first eight hex digits of the id are the block height."""
    height = _HEIGHT + close.time // 1000
    return {
        "id": f"{height:08x}{2:08x}{close.number:08x}",
        "side": "SELL" if close.sold else "BUY",
        "size": close.listing.quantity_text(close.native_quantity),
        "price": close.listing.price_text(close.native_price),
        "type": "DELEVERAGED" if close.cause == "adl" else "LIQUIDATED",
        "createdAt": iso(world.stamp(close)),
        "createdAtHeight": str(height),
    }


def _limit(listing: Listing, world: World, number: int) -> dict[str, str]:
    plain = world.ordinary(listing, number)
    height = _HEIGHT + world.offset() // 1000
    return {
        "id": f"{height:08x}{1:08x}{number:08x}",
        "side": plain.taker.upper(),
        "size": listing.quantity_text(plain.quantity),
        "price": listing.price_text(plain.price),
        "type": "LIMIT",
        "createdAt": iso(world.now()),
        "createdAtHeight": str(height),
    }


def _changing(listing: Listing, world: World) -> dict[str, str]:
    return {
        "openInterest": f"{world.coins(listing):.4f}",
        "nextFundingRate": f"{world.funding(listing, 1.0):.12f}",
    }


def _oracle(listing: Listing, world: World) -> dict[str, Any]:
    return {
        "oraclePrice": listing.price_text(world.mark(listing)),
        "effectiveAt": iso(world.now()),
        "effectiveAtHeight": str(_HEIGHT + world.offset() // 1000),
        "marketId": world.listings.index(listing),
    }


def markets(world: World) -> dict[str, Any]:
    """Every market whole."""
    return {"markets": {row.symbol: _market(row, world) for row in world.listings}}


def _market(listing: Listing, world: World) -> dict[str, Any]:
    return {
        "clobPairId": str(world.listings.index(listing)),
        "ticker": listing.symbol,
        "status": "ACTIVE",
        "oraclePrice": listing.price_text(world.mark(listing)),
        "initialMarginFraction": "0.02",
        "maintenanceMarginFraction": "0.012",
        "tickSize": listing.price_text(listing.tick),
        "stepSize": listing.quantity_text(listing.lot),
        "marketType": "CROSS",
        **_changing(listing, world),
        "defaultFundingRate1H": "0",
    }


class Dydx(Venue):
    """``indexer.dydx.trade`` for both."""

    name = "dydx_v4"
    conversation = _Dydx

    def rest(self, asked: Asked, world: World) -> Any:
        """``perpetualMarkets``."""
        return markets(world) if asked.wants("/v4/perpetualMarkets") else None


VENUES: tuple[Venue, ...] = (Dydx(),)
