"""What each simulated feed tells of what happened, and when: the measure for everything downstream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

from connectors.simulator.market import SILENT_TO, Close, Market

Keep = Literal["all", "largest", "latest", "largest of each position", "nothing"]


class Pace(NamedTuple):
    """How a feed thins and batches."""

    every: int
    """Milliseconds between pushes; 0 where each close is sent at once."""
    keep: Keep
    """What of one contract survives within that time."""
    phase: int = 0
    """Milliseconds after the whole second at which its intervals begin."""

    def interval(self, time: int) -> int:
        """Number of the push interval that ``time`` falls into."""
        return (time - self.phase) // max(1, self.every)

    def pushed(self, interval: int) -> int:
        """When what fell into that interval is told."""
        return (interval + 1) * self.every + self.phase if self.every else interval


PACES: dict[str, Pace] = {
    "binance_usdm": Pace(1000, "largest", 130),
    "binance_coinm": Pace(1000, "latest", 410),
    "bybit": Pace(500, "all", 70),
    "okx": Pace(1000, "latest", 620),
    "gate": Pace(1000, "all", 790),
    "bitget": Pace(1000, "largest of each position", 940),
    "htx": Pace(0, "all"),
    "bitfinex": Pace(0, "all"),
    "deribit": Pace(100, "all"),
    "bitmex": Pace(0, "all"),
    "kraken_futures": Pace(0, "all"),
    "dydx_v4": Pace(0, "all"),
    "aster": Pace(1000, "latest", 270),
    "lighter": Pace(0, "all"),
    "extended": Pace(0, "all"),
    "hyperliquid": Pace(0, "nothing"),
    "kucoin": Pace(0, "nothing"),
}
"""By venue, as the venues document it."""

CATCHES_UP = frozenset({"okx"})
"""Venues that send late, on the open socket, what they did not send in time."""


class Telling(NamedTuple):
    """What one venue's feed tells at one moment."""

    at: int
    """Milliseconds since the start of the run."""
    venue: str
    closes: tuple[Close, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """What happened and what was told of it."""

    market: Market
    tellings: tuple[Telling, ...]
    """In order of time."""

    def happened(self, venue: str | None = None) -> list[Close]:
        """Every forced close, of one venue or of all."""
        return [close for close in self.market.closes if venue in {None, close.venue}]

    def told(self, venue: str | None = None) -> list[Close]:
        """Every forced close a feed tells to whoever listens from the start, in order of telling."""
        return [close for telling in self.tellings if venue in {None, telling.venue} for close in telling.closes]


def tell(market: Market) -> Truth:
    """Apply each feed's cap, rhythm and silence."""
    found: list[Telling] = []
    for venue, pace in PACES.items():
        own = [close for close in market.closes if close.venue == venue]
        found += _spoken(market, venue, _thinned(venue, own, pace))
    return Truth(market, tuple(sorted(found, key=lambda telling: (telling.at, telling.venue))))


def _thinned(venue: str, closes: Sequence[Close], pace: Pace) -> list[Telling]:
    found = []
    for interval, group in groupby(closes, lambda close: pace.interval(close.time)):
        kept = _kept(group, pace.keep)
        if kept:
            found.append(Telling(pace.pushed(interval), venue, kept))
    return found


def _kept(closes: Iterable[Close], keep: Keep) -> tuple[Close, ...]:
    if keep == "nothing":
        return ()
    if keep == "all":
        return tuple(closes)
    best: dict[object, Close] = {}
    for close in closes:
        key = (close.listing, close.position) if keep == "largest of each position" else close.listing
        known = best.get(key)
        if known is None or keep == "latest" or close.usd > known.usd:
            best[key] = close
    return tuple(sorted(best.values(), key=lambda close: close.number))


def _spoken(market: Market, venue: str, tellings: list[Telling]) -> list[Telling]:
    """Without what falls into the silence; what is caught up comes at its end."""
    missed = [telling for telling in tellings if market.is_silent(venue, telling.at)]
    if not missed:
        return tellings
    spoken = [telling for telling in tellings if not market.is_silent(venue, telling.at)]
    if venue in CATCHES_UP:
        late = tuple(close for telling in missed for close in telling.closes)
        spoken.append(Telling(round(SILENT_TO * market.duration * 1000.0) + 1, venue, late))
    return spoken
