"""Gate: the websocket names the ORDER by the sign of ``size``, REST the position; tickers count both sides."""

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
    reads,
)

_LIQUIDATIONS, _TICKERS = "futures.public_liquidates", "futures.tickers"
_MOST = 20
"""Closes in one frame."""


class _Gate(Conversation):
    heartbeat = 20.0

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        settle = asked.path.rpartition("/")[2]
        self.listings = by_symbol(row for row in world.listings if row.group == settle)
        self.subscribed: dict[str, set[str]] = {_LIQUIDATIONS: set(), _TICKERS: set()}
        self.decimal = asked.headers.get("x-gate-size-decimal") == "1"

    def hear(self, message: str) -> Wires:
        """``futures.ping`` and subscriptions by contract or ``!all``."""
        match reads(message):
            case {"channel": "futures.ping"}:
                yield self.frame("futures.pong", "", None)
            case {"channel": str(channel), "event": "subscribe", "payload": list(payload)}:
                yield self.subscribe(channel, payload)
            case _:
                yield encode({"time": self.world.now() // 1000, "error": {"code": 1, "message": "invalid request"}})

    def subscribe(self, channel: str, payload: list[str]) -> str:
        """Unknown channels and contracts are refused."""
        known = self.subscribed.get(channel)
        wrong = [name for name in payload if name != "!all" and name not in self.listings]
        if known is None or wrong:
            message = f"unknown contract {wrong[0]}" if known is not None else f"unknown channel {channel}"
            return self.frame(channel, "subscribe", None, {"code": 2, "message": message})
        known.update(payload)
        return self.frame(channel, "subscribe", {"status": "success"})

    def frame(self, channel: str, event: str, result: Any, error: Any = None) -> str:
        """The envelope of every message."""
        now = self.world.now()
        failed = {"error": error} if error else {}
        return encode(
            {"time": now // 1000, "time_ms": now, "channel": channel, "event": event, **failed, "result": result}
        )

    def forced(self, closes: Sequence[Close]) -> Wires:
        """Arrays of at most twenty."""
        wanted = self.subscribed[_LIQUIDATIONS]
        rows = [self.row(close) for close in closes if "!all" in wanted or close.listing.symbol in wanted]
        for start in range(0, len(rows), _MOST):
            yield self.frame(_LIQUIDATIONS, "update", rows[start : start + _MOST])

    def row(self, close: Close) -> dict[str, Any]:
        """Negative sizes are sells, which close longs."""
        contracts = int(close.native_quantity) * (-1 if close.sold else 1)
        return {
            "price": close.native_price,
            "size": str(contracts) if self.decimal else contracts,
            "time_ms": self.world.stamp(close),
            "contract": close.listing.symbol,
        }

    def context(self) -> Wires:
        """One frame with every subscribed ticker."""
        wanted = self.subscribed[_TICKERS]
        rows = [_ticker(row, self.world) for name, row in self.listings.items() if "!all" in wanted or name in wanted]
        if rows:
            yield self.frame(_TICKERS, "update", rows)


def _ticker(listing: Listing, world: World) -> dict[str, str]:
    """``total_size`` counts both sides."""
    mark = listing.price_text(world.mark(listing))
    rate = f"{world.funding(listing):.6f}"
    return {
        "contract": listing.symbol,
        "last": mark,
        "mark_price": mark,
        "index_price": listing.price_text(world.index(listing)),
        "funding_rate": rate,
        "funding_rate_indicative": rate,
        "total_size": str(2 * int(world.interest(listing))),
        "quanto_multiplier": _multiplier(listing),
    }


def _multiplier(listing: Listing) -> str:
    return f"{listing.unit:.4f}".rstrip("0").rstrip(".")


def _contract(listing: Listing, world: World) -> dict[str, Any]:
    """``position_size`` counts one side."""
    ticker = _ticker(listing, world)
    return {
        "name": listing.symbol,
        "type": "direct",
        "quanto_multiplier": ticker["quanto_multiplier"],
        "order_price_round": listing.price_text(listing.tick),
        "mark_price": ticker["mark_price"],
        "index_price": ticker["index_price"],
        "funding_rate": ticker["funding_rate"],
        "funding_rate_indicative": ticker["funding_rate"],
        "funding_interval": 28800,
        "funding_next_apply": world.next_funding() // 1000,
        "position_size": int(world.interest(listing)),
        "in_delisting": False,
        "status": "trading",
        "enable_decimal": False,
    }


def _liquidated(close: Close, world: World) -> dict[str, Any]:
    """REST: ``size`` is the position, ``order_size`` the order, ``time`` seconds."""
    contracts = int(close.native_quantity) * (1 if close.sold else -1)
    price = close.listing.price_text(close.native_price)
    return {
        "contract": close.listing.symbol,
        "left": "0",
        "size": str(contracts),
        "order_size": str(-contracts),
        "fill_price": price,
        "order_price": price,
        "time": world.stamp(close) // 1000,
    }


class Gate(Venue):
    """``fx-ws.gateio.ws`` and ``api.gateio.ws``; only USDT contracts are listed."""

    name = "gate"
    conversation = _Gate

    def paths(self, path: str) -> bool:
        """One socket per settle currency."""
        return path.endswith(("/usdt", "/btc", "/usd1"))

    def rest(self, asked: Asked, world: World) -> Any:
        """``contracts``, ``tickers``, ``liq_orders`` below the settle currency."""
        for settle in ("usdt", "btc", "usd1"):
            listings = [row for row in world.listings if row.group == settle]
            if asked.wants(f"/api/v4/futures/{settle}/contracts"):
                return [_contract(row, world) for row in listings]
            if asked.wants(f"/api/v4/futures/{settle}/tickers"):
                return [_ticker(row, world) for row in listings]
            if asked.wants(f"/api/v4/futures/{settle}/liq_orders"):
                return [_liquidated(close, world) for close in reversed(world.recent(100)) if settle == "usdt"]
        return None


VENUES: tuple[Venue, ...] = (Gate(),)
