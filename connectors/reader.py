"""One thread that owns every socket and poll, and hands what they bring to the flow over a bounded spool."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from connectors.exchange import Endpoints, Exchange
from connectors.spool import Item, SpoolLimits
from schemas.clock import Clock
from schemas.instruments import Instrument
from schemas.records import FeedState


@dataclass(frozen=True, slots=True)
class VenueFeeds:
    """One venue to listen to."""

    exchange: Exchange
    endpoints: Endpoints
    instruments: Sequence[Instrument] = ()
    """What is known before the venue was asked (the snapshot): used where it cannot be asked."""
    assets: frozenset[str] | None = None
    """Only contracts on these canonical assets; all where not told."""
    ask_metadata: bool = True
    """Ask the venue for its instruments at start and daily."""


@dataclass(frozen=True, slots=True)
class FeedFigures:
    """One connection or poll at one moment."""

    venue: str
    feed: str
    state: FeedState
    reason: str
    frames: int
    reconnects: int
    dropped: int
    last_frame: int
    """Receive time of the last frame, 0 before the first."""


class Reader:
    """Keeps every connection and poll of ``venues`` going. One use: ``start``, ``drain`` again and again, ``stop``."""

    def __init__(
        self,
        venues: Iterable[VenueFeeds],
        clock: Clock,
        limits: SpoolLimits | None = None,
        proxy: str | None = None,
    ) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Start the thread."""

    def stop(self, timeout: float = 5.0) -> None:
        """Close every socket and end the thread, within ``timeout`` seconds. What waits can still be drained."""

    def drain(self, wait: float, most: int = 10_000) -> list[Item]:
        """What arrived since, in order; blocks up to ``wait`` seconds (GIL released) for the first item."""
        raise NotImplementedError

    def forced_closes(self, venue: str, feed: str, time: int) -> None:
        """The consumer found forced closes in frames of this feed, received at ``time`` (silence is judged by it)."""

    def feeds(self) -> list[FeedFigures]:
        """Figures of every feed, for a dashboard. Any thread may ask."""
        raise NotImplementedError
