"""What a simulated venue is: its answers over REST, and one conversation per client socket. No I/O here."""

from __future__ import annotations

import enum
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from connectors.simulator.listings import ASSETS, LISTINGS, SHARES, Listing
from connectors.simulator.market import Close, Market
from connectors.simulator.truth import Truth
from schemas.clock import MILLISECOND, Clock


class Signal(enum.Enum):
    """What a venue does to a socket other than sending a message."""

    PING = enum.auto()
    DROP = enum.auto()


Wire = str | bytes | Signal
"""A text message, a binary message, or a signal."""
Wires = Iterable[Wire]


def encode(body: Any) -> str:
    """JSON as the venues write it: compact, in the given order."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """One REST request to a venue, path relative to its host."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    host: str = ""
    """``127.0.0.1:port``, for answers that name an address."""

    def wants(self, path: str) -> bool:
        """Whether this asks for the venue's ``path``, also where a client counts its beginning to the host."""
        return self.path == path or (self.path.count("/") > 1 and path.endswith(self.path))


class World:
    """The run as one venue sees it at this moment."""

    def __init__(self, venue: str, truth: Truth, start: int, clock: Clock, speed: float = 1.0) -> None:
        self.venue = venue
        self.listings = LISTINGS[venue]
        self.start = start
        """Nanoseconds UTC of offset 0, a whole millisecond."""
        self._truth = truth
        self._clock = clock
        self._speed = speed
        self._told = [telling for telling in truth.tellings if telling.venue == venue]

    @property
    def market(self) -> Market:
        """The whole run."""
        return self._truth.market

    def now(self) -> int:
        """Milliseconds UTC."""
        return self._clock() // MILLISECOND

    def offset(self) -> int:
        """Milliseconds of the run gone by."""
        return int((self._clock() - self.start) / MILLISECOND * self._speed)

    def stamp(self, close: Close) -> int:
        """When it happened, milliseconds UTC by the venue's clock."""
        return self.start // MILLISECOND + int(close.time / self._speed)

    def silent(self) -> bool:
        """Whether the venue sends no data now."""
        return self.market.is_silent(self.venue, self.offset())

    def recent(self, limit: int, listing: Listing | None = None) -> list[Close]:
        """The newest forced closes told by now, oldest first; none while silent."""
        if self.silent():
            return []
        offset = self.offset()
        told = [close for telling in self._told if telling.at <= offset for close in telling.closes]
        return [close for close in told if listing in {None, close.listing}][-limit:]

    def second(self) -> int:
        """Row of the context that holds now."""
        return max(0, min(self.offset() // 1000, len(self.market.context.mark) - 1))

    def mark(self, listing: Listing) -> float:
        """Native mark price."""
        return float(
            listing.price_text(float(self.market.context.mark[self.second(), listing.asset]) * listing.divisor)
        )

    def index(self, listing: Listing) -> float:
        """Native index price."""
        return float(listing.price_text(self.mark(listing) * 1.0004))

    def funding(self, listing: Listing, hours: float = 8.0) -> float:
        """Fraction of notional per ``hours``."""
        return round(float(self.market.context.funding[self.second(), listing.asset]) * hours / 8.0, 10)

    def next_funding(self, hours: int = 8) -> int:
        """The next full ``hours`` of the day, milliseconds UTC."""
        span = hours * 3_600_000
        return (self.now() // span + 1) * span

    def coins(self, listing: Listing) -> float:
        """Open interest in coins of the canonical asset, one-sided."""
        share = SHARES[listing.venue] * listing.weight / _weights(listing)
        return float(self.market.context.interest[self.second(), listing.asset]) * share

    def interest(self, listing: Listing) -> float:
        """Open interest in native units (of ``Listing.kind``), one-sided, on the lot grid."""
        usd = self.coins(listing) * self.mark(listing) / listing.divisor
        settle = float(self.market.context.mark[self.second(), 0])
        return float(listing.quantity_text(listing.native(usd, self.mark(listing), settle)))


def _weights(listing: Listing) -> float:
    return sum(other.weight for other in LISTINGS[listing.venue] if other.asset == listing.asset)


class Conversation:
    """One client socket, as the venue sees it."""

    heartbeat: ClassVar[float | None] = None
    """Seconds between beats of the venue, where it beats."""
    patience: ClassVar[float | None] = None
    """Seconds without a word (or protocol ping) from the client after which the venue hangs up."""

    def __init__(self, world: World, path: str, query: Mapping[str, str]) -> None:
        self.world = world
        self.path = path
        self.query = query

    def opening(self) -> Wires:
        """What is said first."""
        return ()

    def hear(self, message: str) -> Wires:  # noqa: ARG002 - the signature is the contract
        """The answer to a message of the client."""
        return ()

    def forced(self, closes: Sequence[Close]) -> Wires:  # noqa: ARG002 - the signature is the contract
        """What is pushed when the feed tells these closes. Must not be called while silent."""
        return ()

    def context(self) -> Wires:
        """What is pushed once a second. Must not be called while silent."""
        return ()

    def beat(self) -> Wires:
        """What is sent each ``heartbeat``."""
        return (Signal.PING,)


class Venue(ABC):
    """One venue. Modules in ``venues`` list their instances in ``VENUES``."""

    name: ClassVar[str]
    conversation: ClassVar[type[Conversation]]

    def paths(self, path: str) -> bool:  # noqa: ARG002 - the signature is the contract
        """Whether a websocket may be opened there."""
        return True

    @abstractmethod
    def rest(self, asked: Asked, world: World) -> Any:
        """The JSON answer, or nothing for 404."""


def reads(message: str) -> Any:
    """The JSON of a client's message; nothing where it is none."""
    try:
        return json.loads(message)
    except ValueError:
        return None


def by_symbol(listings: Iterable[Listing]) -> dict[str, Listing]:
    """The listings by symbol."""
    return {listing.symbol: listing for listing in listings}


def base_asset(listing: Listing) -> str:
    """The base asset as venues name it that list PEPE by the thousand."""
    return f"1000{listing.coin}" if listing.divisor == 1000.0 else listing.coin


def group_by_symbol(closes: Iterable[Close]) -> dict[str, list[Close]]:
    """The closes by symbol, in order."""
    found: dict[str, list[Close]] = {}
    for close in closes:
        found.setdefault(close.listing.symbol, []).append(close)
    return found


Answer = Callable[[Asked, World], Any]
__all__ = [
    "ASSETS", "Answer", "Asked", "Close", "Conversation", "Listing", "Signal", "Venue", "Wire", "Wires", "World",
    "base_asset", "by_symbol", "encode", "group_by_symbol", "reads",
]  # fmt: skip
