"""Deribit: JSON-RPC; a liquidation is a flag on a trade, telling whether taker or maker was liquidated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connectors.simulator.venue import (
    Asked,
    Close,
    Conversation,
    Listing,
    Signal,
    Venue,
    Wires,
    World,
    by_symbol,
    encode,
    reads,
)


class _Deribit(Conversation):
    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.listings = by_symbol(world.listings)
        self.channels: list[str] = []
        self.tested = False
        """Whether a ``test_request`` waits for its answer."""

    def hear(self, message: str) -> Wires:
        """The public methods; what is not known is an error -32601."""
        match reads(message):
            case {"method": "public/subscribe", "params": {"channels": list(channels)}, **rest}:
                yield from self.subscribe(channels, rest.get("id"))
            case {"method": "public/set_heartbeat", "params": {"interval": interval}, **rest}:
                self.heartbeat = float(interval)
                yield self.result("ok", rest.get("id"))
            case {"method": "public/test", **rest}:
                self.tested = False
                yield self.result({"version": "1.2.26"}, rest.get("id"))
            case {"method": str(method), "id": number}:
                error = {"message": "Method not found", "code": -32601, "data": {"method": method}}
                yield encode({"jsonrpc": "2.0", "id": number, "error": error})

    def subscribe(self, channels: list[str], number: Any) -> Wires:
        """The answer lists what was subscribed; raw channels need a login."""
        if any(channel.endswith(".raw") for channel in channels):
            error = {"message": "raw_subscriptions_not_available_for_unauthorized", "code": 13778}
            yield encode({"jsonrpc": "2.0", "id": number, "error": error})
            return
        known = [channel for channel in channels if self.of(channel)]
        self.channels += [channel for channel in known if channel not in self.channels]
        yield self.result(known, number)
        if not self.world.silent():
            yield from self.tickers(known)

    def result(self, body: Any, number: Any) -> str:
        """A JSON-RPC answer."""
        return encode({"jsonrpc": "2.0", "id": number, "result": body})

    def of(self, channel: str) -> list[Listing]:
        """The contracts of ``trades.<instrument>.100ms``, ``trades.<kind>.<currency>.100ms`` or a ticker."""
        kind, _, rest = channel.partition(".")
        names = rest.removesuffix(".100ms").split(".")
        if kind not in {"trades", "ticker"}:
            return []
        if len(names) == 1:
            return [self.listings[names[0]]] if names[0] in self.listings else []
        if names[0] not in {"future", "any"} or kind == "ticker":
            return []
        return [row for row in self.listings.values() if names[1] in {"any", _currency(row)}]

    def push(self, channel: str, data: Any) -> str:
        """A notification."""
        params = {"channel": channel, "data": data}
        return encode({"jsonrpc": "2.0", "method": "subscription", "params": params})

    def beat(self) -> Wires:
        """``test_request``; who did not answer the last one is cut off."""
        if self.tested:
            return (Signal.DROP,)
        self.tested = True
        return (encode({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}}),)

    def forced(self, closes: Sequence[Close]) -> Wires:
        """The trades of a tenth of a second, ordinary ones between."""
        for channel in self.channels:
            if channel.startswith("trades."):
                wanted = self.of(channel)
                rows = [row for close in closes if close.listing in wanted for row in self.rows(close)]
                if rows:
                    yield self.push(channel, rows)

    def rows(self, close: Close) -> list[dict[str, Any]]:
        """Every fifth liquidated account is the maker, so that the taker's direction is the opposite."""
        maker = close.number % 5 == 0
        taker = "sell" if close.sold != maker else "buy"
        found = [
            {
                **self.trade(close.listing, 10 * close.number, taker, close.native_price, close.native_quantity),
                "timestamp": self.world.stamp(close),
                "liquidation": "M" if maker else "T",
            }
        ]
        if close.number % 3 == 0:
            plain = self.world.ordinary(close.listing, close.number)
            number = 10 * close.number + 1
            found.append(self.trade(close.listing, number, plain.taker, plain.price, plain.quantity))
        return found

    def trade(self, listing: Listing, number: int, taker: str, price: float, amount: float) -> dict[str, Any]:
        """``amount`` in USD (inverse) or coins (linear)."""
        return {
            "timestamp": self.world.now(),
            "price": price,
            "amount": amount,
            "direction": taker,
            "index_price": self.world.index(listing),
            "instrument_name": listing.symbol,
            "trade_seq": number,
            "mark_price": self.world.mark(listing),
            "tick_direction": 2,
            "contracts": round(amount / listing.lot, 6),
            "trade_id": f"{'ETH-' if listing.coin == 'ETH' else ''}{400_000_000 + number}",
        }

    def context(self) -> Wires:
        """Every subscribed ticker."""
        return self.tickers(self.channels)

    def tickers(self, channels: Sequence[str]) -> Wires:
        """One frame per ticker channel."""
        for channel in channels:
            if channel.startswith("ticker."):
                yield self.push(channel, ticker(self.of(channel)[0], self.world))


def ticker(listing: Listing, world: World) -> dict[str, Any]:
    """Open interest in USD (inverse) or coins (linear); ``current_funding`` and ``funding_8h`` are fractions."""
    mark = world.mark(listing)
    return {
        "timestamp": world.now(),
        "state": "open",
        "stats": {"high": mark, "low": mark, "price_change": 0.0, "volume": 1.0},
        "index_price": world.index(listing),
        "instrument_name": listing.symbol,
        "last_price": mark,
        "settlement_price": mark,
        "open_interest": world.interest(listing),
        "mark_price": mark,
        "estimated_delivery_price": world.index(listing),
        "current_funding": world.funding(listing),
        "funding_8h": world.funding(listing),
    }


def _currency(listing: Listing) -> str:
    return listing.coin if listing.kind == "inverse" else "USDC"


def _instrument(listing: Listing) -> dict[str, Any]:
    linear = listing.kind == "linear"
    quote = "USDC" if linear else "USD"
    return {
        "tick_size": listing.tick,
        "settlement_period": "perpetual",
        "settlement_currency": _currency(listing),
        "quote_currency": quote,
        "counter_currency": quote,
        "base_currency": listing.coin,
        "price_index": f"{listing.coin.lower()}_{quote.lower()}",
        "min_trade_amount": listing.lot,
        "kind": "future",
        "future_type": "linear" if linear else "reversed",
        "instrument_type": "linear" if linear else "reversed",
        "is_active": True,
        "instrument_name": listing.symbol,
        "contract_size": listing.lot,
        "expiration_timestamp": 32503708800000,
    }


class Deribit(Venue):
    """``www.deribit.com`` for both."""

    name = "deribit"
    conversation = _Deribit

    def rest(self, asked: Asked, world: World) -> Any:
        """``get_instruments`` by currency, ``ticker``."""
        if asked.wants("/api/v2/public/get_instruments"):
            currency = asked.query.get("currency", "any")
            rows = [row for row in world.listings if currency in {"any", _currency(row)}]
            if asked.query.get("kind", "future") != "future":
                rows = []
            return {"jsonrpc": "2.0", "result": [_instrument(row) for row in rows]}
        if asked.wants("/api/v2/public/ticker"):
            wanted = asked.query.get("instrument_name")
            rows = [row for row in world.listings if row.symbol == wanted]
            return {"jsonrpc": "2.0", "result": ticker(rows[0], world)} if rows else None
        return None


VENUES: tuple[Venue, ...] = (Deribit(),)
