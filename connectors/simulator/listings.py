"""Which contracts the simulated venues list, in the venues' own symbols and units.

Written from the documented shapes alone and on purpose without ``schemas.instruments``: what a dialect makes of the
metadata bodies is checked against this table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, NamedTuple

Kind = Literal["linear", "inverse", "quote", "quanto"]
"""What one unit of a native quantity is: base coins, dollars, quote currency, or settle coins per point of price."""


class Asset(NamedTuple):
    """A base asset of the simulated market."""

    name: str
    price: float
    """USD at the start."""
    share: float
    """Of all forced closes."""
    fall: float
    """Fraction of the price lost at the bottom of the cascade."""
    interest: float
    """Open interest in USD over all venues at the start, one-sided."""


ASSETS: tuple[Asset, ...] = (
    Asset("BTC", 84_200.0, 0.26, 0.13, 9.1e9),
    Asset("ETH", 2_710.0, 0.22, 0.19, 6.4e9),
    Asset("SOL", 141.5, 0.12, 0.28, 2.2e9),
    Asset("XRP", 2.243, 0.08, 0.34, 1.1e9),
    Asset("DOGE", 0.1874, 0.07, 0.41, 6.2e8),
    Asset("PEPE", 0.000_010_35, 0.05, 0.47, 2.1e8),
    Asset("BNB", 912.0, 0.04, 0.18, 5.3e8),
    Asset("ADA", 0.6142, 0.04, 0.43, 2.6e8),
    Asset("LINK", 16.31, 0.04, 0.40, 2.4e8),
    Asset("AVAX", 21.7, 0.03, 0.44, 1.7e8),
    Asset("SUI", 2.655, 0.03, 0.52, 2.9e8),
    Asset("HYPE", 38.4, 0.02, 0.33, 4.8e8),
)
_NAMES = tuple(asset.name for asset in ASSETS)

SHARES: dict[str, float] = {
    "binance_usdm": 0.23,
    "bybit": 0.21,
    "okx": 0.13,
    "gate": 0.10,
    "bitget": 0.08,
    "hyperliquid": 0.06,
    "htx": 0.04,
    "aster": 0.03,
    "binance_coinm": 0.02,
    "bitfinex": 0.01,
    "bitmex": 0.015,
    "deribit": 0.01,
    "kraken_futures": 0.015,
    "dydx_v4": 0.01,
    "lighter": 0.02,
    "extended": 0.01,
    "kucoin": 0.01,
}
"""Share of each venue in all forced closes and in open interest."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One contract of one venue."""

    venue: str
    symbol: str
    asset: int
    """Index into ``ASSETS``."""
    kind: Kind
    unit: float
    """How much one unit of a native quantity is: coins of the asset, dollars, quote, or settle coins per point."""
    divisor: float
    """Native price / divisor = USD of one coin."""
    tick: float
    lot: float
    """Step of a native quantity."""
    group: str = ""
    """The venue's own division where it has one: category, product type, settle currency."""
    number: int = 0
    """The venue's numeric id where it has one."""
    weight: float = 1.0
    """Share among the venue's contracts on the same asset."""

    @property
    def coin(self) -> str:
        """Canonical name of the base asset."""
        return ASSETS[self.asset].name

    def price_text(self, price: float) -> str:
        """A native price on the tick grid."""
        return on_grid(price, self.tick)

    def quantity_text(self, quantity: float) -> str:
        """A native quantity on the lot grid, at least one lot."""
        return on_grid(max(quantity, self.lot), self.lot)

    def native(self, usd: float, price: float, settle: float) -> float:
        """The native quantity worth ``usd`` at the native ``price``; ``settle`` is the settle coin in USD (quanto)."""
        worth = self.unit * (price / self.divisor if self.kind == "linear" else 1.0)
        return usd / (worth * (price * settle if self.kind == "quanto" else 1.0))

    def measure(self, quantity: float, price: float, settle: float) -> tuple[float, float]:
        """Coins of the asset and USD of a native quantity at the native ``price``."""
        each = price / self.divisor
        if self.kind == "linear":
            return quantity * self.unit, quantity * self.unit * each
        usd = quantity * self.unit * (price * settle if self.kind == "quanto" else 1.0)
        return usd / each, usd


def on_grid(value: float, step: float) -> str:
    """``value`` rounded to a multiple of ``step``, in plain decimals."""
    exact = Decimal(repr(step))
    return format((round(Decimal(repr(value)) / exact) * exact).normalize(), "f")


def _power(value: float) -> float:
    return float(f"1e{math.floor(math.log10(value))}")


def _listing(
    venue: str,
    symbol: str,
    name: str,
    *,
    kind: Kind = "linear",
    unit: float = 1.0,
    divisor: float = 1.0,
    lot: float | None = None,
    group: str = "",
    number: int = 0,
    weight: float = 1.0,
) -> Listing:
    index = _NAMES.index(name)
    price = ASSETS[index].price * divisor
    step = _power(2.0 / (unit * ASSETS[index].price)) if kind == "linear" else 1.0
    tick = float(f"{_power(price) * 1e-5:.0e}")
    return Listing(venue, symbol, index, kind, unit, divisor, tick, lot or step, group, number, weight)


def _thousand(name: str) -> tuple[str, float]:
    """Venues that list PEPE by the thousand."""
    return ("1000PEPE", 1000.0) if name == "PEPE" else (name, 1.0)


def _coins(venue: str, pattern: str, names: tuple[str, ...] = _NAMES, group: str = "") -> list[Listing]:
    """Contracts that count coins, PEPE by the thousand."""
    found = []
    for number, name in enumerate(names):
        base, factor = _thousand(name)
        symbol = pattern.format(base)
        found.append(_listing(venue, symbol, name, unit=factor, divisor=factor, group=group, number=number))
    return found


def _sized(venue: str, pattern: str, sizes: dict[str, float], lot: float = 1.0, group: str = "") -> list[Listing]:
    """Contracts of a fixed number of coins."""
    return [
        _listing(venue, pattern.format(name), name, unit=size, lot=lot, group=group) for name, size in sizes.items()
    ]


def _dollars(venue: str, symbols: dict[str, tuple[str, float]], group: str = "") -> list[Listing]:
    """Inverse contracts of a fixed number of dollars."""
    return [
        _listing(venue, symbol, name, kind="inverse", unit=size, group=group, weight=0.15)
        for symbol, (name, size) in symbols.items()
    ]


_OKX = {
    "BTC": 0.01, "ETH": 0.1, "SOL": 1.0, "XRP": 100.0, "DOGE": 1000.0, "PEPE": 1e7,
    "BNB": 0.01, "ADA": 100.0, "LINK": 1.0, "AVAX": 1.0, "SUI": 1.0, "HYPE": 0.1,
}  # fmt: skip
_GATE = {
    "BTC": 0.0001, "ETH": 0.01, "SOL": 1.0, "XRP": 10.0, "DOGE": 10.0, "PEPE": 1e7,
    "BNB": 0.001, "ADA": 10.0, "LINK": 1.0, "AVAX": 1.0, "SUI": 1.0, "HYPE": 0.1,
}  # fmt: skip
_HTX = {
    "BTC": 0.001, "ETH": 0.01, "SOL": 1.0, "XRP": 10.0, "DOGE": 100.0, "PEPE": 1e5,
    "BNB": 0.01, "ADA": 10.0, "LINK": 0.1, "AVAX": 0.1, "SUI": 1.0,
}  # fmt: skip
_KUCOIN = {
    "ETH": 0.01, "SOL": 0.1, "XRP": 10.0, "DOGE": 100.0, "PEPE": 1e5,
    "BNB": 0.01, "ADA": 10.0, "LINK": 0.1, "AVAX": 0.1, "SUI": 1.0, "HYPE": 0.1,
}  # fmt: skip
_LIGHTER = {
    "ETH": 0, "BTC": 1, "SOL": 2, "DOGE": 3, "PEPE": 4, "XRP": 7, "LINK": 8, "AVAX": 9, "SUI": 16, "HYPE": 24,
    "BNB": 25, "ADA": 39,
}  # fmt: skip
_MAJORS = ("BTC", "ETH", "SOL", "XRP", "DOGE")


def _bitget() -> list[Listing]:
    usdt = [_listing("bitget", f"{n}USDT", n, kind="quote", lot=0.01, group="usdt-futures") for n in _NAMES]
    coin = [
        _listing("bitget", f"{n}USD", n, kind="quote", lot=0.01, group="coin-futures", weight=0.15)
        for n in ("BTC", "ETH", "XRP")
    ]
    usdc = [
        _listing("bitget", f"{n}PERP", n, kind="quote", lot=0.01, group="usdc-futures", weight=0.1)
        for n in ("BTC", "ETH")
    ]
    return usdt + coin + usdc


def _lighter() -> list[Listing]:
    found = []
    for name, number in _LIGHTER.items():
        base, factor = _thousand(name)
        found.append(_listing("lighter", base, name, unit=factor, divisor=factor, number=number))
    return found


def _bitmex() -> list[Listing]:
    return [
        _listing("bitmex", "XBTUSD", "BTC", kind="inverse", lot=100.0, weight=0.5),
        _listing("bitmex", "XBTUSDT", "BTC", unit=1e-6, lot=100.0, weight=0.5),
        _listing("bitmex", "ETHUSD", "ETH", kind="quanto", unit=1e-6, weight=0.5),
        _listing("bitmex", "ETHUSDT", "ETH", unit=1e-5, lot=1000.0, weight=0.5),
        _listing("bitmex", "SOLUSDT", "SOL", unit=1e-4, lot=1000.0),
        _listing("bitmex", "XRPUSDT", "XRP", unit=1e-2, lot=1000.0),
    ]


def _kraken() -> list[Listing]:
    linear = [_listing("kraken_futures", f"PF_{'XBT' if n == 'BTC' else n}USD", n) for n in _NAMES]
    inverse = {"PI_XBTUSD": ("BTC", 1.0), "PI_ETHUSD": ("ETH", 1.0)}
    return linear + _dollars("kraken_futures", inverse)


def _deribit() -> list[Listing]:
    inverse = _dollars("deribit", {"BTC-PERPETUAL": ("BTC", 1.0), "ETH-PERPETUAL": ("ETH", 1.0)}, "inverse")
    linear = _coins("deribit", "{}_USDC-PERPETUAL", ("BTC", "ETH", "SOL", "XRP", "DOGE"), "linear")
    return [replace(inverse[0], lot=10.0), inverse[1], *linear]


def _hyperliquid() -> list[Listing]:
    return [
        _listing("hyperliquid", "kPEPE", n, unit=1000.0, divisor=1000.0, number=i)
        if n == "PEPE"
        else _listing("hyperliquid", n, n, number=i)
        for i, n in enumerate(_NAMES)
    ]


_COINM = {f"{n}USD_PERP": (n, 100.0 if n == "BTC" else 10.0) for n in (*_MAJORS, "BNB", "ADA", "LINK", "AVAX")}
_BYBIT_INVERSE = {f"{n}USD": (n, 1.0) for n in ("BTC", "ETH", "SOL", "XRP")}
_OKX_INVERSE = {"BTC-USD-SWAP": ("BTC", 100.0), "ETH-USD-SWAP": ("ETH", 10.0), "SOL-USD-SWAP": ("SOL", 10.0)}

LISTINGS: dict[str, tuple[Listing, ...]] = {
    "binance_usdm": tuple(_coins("binance_usdm", "{}USDT")),
    "binance_coinm": tuple(_dollars("binance_coinm", _COINM)),
    "bybit": (*_coins("bybit", "{}USDT", group="linear"), *_dollars("bybit", _BYBIT_INVERSE, "inverse")),
    "okx": (*_sized("okx", "{}-USDT-SWAP", _OKX, 0.01), *_dollars("okx", _OKX_INVERSE)),
    "gate": tuple(_sized("gate", "{}_USDT", _GATE, group="usdt")),
    "bitget": tuple(_bitget()),
    "htx": (
        *_sized("htx", "{}-USDT", _HTX),
        *_dollars("htx", {"BTC-USD": ("BTC", 100.0), "ETH-USD": ("ETH", 10.0)}),
    ),
    "bitfinex": tuple(_coins("bitfinex", "t{}F0:USTF0", (*_MAJORS, "ADA", "LINK", "AVAX", "SUI"))),
    "deribit": tuple(_deribit()),
    "bitmex": tuple(_bitmex()),
    "kraken_futures": tuple(_kraken()),
    "dydx_v4": tuple(_coins("dydx_v4", "{}-USD", tuple(n for n in _NAMES if n != "PEPE"))),
    "aster": tuple(_coins("aster", "{}USDT")),
    "lighter": tuple(_lighter()),
    "extended": tuple(_coins("extended", "{}-USD")),
    "hyperliquid": tuple(_hyperliquid()),
    "kucoin": (
        _listing("kucoin", "XBTUSDTM", "BTC", unit=0.001, lot=1.0),
        *_sized("kucoin", "{}USDTM", _KUCOIN),
        *_dollars("kucoin", {"XBTUSDM": ("BTC", 1.0)}),
    ),
}
"""Every contract by venue."""
