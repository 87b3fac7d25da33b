"""The short way from a venue's frames to its records: one session, the built-in instruments."""

from __future__ import annotations

from collections.abc import Sequence

from connectors.catalogue import Catalogue
from connectors.exchange import Frame
from connectors.exchanges import exchanges
from connectors.instruments import snapshot
from connectors.normaliser import Normaliser
from schemas.records import Liquidation, MarketRecord


def records(venue: str, frames: Sequence[bytes | str], receive_time: int = 0) -> list[MarketRecord]:
    """What the frames turn into, in order."""
    normaliser = Normaliser(exchanges().values(), Catalogue(snapshot(venue)))
    raw = [frame.encode() if isinstance(frame, str) else frame for frame in frames]
    return list(normaliser.normalise([Frame(venue, "test", r, receive_time) for r in raw]).records())


def liquidations(found: Sequence[MarketRecord]) -> list[Liquidation]:
    """The forced closes among the records."""
    return [record for record in found if isinstance(record, Liquidation)]
