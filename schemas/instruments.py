"""What a contract is: how a venue's symbol and its quantities map to base units and USD."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

ContractUnit = Literal["base", "quote", "usd", "quanto"]
CONTRACT_UNITS: tuple[ContractUnit, ...] = ("base", "quote", "usd", "quanto")

DOLLARS = frozenset({"USD", "USDT", "USDC", "USD1", "FDUSD", "BUSD", "USDE", "UST", "TUSD", "DAI", "USDS"})
"""Quote currencies counted as one dollar."""

_ALIASES = {"XBT": "BTC"}
_SCALED = re.compile(r"^(1000000|100000|10000|1000|1M|k)(?=[A-Z0-9])(.*[A-Z].*)$")
_FACTORS = {"1000000": 1e6, "1M": 1e6, "100000": 1e5, "10000": 1e4, "1000": 1e3, "k": 1e3}


class Instrument(Struct, frozen=True, gc=False):
    """One contract of one venue."""

    venue: str
    instrument: str
    """The venue's own symbol, exactly as its frames write it."""
    asset: str
    """The venue's base asset; ``canonical`` gives the key used everywhere."""
    contract_size: float
    """How much one contract is, in ``contract_unit`` (1 where the venue counts coins)."""
    contract_unit: ContractUnit
    """``base`` coins, ``quote`` currency, ``usd`` (inverse), or ``quanto``: ``settle`` coins per point of price."""
    quote: str = "USDT"
    settle: str = "USDT"
    tick: float | None = None
    """Smallest price step, in quote."""
    number: str = ""
    """The venue's numeric id where frames use one (Lighter market id)."""


def canonical(asset: str) -> tuple[str, float]:
    """``1000PEPE`` -> (``PEPE``, 1000.0): the asset, and how many of it one unit of the venue's base is."""
    name = _ALIASES.get(asset, asset)
    match = _SCALED.match(name)
    if match is None:
        return name.upper() if name.isascii() else name, 1.0
    return match.group(2), _FACTORS[match.group(1)]


def scale(instrument: Instrument) -> tuple[str, float, float]:
    """The canonical asset, base units per contract-size unit, and the divisor of the price.

    A snapshot may name the asset ``1000PEPE`` (size 1) or ``PEPE`` (size 1000) for the symbol ``1000PEPEUSDT``: both
    give the same quantity and price.
    """
    asset, factor = canonical(instrument.asset)
    if factor != 1.0:
        return asset, factor, factor
    spelled = re.search(rf"(1000000|100000|10000|1000|1M){re.escape(asset)}", instrument.instrument)
    if spelled is None:
        spelled_k = instrument.instrument == f"k{asset}"
        return (asset, 1000.0, 1000.0) if spelled_k and instrument.contract_size == 1 else (asset, 1.0, 1.0)
    price_divisor = _FACTORS[spelled.group(1)]
    counted = instrument.contract_unit == "base" and instrument.contract_size % price_divisor == 0
    return asset, 1.0 if counted else price_divisor, price_divisor


def of_venue(instruments: Iterable[Instrument], venue: str) -> list[Instrument]:
    """The instruments of one venue, in order."""
    return [i for i in instruments if i.venue == venue]
