"""Hyperliquid: no public forced closes at all; trades without a marker, and the context of every coin."""

from __future__ import annotations

from typing import Any

from connectors.simulator.venue import (
    Asked,
    Conversation,
    Listing,
    Venue,
    Wires,
    World,
    by_symbol,
    encode,
    reads,
)

_COIN = frozenset({"trades", "activeAssetCtx"})


class _Hyperliquid(Conversation):
    patience = 60.0

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.listings = by_symbol(world.listings)
        self.subscriptions: list[dict[str, str]] = []
        self.number = 0

    def hear(self, message: str) -> Wires:
        """Subscriptions are echoed; no type tells market-wide liquidations."""
        match reads(message):
            case {"method": "ping"}:
                yield encode({"channel": "pong"})
            case {"method": "subscribe", "subscription": dict(wanted)} if self.knows(wanted):
                self.subscriptions.append(wanted)
                answer = {"method": "subscribe", "subscription": wanted}
                yield encode({"channel": "subscriptionResponse", "data": answer})
                if not self.world.silent():
                    yield self.push(wanted)
            case {"method": "subscribe", "subscription": wanted}:
                yield encode({"channel": "error", "data": f"Invalid subscription {encode(wanted)}"})
            case _:
                yield encode(
                    {"channel": "error", "data": f"Error parsing JSON into valid websocket request: {message}"}
                )

    def knows(self, wanted: dict[str, str]) -> bool:
        """Whether the venue has this subscription."""
        kind = wanted.get("type")
        return kind == "allDexsAssetCtxs" or (kind in _COIN and wanted.get("coin") in self.listings)

    def context(self) -> Wires:
        """A frame per subscription."""
        for wanted in self.subscriptions:
            yield self.push(wanted)

    def push(self, wanted: dict[str, str]) -> str:
        """One frame of a subscription."""
        kind = wanted["type"]
        if kind == "allDexsAssetCtxs":
            return encode({"channel": kind, "data": {"ctxs": [["", contexts(self.world)]]}})
        listing = self.listings[wanted["coin"]]
        if kind == "activeAssetCtx":
            return encode({"channel": kind, "data": {"coin": listing.symbol, "ctx": context(listing, self.world)}})
        return encode({"channel": "trades", "data": [self.trade(listing)]})

    def trade(self, listing: Listing) -> dict[str, Any]:
        """Every fourth has the zero hash, which means nothing."""
        self.number += 1
        plain = self.world.ordinary(listing, self.number)
        digest = 0 if self.number % 4 == 0 else self.number * 0x9E3779B97F4A7C15
        return {
            "coin": listing.symbol,
            "side": "A" if plain.taker == "sell" else "B",
            "px": listing.price_text(plain.price),
            "sz": listing.quantity_text(plain.quantity),
            "time": self.world.now(),
            "hash": f"0x{digest:064x}",
            "tid": 716_095_722_000_000 + 1000 * listing.number + self.number,
            "users": [f"0x{self.number:040x}", f"0x{self.number + 1:040x}"],
        }


def context(listing: Listing, world: World) -> dict[str, Any]:
    """Funding per hour; open interest in coins, one-sided."""
    mark = listing.price_text(world.mark(listing))
    return {
        "funding": f"{world.funding(listing, 1.0):.10f}",
        "openInterest": listing.quantity_text(world.interest(listing)),
        "prevDayPx": mark,
        "dayNtlVlm": "1516669192.19",
        "premium": "-0.0001015642",
        "oraclePx": listing.price_text(world.index(listing)),
        "markPx": mark,
        "midPx": mark,
        "impactPxs": [mark, mark],
        "dayBaseVlm": "19707.77",
    }


def contexts(world: World) -> list[dict[str, Any]]:
    """Every coin in the order of the universe."""
    return [context(listing, world) for listing in world.listings]


def _meta(world: World) -> dict[str, Any]:
    rows = [{"szDecimals": 4, "name": row.symbol, "maxLeverage": 40, "marginTableId": 56} for row in world.listings]
    return {"universe": rows, "collateralToken": 0}


class Hyperliquid(Venue):
    """``api.hyperliquid.xyz`` for both."""

    name = "hyperliquid"
    conversation = _Hyperliquid

    def rest(self, asked: Asked, world: World) -> Any:
        """``POST /info``."""
        if not asked.wants("/info") or asked.method != "POST":
            return None
        match reads(asked.body):
            case {"type": "metaAndAssetCtxs"}:
                return [_meta(world), contexts(world)]
            case {"type": "meta"}:
                return _meta(world)
            case {"type": "allPerpMetas"}:
                return [_meta(world)]
            case {"type": "perpDexs"}:
                return [None]
        return None


VENUES: tuple[Venue, ...] = (Hyperliquid(),)
