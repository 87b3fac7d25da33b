"""Lighter: liquidations in an array of their own; the socket tells open interest in QUOTE, funding in PERCENT."""

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
    group_by_symbol,
    reads,
)

_REPLAYED = 20


class _Lighter(Conversation):
    heartbeat = 60.0
    patience = 120.0

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.markets = {str(row.number): row for row in world.listings}
        self.trades: list[str] = []
        self.stats: list[str] = []
        self.nonce = 18_000_000_000

    def opening(self) -> Wires:
        """``connected``."""
        return (encode({"session_id": "5be1c1a2-70ab-4df6-9a8e-2b1f1c0d9e77", "type": "connected"}),)

    def hear(self, message: str) -> Wires:
        """Channels are asked for with a slash and answered with a colon."""
        match reads(message):
            case {"type": "ping"}:
                yield encode({"type": "pong"})
            case {"type": "pong"}:
                return
            case {"type": "subscribe", "channel": str(channel)}:
                yield from self.subscribe(channel)
            case _:
                yield encode({"error": {"code": 30001, "message": "Invalid Type"}})

    def subscribe(self, channel: str) -> Wires:
        """The answer carries old trades, liquidations among them."""
        kind, _, market = channel.partition("/")
        if kind == "trade" and market in self.markets:
            self.trades.append(market)
            past = self.world.recent(_REPLAYED, self.markets[market])
            yield self.told("subscribed/trade", market, past, [self.plain(self.markets[market], 0)])
        elif kind == "market_stats" and (market in self.markets or market == "all"):
            self.stats.append(market)
            yield self.statistics("subscribed/market_stats", market)
        else:
            yield encode({"error": {"code": 30005, "message": f"Invalid Channel: {channel} (marketId)"}})

    def told(self, kind: str, market: str, closes: Sequence[Close], plain: list[dict[str, Any]]) -> str:
        """A frame of the trade channel."""
        self.nonce += 1
        rows = [self.liquidation(close) for close in closes]
        head = {"channel": f"trade:{market}", "liquidation_trades": rows, "nonce": self.nonce}
        return encode({**head, "trades": plain, "type": kind})

    def forced(self, closes: Sequence[Close]) -> Wires:
        """One frame per market."""
        for group in group_by_symbol(closes).values():
            listing = group[0].listing
            if str(listing.number) in self.trades:
                plain = [self.plain(listing, group[0].number)] if group[0].number % 3 == 0 else []
                yield self.told("update/trade", str(listing.number), group, plain)

    def liquidation(self, close: Close) -> dict[str, Any]:
        """The liquidated account is the taker, pays the full fee and has no client id."""
        number, taker = 31_000_000_000 + 10 * close.number, 281_474_976_000_000 + close.number
        row = self.trade(close.listing, number, close.native_price, close.native_quantity, sold=close.sold)
        signed = close.native_quantity * (1 if close.sold else -1)
        return {
            **row,
            "type": "deleverage" if close.cause == "adl" else "liquidation",
            ("ask_client_id" if close.sold else "bid_client_id"): 0,
            ("ask_account_id" if close.sold else "bid_account_id"): taker,
            "timestamp": self.world.stamp(close),
            "taker_fee": 10000,
            "taker_position_size_before": f"{signed:.4f}",
            "taker_position_sign_changed": True,
        }

    def plain(self, listing: Listing, number: int) -> dict[str, Any]:
        """An ordinary trade."""
        trade = self.world.ordinary(listing, number)
        unique = 31_000_000_001 + 10 * number + 1_000_000 * listing.number
        row = self.trade(listing, unique, trade.price, trade.quantity, sold=trade.taker == "sell")
        return {**row, "type": "trade", "timestamp": self.world.now()}

    def trade(self, listing: Listing, number: int, price: float, size: float, *, sold: bool) -> dict[str, Any]:
        """``is_maker_ask`` false: the taker sold."""
        return {
            "trade_id": number,
            "trade_id_str": str(number),
            "type": "",
            "market_id": listing.number,
            "size": listing.quantity_text(size),
            "price": listing.price_text(price),
            "usd_amount": f"{price * size:.6f}",
            "ask_client_id": 41_232_660,
            "bid_client_id": 12_007_779_301,
            "ask_account_id": 7684,
            "bid_account_id": 415_333,
            "is_maker_ask": not sold,
            "timestamp": 0,
            "maker_fee": 28,
        }

    def context(self) -> Wires:
        """Subscribed statistics."""
        for market in self.stats:
            yield self.statistics("update/market_stats", market)

    def statistics(self, kind: str, market: str) -> str:
        """One market, or all by id."""
        rows = {name: stats(row, self.world) for name, row in self.markets.items()}
        body = rows if market == "all" else rows[market]
        return encode(
            {"channel": f"market_stats:{market}", "market_stats": body, "timestamp": self.world.now(), "type": kind}
        )

    def beat(self) -> Wires:
        """An application ping."""
        return (encode({"type": "ping"}),)


def stats(listing: Listing, world: World) -> dict[str, Any]:
    """Open interest is quote notional, funding percent per hour."""
    mark = world.mark(listing)
    percent = f"{world.funding(listing, 1.0) * 100.0:.6f}"
    return {
        "symbol": listing.symbol,
        "market_id": listing.number,
        "index_price": listing.price_text(world.index(listing)),
        "mark_price": listing.price_text(mark),
        "open_interest": f"{world.interest(listing) * mark:.6f}",
        "open_interest_limit": "72057594037927936.000000",
        "last_trade_price": listing.price_text(mark),
        "current_funding_rate": percent,
        "funding_rate": percent,
        "funding_timestamp": world.next_funding(1),
        "daily_price_change": -0.3,
    }


def _decimals(step: float) -> int:
    return max(0, -int(f"{step:e}".partition("e")[2]))


def _book(listing: Listing) -> dict[str, Any]:
    return {
        "symbol": base_asset(listing),
        "market_id": listing.number,
        "market_type": "perp",
        "status": "active",
        "min_base_amount": listing.quantity_text(listing.lot),
        "supported_size_decimals": _decimals(listing.lot),
        "supported_price_decimals": _decimals(listing.tick),
        "supported_quote_decimals": 6,
    }


def _details(listing: Listing, world: World) -> dict[str, Any]:
    """REST: open interest in base."""
    rest = {"open_interest": world.interest(listing), "last_trade_price": world.mark(listing)}
    return {
        **_book(listing),
        **rest,
        "size_decimals": _decimals(listing.lot),
        "price_decimals": _decimals(listing.tick),
    }


def _rate(listing: Listing, world: World) -> dict[str, Any]:
    """REST: a fraction per 8 hours."""
    head = {"market_id": listing.number, "exchange": "lighter", "symbol": listing.symbol}
    return {**head, "rate": world.funding(listing)}


class Lighter(Venue):
    """``mainnet.zklighter.elliot.ai`` for both."""

    name = "lighter"
    conversation = _Lighter

    def paths(self, path: str) -> bool:
        """``/stream``."""
        return path.endswith("/stream")

    def rest(self, asked: Asked, world: World) -> Any:
        """``orderBooks``, ``orderBookDetails``, ``funding-rates``."""
        if asked.wants("/api/v1/orderBooks"):
            return {"code": 200, "order_books": [_book(row) for row in world.listings]}
        if asked.wants("/api/v1/orderBookDetails"):
            return {"code": 200, "order_book_details": [_details(row, world) for row in world.listings]}
        if asked.wants("/api/v1/funding-rates"):
            return {"code": 200, "funding_rates": [_rate(row, world) for row in world.listings]}
        return None


VENUES: tuple[Venue, ...] = (Lighter(),)
