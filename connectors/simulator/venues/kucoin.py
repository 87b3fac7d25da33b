"""KuCoin futures: no forced closes; a token from REST first, then mark, index and funding."""

from __future__ import annotations

from typing import Any

from connectors.simulator.venue import (
    Asked,
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

_TICKET = "2neAiuYvAU61ZDXANAGAsiL4"
_INSTRUMENT = "/contract/instrument:"
_SECONDS = 60


class _Kucoin(Conversation):
    patience = 28.0

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.listings = by_symbol(world.listings)
        self.symbols: list[str] = []

    def opening(self) -> Wires:
        """``welcome`` to who brings the token."""
        number = self.asked.query.get("connectId", "0")
        if self.asked.query.get("token") != _TICKET:
            return (encode({"id": number, "type": "error", "code": 401, "data": "token is invalid"}), Signal.DROP)
        return (encode({"id": number, "type": "welcome"}),)

    def hear(self, message: str) -> Wires:
        """Unknown topics answer 404."""
        match reads(message):
            case {"type": "ping", "id": number}:
                yield encode({"id": number, "type": "pong"})
            case {"type": "subscribe", "id": number, "topic": str(topic), **rest}:
                yield from self.subscribe(number, topic, answered=bool(rest.get("response", False)))
            case _:
                yield encode({"id": "0", "type": "error", "code": 400, "data": "invalid message"})

    def subscribe(self, number: Any, topic: str, *, answered: bool) -> Wires:
        """Symbols may be listed with commas."""
        symbols = topic.removeprefix(_INSTRUMENT).split(",")
        if not topic.startswith(_INSTRUMENT) or not set(symbols) <= set(self.listings):
            yield encode({"id": number, "type": "error", "code": 404, "data": f"topic {topic} is not found"})
            return
        self.symbols += symbols
        if answered:
            yield encode({"id": number, "type": "ack"})
        if not self.world.silent():
            for symbol in symbols:
                yield self.funding(symbol)

    def message(self, symbol: str, subject: str, data: dict[str, Any]) -> str:
        """A message of the instrument topic."""
        body = {"topic": f"{_INSTRUMENT}{symbol}", "type": "message", "subject": subject, "data": data}
        return encode(body)

    def context(self) -> Wires:
        """Marks each second, predicted funding each minute."""
        for symbol in self.symbols:
            listing = self.listings[symbol]
            mark = {"markPrice": self.world.mark(listing), "indexPrice": self.world.index(listing)}
            data = {**mark, "granularity": 1000, "timestamp": self.world.now()}
            yield self.message(symbol, "mark.index.price", data)
            if self.world.offset() // 1000 % _SECONDS == 0:
                yield self.funding(symbol)

    def funding(self, symbol: str) -> str:
        """``granularity`` 60000: the predicted rate."""
        rate = self.world.funding(self.listings[symbol])
        data = {"granularity": 60_000, "fundingRate": rate, "timestamp": self.world.now()}
        return self.message(symbol, "funding.rate", data)

    def beat(self) -> Wires:
        """The venue leaves pinging to the client."""
        return ()


def _contract(listing: Listing, world: World) -> dict[str, Any]:
    """``multiplier`` is -1 for inverse contracts; ``nextFundingRateTime`` is what remains."""
    inverse = listing.kind == "inverse"
    base = "XBT" if listing.coin == "BTC" else listing.coin
    following = world.next_funding()
    return {
        "symbol": listing.symbol,
        "rootSymbol": base if inverse else "USDT",
        "type": "FFWCSX",
        "baseCurrency": base,
        "quoteCurrency": "USD" if inverse else "USDT",
        "settleCurrency": base if inverse else "USDT",
        "lotSize": 1,
        "tickSize": listing.tick,
        "multiplier": -listing.unit if inverse else listing.unit,
        "isQuanto": False,
        "isInverse": inverse,
        "status": "Open",
        "fundingFeeRate": world.funding(listing),
        "predictedFundingFeeRate": None,
        "fundingRateGranularity": 28_800_000,
        "currentFundingRateGranularity": 28_800_000,
        "openInterest": str(int(world.interest(listing))),
        "markPrice": world.mark(listing),
        "indexPrice": world.index(listing),
        "lastTradePrice": world.mark(listing),
        "nextFundingRateTime": following - world.now(),
        "nextFundingRateDateTime": following,
    }


class Kucoin(Venue):
    """``api-futures.kucoin.com`` and the endpoint it gives."""

    name = "kucoin"
    conversation = _Kucoin

    def rest(self, asked: Asked, world: World) -> Any:
        """``bullet-public`` (POST) and ``contracts/active``."""
        if asked.wants("/api/v1/bullet-public"):
            if asked.method != "POST":
                return {"code": "400100", "msg": "method not allowed"}
            server = {
                "endpoint": f"ws://{asked.host}/kucoin/endpoint",
                "encrypt": False,
                "protocol": "websocket",
                "pingInterval": 18_000,
                "pingTimeout": 10_000,
            }
            return {"code": "200000", "data": {"token": _TICKET, "instanceServers": [server]}}
        if asked.wants("/api/v1/contracts/active"):
            return {"code": "200000", "data": [_contract(row, world) for row in world.listings]}
        return None


VENUES: tuple[Venue, ...] = (Kucoin(),)
