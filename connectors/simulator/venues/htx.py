"""HTX: gzip frames, a ping whose ``ts`` may be a string, and a dropped line for who does not echo it."""

from __future__ import annotations

import gzip
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
    group_by_symbol,
    reads,
)

_MISSED = 6
"""Unanswered pings after which the line is cut: about 30 s."""
_CHANNELS = frozenset({"liquidation_orders", "funding_rate", "contract_elements"})
_SECONDS = 60


def _zip(body: Any) -> bytes:
    return gzip.compress(encode(body).encode(), 1)


class _Pinging(Conversation):
    """Both grammars ping every 5 s and count what is not echoed."""

    heartbeat = 5.0

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.unanswered: list[str | int] = []
        self.pings = 0

    def beat(self) -> Wires:
        """A ping, or the end."""
        if len(self.unanswered) >= _MISSED:
            return (Signal.DROP,)
        self.pings += 1
        stamp = self.stamp()
        self.unanswered.append(stamp)
        return (_zip(self.ping(stamp)),)

    def stamp(self) -> str | int:
        """Every other ``ts`` is a string."""
        return str(self.world.now()) if self.pings % 2 else self.world.now()

    def ping(self, stamp: str | int) -> dict[str, Any]:
        """How this socket pings."""
        return {"op": "ping", "ts": stamp}

    def echoed(self, stamp: Any) -> None:
        """A pong counts only if it repeats the ping, type included."""
        if any(stamp == known and type(stamp) is type(known) for known in self.unanswered):
            self.unanswered.clear()


class _Notification(_Pinging):
    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        coin = asked.path.rpartition("/")[2] == "swap-notification"
        self.listings = by_symbol(row for row in world.listings if (row.kind == "inverse") == coin)
        self.topics: set[str] = set()

    def hear(self, message: str) -> Wires:
        """Subscriptions by contract or wildcard."""
        match reads(message):
            case {"op": "pong", "ts": stamp}:
                self.echoed(stamp)
            case {"op": "sub", "topic": str(topic), **rest}:
                yield from self.subscribe(topic, str(rest.get("cid", "")))
            case _:
                yield _zip({"op": "error", "err-code": 2002, "err-msg": "invalid op", "ts": self.world.now()})

    def subscribe(self, topic: str, number: str) -> Wires:
        """A contract beside the wildcard is a repetition."""
        answer: dict[str, Any] = {"op": "sub", "cid": number, "topic": topic}
        _, contract, channel = (*topic.split("."), "", "", "")[:3]
        others = [known for known in self.topics if known.endswith(f".{channel}")]
        if channel not in _CHANNELS or (contract != "*" and contract not in self.listings):
            yield _zip({**answer, "err-code": 2011, "err-msg": "Invalid topic.", "ts": self.world.now()})
        elif topic in others or any("*" in {contract, known.split(".")[1]} for known in others):
            yield _zip({**answer, "err-code": 2014, "err-msg": "Repeated subscription.", "ts": self.world.now()})
        else:
            self.topics.add(topic)
            yield _zip({**answer, "ts": self.world.now(), "err-code": 0})
            if channel != "liquidation_orders" and not self.world.silent():
                yield from self.tell(channel)

    def wants(self, symbol: str, channel: str) -> bool:
        """Whether the client hears of this contract there."""
        return not self.topics.isdisjoint({f"public.*.{channel}", f"public.{symbol}.{channel}"})

    def notice(self, symbol: str, channel: str, rows: list[dict[str, Any]]) -> bytes:
        """The topic always names the contract."""
        return _zip({"op": "notify", "topic": f"public.{symbol}.{channel}", "ts": self.world.now(), "data": rows})

    def forced(self, closes: Sequence[Close]) -> Wires:
        """One frame per contract."""
        for symbol, group in group_by_symbol(closes).items():
            if symbol in self.listings and self.wants(symbol, "liquidation_orders"):
                yield self.notice(symbol, "liquidation_orders", [_order(close, self.world) for close in group])

    def context(self) -> Wires:
        """Funding once a minute."""
        if self.world.offset() // 1000 % _SECONDS == 0:
            yield from self.tell("funding_rate")

    def tell(self, channel: str) -> Wires:
        """One frame per subscribed contract."""
        make = _funding if channel == "funding_rate" else _elements
        for symbol, listing in self.listings.items():
            if self.wants(symbol, channel):
                yield self.notice(symbol, channel, [make(listing, self.world)])


class _Index(_Pinging):
    """``/ws_index``: mark price candles."""

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.listings = by_symbol(world.listings)
        self.channels: list[str] = []

    def stamp(self) -> str | int:
        """A number here."""
        return self.world.now()

    def ping(self, stamp: str | int) -> dict[str, Any]:
        """The older grammar."""
        return {"ping": stamp}

    def hear(self, message: str) -> Wires:
        """``market.<contract>.mark_price.1min``."""
        match reads(message):
            case {"pong": stamp}:
                self.echoed(stamp)
            case {"sub": str(channel), **rest} if self.listing(channel) is not None:
                self.channels.append(channel)
                answer = {"id": rest.get("id", ""), "status": "ok", "subbed": channel, "ts": self.world.now()}
                yield _zip(answer)
            case _:
                yield _zip({"status": "error", "err-code": "bad-request", "err-msg": "invalid topic", "ts": 0})

    def listing(self, channel: str) -> Listing | None:
        """The contract of a mark price channel."""
        _, symbol, kind, *_ = (*channel.split("."), "", "", "")
        return self.listings.get(symbol) if kind == "mark_price" else None

    def context(self) -> Wires:
        """The running candle of each."""
        for channel in self.channels:
            if (listing := self.listing(channel)) is not None:
                mark = listing.price_text(self.world.mark(listing))
                tick = {"id": self.world.now() // 60_000 * 60, "open": mark, "close": mark, "low": mark, "high": mark}
                yield _zip({"ch": channel, "ts": self.world.now(), "tick": tick})


def _order(close: Close, world: World) -> dict[str, Any]:
    """Volume counts contracts, amount coins; the direction is the order's."""
    listing = close.listing
    return {
        "symbol": listing.coin,
        "contract_code": listing.symbol,
        "direction": "sell" if close.sold else "buy",
        "offset": "close",
        "volume": close.native_quantity,
        "price": close.native_price,
        "created_at": world.stamp(close),
        "amount": close.quantity,
        "trade_turnover": close.usd,
        "contract_type": "swap",
        "pair": listing.symbol,
        "business_type": "swap",
        "trade_partition": "USDT",
    }


def _funding(listing: Listing, world: World) -> dict[str, Any]:
    return {
        "symbol": listing.coin,
        "contract_code": listing.symbol,
        "fee_asset": listing.coin if listing.kind == "inverse" else "USDT",
        "funding_time": str(world.now() // 60_000 * 60_000),
        "funding_rate": f"{world.funding(listing):.12f}",
        "estimated_rate": None,
        "settlement_time": str(world.next_funding()),
    }


def _elements(listing: Listing, _world: World) -> dict[str, Any]:
    return {"contract_code": listing.symbol, "settle_period": 8, "price_tick": listing.price_text(listing.tick)}


def _contract(listing: Listing, _world: World) -> dict[str, Any]:
    linear = {"business_type": "swap", "pair": listing.symbol, "contract_type": "swap", "trade_partition": "USDT"}
    return {
        "symbol": listing.coin,
        "contract_code": listing.symbol,
        "contract_size": listing.unit,
        "price_tick": listing.tick,
        "delivery_time": "",
        "create_date": "20201021",
        "contract_status": 1,
        **({} if listing.kind == "inverse" else linear),
    }


def _interest(listing: Listing, world: World) -> dict[str, Any]:
    """Both sides."""
    coins = 2.0 * world.coins(listing)
    return {
        "volume": 2.0 * world.interest(listing),
        "amount": coins,
        "symbol": listing.coin,
        "contract_code": listing.symbol,
        "value": coins * world.mark(listing),
    }


_ROUTES: dict[str, type[Conversation]] = {
    "linear-swap-notification": _Notification,
    "swap-notification": _Notification,
    "ws_index": _Index,
}


class Htx(Venue):
    """``api.hbdm.com``."""

    name = "htx"
    conversation = _Notification

    def converse(self, world: World, asked: Asked) -> Conversation:
        """Notifications and the index socket speak differently."""
        return _ROUTES[asked.path.strip("/")](world, asked)

    def paths(self, path: str) -> bool:
        """Linear and coin-margined notifications, and the index socket."""
        return path.strip("/") in _ROUTES

    def rest(self, asked: Asked, world: World) -> Any:
        """``swap_contract_info``, ``swap_open_interest``, ``swap_funding_rate`` of both margin currencies."""
        for api, inverse in (("linear-swap-api", False), ("swap-api", True)):
            listings = [row for row in world.listings if (row.kind == "inverse") == inverse]
            for name, make in _REST.items():
                if asked.path == f"/{api}/v1/{name}":
                    return {"status": "ok", "data": [make(row, world) for row in listings], "ts": world.now()}
        return None


_REST = {
    "swap_contract_info": _contract,
    "swap_open_interest": _interest,
    "swap_funding_rate": _funding,
    "swap_batch_funding_rate": _funding,
}
VENUES: tuple[Venue, ...] = (Htx(),)
