"""The built-in snapshot of common contracts, one JSON-lines file per venue, and the reading of such files.

It serves where a venue's metadata cannot be asked: offline normalising and old captures. A running pipeline asks the
venue at start and daily.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from schemas.errors import UsageError
from schemas.instruments import ContractUnit, Instrument
from schemas.records import VENUES


class _Line(Struct):
    instrument: str
    asset: str
    contract_size: float
    contract_unit: ContractUnit
    quote: str | None = None
    settle: str | None = None
    tick: float | None = None
    number: str = ""
    venue: str = ""


_decode = msgspec.json.Decoder(_Line, strict=False).decode


def read_instruments(venue: str, lines: Iterable[bytes], source: str) -> list[Instrument]:
    """Instruments from JSON lines of ``instrument, asset, contract_size, contract_unit`` and, where known, ``quote,
    settle, tick, number, venue``. Lines of other venues and further keys are passed over. An inverse contract (``usd``)
    settles in its asset unless told otherwise.
    """
    found = []
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = _decode(text)
        except msgspec.MsgspecError as error:
            raise UsageError(f"{source}, line {number}: {error}") from None
        if line.venue not in {"", venue}:
            continue
        inverse = line.contract_unit == "usd"
        quote = line.quote or ("USD" if inverse else "USDT")
        settle = line.settle or (line.asset if inverse else "BTC" if line.contract_unit == "quanto" else quote)
        found.append(
            Instrument(venue, line.instrument, line.asset, line.contract_size, line.contract_unit, quote, settle,
                       line.tick, line.number)
        )  # fmt: skip
    return found


@cache
def snapshot(venue: str) -> tuple[Instrument, ...]:
    """The built-in instruments of one venue."""
    file = files(__name__) / f"{venue}.jsonl"
    if not file.is_file():
        return ()
    return tuple(read_instruments(venue, file.read_bytes().splitlines(), f"snapshot of {venue}"))


def snapshots() -> list[Instrument]:
    """The built-in instruments of all venues."""
    return [instrument for venue in VENUES for instrument in snapshot(venue)]
