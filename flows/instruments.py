"""``breakwater instruments``: the contracts of a venue in the format ``--instruments`` reads."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from connectors.exchange import UNREADABLE, Endpoints
from connectors.exchanges import exchange
from connectors.instruments import snapshot
from connectors.metadata import load_instruments
from schemas.clock import Clock
from schemas.errors import ConnectionLost, UsageError
from schemas.instruments import Instrument

_encode = msgspec.json.Encoder().encode_lines


def as_lines(instruments: Iterable[Instrument]) -> bytes:
    """One JSON line per contract."""
    return _encode([_line(instrument) for instrument in instruments])


def listed(venue: str, body: bytes) -> list[Instrument]:
    """The contracts in the venue's own metadata answer; UsageError where it is none."""
    try:
        return list(exchange(venue).metadata(body))
    except UNREADABLE as error:
        asked_for = " or ".join(request.path for request in exchange(venue).metadata_requests())
        raise UsageError(f"that is no answer of {venue} to {asked_for}: {type(error).__name__}: {error}") from None


def asked(venue: str, clock: Clock, proxy: str | None = None, endpoints: Endpoints | None = None) -> list[Instrument]:
    """The contracts the venue lists now; ConnectionLost where it does not tell all of them."""
    spoken = exchange(venue)
    listing = load_instruments(spoken, endpoints or spoken.production, clock, proxy=proxy)
    if listing.problem:
        raise ConnectionLost(f"{venue}: {listing.problem}")
    return list(listing.instruments)


def _line(instrument: Instrument) -> dict[str, object]:
    told = msgspec.structs.asdict(instrument)
    del told["venue"]
    return {name: value for name, value in told.items() if value not in {None, ""}}


__all__ = ["as_lines", "asked", "listed", "snapshot"]
