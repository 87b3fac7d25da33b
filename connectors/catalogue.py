"""The instruments a process knows, as columns the conversion can index."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from schemas.batches import Names
from schemas.instruments import CONTRACT_UNITS, DOLLARS, Instrument, canonical, scale
from schemas.records import VENUES


@dataclass(frozen=True, slots=True)
class Contract:
    """How one instrument's native numbers become base units and USD."""

    instrument: Instrument
    asset: str
    size: float
    """Base units of the canonical asset (``base``), or quote/USD/settle coins, per contract."""
    coin: float
    """Base units of the canonical asset in one coin as the venue counts it (1000 for ``1000PEPE``)."""
    divisor: float
    """Native price / divisor = price of one base unit."""
    reference: str
    """Asset whose USD price is needed to get USD: quote of a coin-quoted contract, settle coin of a quanto; or ''."""


@dataclass(frozen=True, slots=True)
class ContractColumns:
    """The same for all instruments, indexed by instrument code."""

    venue: NDArray[np.int8]
    asset: NDArray[np.int32]
    unit: NDArray[np.int8]
    size: NDArray[np.float64]
    coin: NDArray[np.float64]
    divisor: NDArray[np.float64]
    salt: NDArray[np.uint64]


def contract(instrument: Instrument) -> Contract:
    """Work out the conversion of one instrument."""
    asset, factor, divisor = scale(instrument)
    size = instrument.contract_size
    reference = ""
    if instrument.contract_unit == "quanto":
        reference = canonical(instrument.settle)[0]
    elif instrument.quote not in DOLLARS and instrument.contract_unit != "usd":
        reference = canonical(instrument.quote)[0]
    if instrument.contract_unit == "base":
        size *= factor
    return Contract(instrument, asset, size, divisor, divisor, "" if reference in DOLLARS else reference)


class Catalogue:
    """Instruments by venue and symbol; grows, and replaces an entry whose terms changed."""

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        self.assets = Names()
        self.symbols: list[str] = []
        """Venue symbol by instrument code."""
        self.needing_reference: set[int] = set()
        """Codes of contracts whose USD needs the price of another asset."""
        self.contracts: list[Contract] = []
        self._codes: dict[str, dict[str, int]] = {venue: {} for venue in VENUES}
        self._numbered: dict[tuple[str, str], int] = {}
        """Instrument code by venue and the venue's own number."""
        self._columns: ContractColumns | None = None
        self.add(instruments)

    def add(self, instruments: Iterable[Instrument]) -> None:
        """Take in instruments; a symbol already known gets the new terms, a number belongs to who got it last."""
        for instrument in instruments:
            codes = self._codes[instrument.venue]
            made = contract(instrument)
            self.assets.code(made.asset)
            code = codes.get(instrument.instrument)
            if code is None:
                codes[instrument.instrument] = len(self.contracts)
                self.contracts.append(made)
                self.symbols.append(instrument.instrument)
            else:
                self.contracts[code] = made
            if made.reference:
                self.needing_reference.add(codes[instrument.instrument])
            else:
                self.needing_reference.discard(codes[instrument.instrument])
            if instrument.number:
                self._number(instrument)
            self._columns = None

    def _number(self, instrument: Instrument) -> None:
        """Take the number of an instrument from the one that had it: venues count anew when their lists change."""
        key, code = (instrument.venue, instrument.number), self._codes[instrument.venue][instrument.instrument]
        earlier = self.contracts[self._numbered.get(key, code)].instrument
        if earlier.instrument != instrument.instrument and earlier.number == instrument.number:
            self.contracts[self._numbered[key]] = contract(replace(earlier, number=""))
        self._numbered[key] = code

    def codes(self, venue: str) -> dict[str, int]:
        """Symbol -> instrument code of one venue; the live dictionary."""
        return self._codes[venue]

    def of_venue(self, venue: str, assets: frozenset[str] | None = None) -> list[Instrument]:
        """The instruments of one venue, of ``assets`` only where given."""
        contracts = [self.contracts[code] for code in self._codes[venue].values()]
        return [c.instrument for c in contracts if assets is None or c.asset in assets]

    @property
    def columns(self) -> ContractColumns:
        """The conversion columns, rebuilt when instruments were added."""
        if self._columns is None:
            self._columns = self._build()
        return self._columns

    def _build(self) -> ContractColumns:
        contracts = self.contracts
        return ContractColumns(
            venue=np.array([VENUES.index(c.instrument.venue) for c in contracts], np.int8),
            asset=np.array([self.assets.code(c.asset) for c in contracts], np.int32),
            unit=np.array([CONTRACT_UNITS.index(c.instrument.contract_unit) for c in contracts], np.int8),
            size=np.array([c.size for c in contracts], np.float64),
            coin=np.array([c.coin for c in contracts], np.float64),
            divisor=np.array([c.divisor for c in contracts], np.float64),
            salt=np.array([_salt(c.instrument) for c in contracts], np.uint64),
        )


def _salt(instrument: Instrument) -> int:
    text = f"{instrument.venue}|{instrument.instrument}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")
