"""Binance USD-M, Binance COIN-M and Aster: the ``forceOrder`` grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from connectors.simulator.venue import (
    Asked,
    Close,
    Conversation,
    Listing,
    Venue,
    Wires,
    World,
    base_asset,
    by_symbol,
    encode,
    reads,
)


class _ForceOrder(Conversation):
    """Streams named in the URL or by SUBSCRIBE; raw under ``/ws``, enveloped under ``/stream``."""

    heartbeat = 180.0

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        path = asked.path
        self.enveloped = path.endswith("/stream")
        self.streams = set(filter(None, asked.query.get("streams", "").split("/")))
        if "/ws/" in path:
            self.streams = set(filter(None, path.split("/ws/", 1)[1].split("/")))
        self.symbols = by_symbol(world.listings)

    def hear(self, message: str) -> Wires:
        """SUBSCRIBE and UNSUBSCRIBE are acknowledged with ``result: null``, unknown methods refused."""
        asked = reads(message)
        match asked:
            case {"method": "SUBSCRIBE", "params": list(params), "id": number}:
                self.streams.update(params)
            case {"method": "UNSUBSCRIBE", "params": list(params), "id": number}:
                self.streams.difference_update(params)
            case _:
                return (encode({"code": 2, "msg": "Invalid request: unknown variant"}),)
        return (encode({"result": None, "id": number}),)

    def forced(self, closes: Sequence[Close]) -> Wires:
        """One object per frame, whatever the stream is called."""
        for close in closes:
            for stream in ("!forceOrder@arr", f"{close.listing.symbol.lower()}@forceOrder"):
                if stream in self.streams:
                    yield self.frame(stream, self.order(close))

    def frame(self, stream: str, data: Any) -> str:
        """``data`` as this socket writes it."""
        return encode({"stream": stream, "data": data} if self.enveloped else data)

    def order(self, close: Close) -> dict[str, Any]:
        """The order: limit price beyond the fill, last fill smaller than the total."""
        listing = close.listing
        limit = close.native_price * (0.9962 if close.sold else 1.0038)
        quantity = listing.quantity_text(close.native_quantity)
        return {
            "e": "forceOrder",
            "E": self.world.now(),
            "o": {
                "s": listing.symbol,
                "S": "SELL" if close.sold else "BUY",
                "o": "LIMIT",
                "f": "IOC",
                "q": quantity,
                "p": listing.price_text(limit),
                "ap": listing.price_text(close.native_price),
                "X": "FILLED",
                "l": listing.quantity_text(close.native_quantity * 0.4),
                "z": quantity,
                "T": self.world.stamp(close),
                **self.order_extra(listing),
            },
        }

    def order_extra(self, listing: Listing) -> dict[str, Any]:  # noqa: ARG002 - the signature is the contract
        """Fields this venue adds to the order."""
        return {}

    def context(self) -> Wires:
        """``!markPrice@arr`` is an array; ``<symbol>@markPrice`` one object."""
        for stream in sorted(self.streams):
            name, _, rest = stream.partition("@")
            if name == "!markPrice":
                yield self.frame(stream, [self.mark(listing) for listing in self.world.listings])
            elif rest.startswith("markPrice") and name.upper() in self.symbols:
                yield self.frame(stream, self.mark(self.symbols[name.upper()]))

    def mark(self, listing: Listing) -> dict[str, Any]:
        """Mark, index and the running rate."""
        mark = listing.price_text(self.world.mark(listing))
        return {
            "e": "markPriceUpdate",
            "E": self.world.now(),
            "s": listing.symbol,
            "p": mark,
            "i": listing.price_text(self.world.index(listing)),
            "P": mark,
            "r": f"{self.world.funding(listing):.8f}",
            "T": self.world.next_funding(),
        }


class _UsdM(_ForceOrder):
    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(world, asked)
        self.routed = asked.path.startswith("/market/")

    def forced(self, closes: Sequence[Close]) -> Wires:
        """Nothing on the retired un-routed address, though it accepts and acknowledges."""
        return super().forced(closes) if self.routed else ()

    def context(self) -> Wires:
        """Nothing on the retired un-routed address."""
        return super().context() if self.routed else ()

    def order_extra(self, listing: Listing) -> dict[str, Any]:
        """``ps`` is the symbol, not a position side."""
        return {"ps": listing.symbol, "st": 1}


class _CoinM(_ForceOrder):
    def order_extra(self, listing: Listing) -> dict[str, Any]:
        """``ps`` is the pair."""
        return {"ps": listing.symbol.removesuffix("_PERP")}


class _Grammar(Venue):
    api: ClassVar[str]
    inverse: ClassVar[bool] = False

    def rest(self, asked: Asked, world: World) -> Any:
        """``exchangeInfo``, ``openInterest``, ``fundingInfo``, ``premiumIndex``, ``time``."""
        if asked.wants(f"/{self.api}/exchangeInfo"):
            return self.exchange_info(world)
        if asked.wants(f"/{self.api}/fundingInfo") or asked.wants("/fapi/v3/fundingInfo"):
            return [_funding_info(listing) for listing in world.listings]
        if asked.wants(f"/{self.api}/time"):
            return {"serverTime": world.now()}
        chosen = [row for row in world.listings if asked.query.get("symbol", row.symbol) == row.symbol]
        if asked.wants(f"/{self.api}/openInterest") and "symbol" in asked.query:
            return self.open_interest(chosen[0], world) if chosen else {"code": -1121, "msg": "Invalid symbol."}
        if asked.wants(f"/{self.api}/premiumIndex"):
            rows = [self.premium(listing, world) for listing in chosen]
            return rows[0] if "symbol" in asked.query and rows else rows
        return None

    def exchange_info(self, world: World) -> dict[str, Any]:
        """Every contract."""
        return {
            "timezone": "UTC",
            "serverTime": world.now(),
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": [self.symbol(listing) for listing in world.listings],
        }

    def symbol(self, listing: Listing) -> dict[str, Any]:
        """One contract; coin-margined ones tell ``contractSize`` and call their status otherwise."""
        coin = {"contractSize": int(listing.unit), "contractStatus": "TRADING"}
        base = base_asset(listing)
        return {
            "symbol": listing.symbol,
            "pair": listing.symbol.removesuffix("_PERP"),
            "contractType": "PERPETUAL",
            "deliveryDate": 4133404800000,
            **(coin if self.inverse else {"status": "TRADING"}),
            "marginAsset": base if self.inverse else "USDT",
            "baseAsset": base,
            "quoteAsset": "USD" if self.inverse else "USDT",
            "underlyingType": "COIN",
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": listing.price_text(listing.tick), "minPrice": "0"},
                {"filterType": "LOT_SIZE", "stepSize": listing.quantity_text(listing.lot)},
            ],
        }

    def open_interest(self, listing: Listing, world: World) -> dict[str, Any]:
        """Coins or contracts."""
        body = {"openInterest": listing.quantity_text(world.interest(listing)), "symbol": listing.symbol}
        pair = {"pair": listing.symbol.removesuffix("_PERP"), "contractType": "PERPETUAL"}
        return {**body, **(pair if self.inverse else {}), "time": world.now()}

    def premium(self, listing: Listing, world: World) -> dict[str, Any]:
        """One row of ``premiumIndex``."""
        return {
            "symbol": listing.symbol,
            "markPrice": listing.price_text(world.mark(listing)),
            "indexPrice": listing.price_text(world.index(listing)),
            "estimatedSettlePrice": listing.price_text(world.mark(listing)),
            "lastFundingRate": f"{world.funding(listing):.8f}",
            "interestRate": "0.00010000",
            "nextFundingTime": world.next_funding(),
            "time": world.now(),
        }


def _funding_info(listing: Listing) -> dict[str, Any]:
    return {
        "symbol": listing.symbol,
        "adjustedFundingRateCap": "0.02000000",
        "adjustedFundingRateFloor": "-0.02000000",
        "fundingIntervalHours": 8,
        "disclaimer": False,
    }


class BinanceUsdM(_Grammar):
    """``fstream.binance.com`` with its routes, and ``fapi.binance.com``."""

    name = "binance_usdm"
    api = "fapi/v1"
    conversation = _UsdM


class BinanceCoinM(_Grammar):
    """``dstream.binance.com`` and ``dapi.binance.com``."""

    name = "binance_coinm"
    api = "dapi/v1"
    inverse = True
    conversation = _CoinM


class Aster(_Grammar):
    """``fstream.asterdex.com`` and ``fapi.asterdex.com``."""

    name = "aster"
    api = "fapi/v1"
    conversation = _ForceOrder


VENUES: tuple[Venue, ...] = (BinanceUsdM(), BinanceCoinM(), Aster())
