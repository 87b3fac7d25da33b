"""OKX: one channel per instrument type, all numbers strings, a replay of recent rows after subscribing."""

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
    reads,
)

_PER_INSTRUMENT = frozenset({"open-interest", "funding-rate", "mark-price"})
_TYPES = frozenset({"SWAP", "FUTURES", "MARGIN", "OPTION"})
_REPLAYED = 20
_PERIOD = {"open-interest": 3, "funding-rate": 30, "mark-price": 1}
"""Seconds between pushes."""


class _Okx(Conversation):
    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.listings = by_symbol(world.listings)
        self.channels: list[dict[str, str]] = []

    def hear(self, message: str) -> Wires:
        """Each argument of a subscription is answered on its own; data follow the answer at once."""
        if message == "ping":
            yield "pong"
            return
        match reads(message):
            case {"op": "subscribe", "args": list(arguments)}:
                for argument in arguments:
                    yield from self.subscribe(argument)
            case {"op": "unsubscribe", "args": list(arguments)}:
                for argument in arguments:
                    self.channels = [known for known in self.channels if known != argument]
                    yield encode({"event": "unsubscribe", "arg": argument, "connId": "a4d3ae55"})
            case _:
                yield encode({"event": "error", "code": "60012", "msg": "Invalid request", "connId": "a4d3ae55"})

    def subscribe(self, argument: dict[str, str]) -> Wires:
        """A replay of recent rows is the first frame of ``liquidation-orders``."""
        channel = argument.get("channel", "")
        sound = (
            argument.get("instType") in _TYPES
            if channel == "liquidation-orders"
            else (channel in _PER_INSTRUMENT and argument.get("instId") in self.listings)
        )
        if not sound:
            why = f"Wrong URL or channel:{channel}, instId:{argument.get('instId', '')} doesn't exist."
            yield encode({"event": "error", "code": "60018", "msg": why, "connId": "a4d3ae55"})
            return
        self.channels.append(argument)
        yield encode({"event": "subscribe", "arg": argument, "connId": "a4d3ae55"})
        if channel != "liquidation-orders":
            if not self.world.silent():
                yield self.push(argument)
        elif argument["instType"] == "SWAP" and (recent := self.world.recent(_REPLAYED)):
            yield encode({"arg": argument, "data": liquidation_rows(recent, self.world)})

    def forced(self, closes: Sequence[Close]) -> Wires:
        """All instruments of the type in one frame."""
        for argument in self.channels:
            if argument == {"channel": "liquidation-orders", "instType": "SWAP"}:
                yield encode({"arg": argument, "data": liquidation_rows(closes, self.world)})

    def context(self) -> Wires:
        """Each channel at its own pace."""
        second = self.world.offset() // 1000
        for argument in self.channels:
            period = _PERIOD.get(argument["channel"])
            if period is not None and second % period == 0:
                yield self.push(argument)

    def push(self, argument: dict[str, str]) -> str:
        """The frame of a per-instrument channel."""
        row = _ROWS[argument["channel"]](self.listings[argument["instId"]], self.world)
        return encode({"arg": argument, "data": [row]})


def liquidation_rows(closes: Sequence[Close], world: World) -> list[dict[str, Any]]:
    """One row per instrument, newest detail first."""
    return [_row(group, world) for group in group_by_symbol(closes).values()]


def _row(group: Sequence[Close], world: World) -> dict[str, Any]:
    symbol = group[0].listing.symbol
    family = symbol.removesuffix("-SWAP")
    details = [_detail(close, world) for close in reversed(group)]
    return {"details": details, "instFamily": family, "instId": symbol, "instType": "SWAP", "uly": family}


def _detail(close: Close, world: World) -> dict[str, str]:
    """Hedge-mode accounts name the position, net-mode ones leave only the order side."""
    return {
        "bkLoss": "0",
        "bkPx": close.listing.price_text(close.native_price),
        "ccy": "",
        "posSide": "net" if close.number % 4 == 0 else close.position,
        "side": "sell" if close.sold else "buy",
        "sz": close.listing.quantity_text(close.native_quantity),
        "ts": str(world.stamp(close)),
    }


def _interest(listing: Listing, world: World) -> dict[str, str]:
    contracts = world.interest(listing)
    coins = world.coins(listing)
    return {
        "instId": listing.symbol,
        "instType": "SWAP",
        "oi": listing.quantity_text(contracts),
        "oiCcy": f"{coins:.10f}",
        "oiUsd": f"{coins * world.mark(listing):.10f}",
        "ts": str(world.now()),
    }


def _funding(listing: Listing, world: World) -> dict[str, str]:
    """``nextFundingRate`` is empty with the current-period method."""
    following = world.next_funding()
    return {
        "formulaType": "withRate",
        "fundingRate": f"{world.funding(listing):.10f}",
        "fundingTime": str(following),
        "instId": listing.symbol,
        "instType": "SWAP",
        "method": "current_period",
        "nextFundingRate": "",
        "nextFundingTime": str(following + 8 * 3_600_000),
        "settFundingRate": "0.0001000000",
        "settState": "settled",
        "ts": str(world.now()),
    }


def _mark(listing: Listing, world: World) -> dict[str, str]:
    mark = listing.price_text(world.mark(listing))
    return {"instId": listing.symbol, "instType": "SWAP", "markPx": mark, "ts": str(world.now())}


def _instrument(listing: Listing, _world: World) -> dict[str, str]:
    linear = listing.kind == "linear"
    return {
        "alias": "",
        "baseCcy": "",
        "ctMult": "1",
        "ctType": "linear" if linear else "inverse",
        "ctVal": f"{listing.unit:g}" if listing.unit < 1e5 else str(int(listing.unit)),
        "ctValCcy": listing.coin if linear else "USD",
        "expTime": "",
        "instFamily": listing.symbol.removesuffix("-SWAP"),
        "instId": listing.symbol,
        "instType": "SWAP",
        "lotSz": listing.quantity_text(listing.lot),
        "quoteCcy": "",
        "settleCcy": "USDT" if linear else listing.coin,
        "state": "live",
        "tickSz": listing.price_text(listing.tick),
        "uly": listing.symbol.removesuffix("-SWAP"),
    }


_ROWS = {"open-interest": _interest, "funding-rate": _funding, "mark-price": _mark}
_REST = {"instruments": _instrument, **_ROWS}


class Okx(Venue):
    """``ws.okx.com`` and ``www.okx.com``."""

    name = "okx"
    conversation = _Okx

    def paths(self, path: str) -> bool:
        """The public socket."""
        return path.endswith("/public")

    def rest(self, asked: Asked, world: World) -> Any:
        """``instruments``, ``open-interest``, ``funding-rate``, ``mark-price``; only swaps exist here."""
        wanted = asked.query.get("instId")
        listings = [row for row in world.listings if wanted in {None, "ANY", row.symbol}]
        if asked.query.get("instType", "SWAP") != "SWAP":
            listings = []
        for name, make in _REST.items():
            if asked.wants(f"/api/v5/public/{name}"):
                return {"code": "0", "data": [make(row, world) for row in listings], "msg": ""}
        return None


VENUES: tuple[Venue, ...] = (Okx(),)
