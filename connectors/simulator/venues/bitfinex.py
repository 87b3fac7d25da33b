"""Bitfinex: arrays matched by channel number; a position yields a trigger row and an execution row."""

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

_GLOBAL = "liq:global"


class _Bitfinex(Conversation):
    heartbeat = 15.0

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.listings = by_symbol(world.listings)
        self.channels: dict[str, int] = {}
        """Channel number by key."""

    def opening(self) -> Wires:
        """Version and platform state."""
        return (encode({"event": "info", "version": 2, "serverId": "0c6f", "platform": {"status": 1}}),)

    def hear(self, message: str) -> Wires:
        """The ``status`` channel by key."""
        match reads(message):
            case {"event": "ping", **rest}:
                yield encode({"event": "pong", "ts": self.world.now(), "cid": rest.get("cid", 0)})
            case {"event": "subscribe", "channel": "status", "key": str(key)}:
                yield from self.subscribe(key)
            case _:
                yield encode({"event": "error", "msg": "unknown event", "code": 10000})

    def subscribe(self, key: str) -> Wires:
        """A key twice is error 10301."""
        head = {"channel": "status", "key": key}
        if key in self.channels:
            yield encode({"event": "error", "msg": "subscribe: dup", "code": 10301, **head})
        elif key != _GLOBAL and key.removeprefix("deriv:") not in self.listings:
            yield encode({"event": "error", "msg": "subscribe: invalid", "code": 10300, **head})
        else:
            self.channels[key] = 4100 + 17 * len(self.channels)
            yield encode({"event": "subscribed", "chanId": self.channels[key], **head})
            if key != _GLOBAL and not self.world.silent():
                yield self.status(key)

    def beat(self) -> Wires:
        """``hb`` on every channel."""
        return tuple(encode([channel, "hb"]) for channel in self.channels.values())

    def forced(self, closes: Sequence[Close]) -> Wires:
        """The trigger without a closing price, then the execution; now and then somebody's spot margin position."""
        channel = self.channels.get(_GLOBAL)
        if channel is None:
            return
        for close in closes:
            yield encode([channel, [row(close, self.world, executed=False)]])
            yield encode([channel, [row(close, self.world, executed=True)]])
            if close.number % 5 == 0:
                yield encode([channel, [_spot(close, self.world)]])

    def context(self) -> Wires:
        """Every subscribed derivative."""
        for key in self.channels:
            if key != _GLOBAL:
                yield self.status(key)

    def status(self, key: str) -> str:
        """One derivative's status frame."""
        return encode([self.channels[key], status(self.listings[key.removeprefix("deriv:")], self.world)])


def row(close: Close, world: World, *, executed: bool) -> list[Any]:
    """The sign is the position's; [6] is the entry price, [11] the price it was closed at."""
    amount = close.native_quantity * (1 if close.position == "long" else -1)
    entry = float(close.listing.price_text(close.native_price * (1.021 if amount > 0 else 0.979)))
    price = close.native_price if executed else None
    time = world.stamp(close)
    sold = 1 if executed else None
    return ["pos", 190_000_000 + close.number, time, None, close.listing.symbol, amount, entry, None, int(executed),
            sold, None, price]  # fmt: skip


def _spot(close: Close, world: World) -> list[Any]:
    time = world.stamp(close)
    return ["pos", 290_000_000 + close.number, time, None, "tLTCUSD", -3.25, 95.1, None, 1, 1, None, 97.4]


def status(listing: Listing, world: World) -> list[Any]:
    """23 fields, most of them null."""
    found: list[Any] = [None] * 23
    found[0], found[2], found[3] = world.now(), world.mark(listing), world.index(listing)
    found[5] = 1_396_531.5
    found[7], found[8], found[9] = world.next_funding(), 0.0001, 6
    found[11], found[14] = world.funding(listing), world.mark(listing)
    found[17] = world.interest(listing)
    return found


class Bitfinex(Venue):
    """``api-pub.bitfinex.com`` for both."""

    name = "bitfinex"
    conversation = _Bitfinex

    def rest(self, asked: Asked, world: World) -> Any:
        """List of futures pairs, derivatives status, past liquidations."""
        if asked.wants("/v2/conf/pub:list:pair:futures"):
            return [[listing.symbol.removeprefix("t") for listing in world.listings]]
        if asked.wants("/v2/status/deriv"):
            keys = asked.query.get("keys", "ALL").split(",")
            listings = [row for row in world.listings if keys == ["ALL"] or row.symbol in keys]
            return [[listing.symbol, *status(listing, world)] for listing in listings]
        if asked.wants("/v2/liquidations/hist"):
            return [[row(close, world, executed=True)] for close in reversed(world.recent(100))]
        return None


VENUES: tuple[Venue, ...] = (Bitfinex(),)
