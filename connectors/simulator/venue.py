"""What a simulated venue is: its answers over REST, and one conversation per client socket. No I/O here."""

from __future__ import annotations

import enum
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, NamedTuple
from uuid import UUID

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
    """A REST request to a venue, or where a socket is opened; path relative to the venue's host."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    host: str = ""
    """``127.0.0.1:port``, for answers that name an address."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""

    def wants(self, path: str) -> bool:
        """Whether this asks for the venue's ``path``."""
        return self.path == path


class Ordinary(NamedTuple):
    """An ordinary trade, native terms."""

    taker: Literal["buy", "sell"]
    price: float
    quantity: float


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

    def ordinary(self, listing: Listing, number: int) -> Ordinary:
        """A trade of nobody's misfortune."""
        usd = 150.0 + number * 7919 % 2400
        price = float(listing.price_text(self.mark(listing) * (1.0 + (number % 7 - 3) * 2e-5)))
        settle = float(self.market.context.mark[self.second(), 0])
        quantity = float(listing.quantity_text(listing.native(usd, price, settle)))
        return Ordinary("buy" if number % 2 else "sell", price, quantity)

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

    heartbeat: float | None = None
    """Seconds between beats of the venue, where it beats."""
    patience: float | None = None
    """Seconds without a word (or protocol ping) from the client after which the venue hangs up."""

    def __init__(self, world: World, asked: Asked) -> None:
        self.world = world
        self.asked = asked

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

    def converse(self, world: World, asked: Asked) -> Conversation:
        """A client connected."""
        return self.conversation(world, asked)

    @abstractmethod
    def rest(self, asked: Asked, world: World) -> Any:
        """The JSON answer, or nothing for 404."""


def reads(message: str) -> Any:
    """The JSON of a client's message; nothing where it is none."""
    try:
        return json.loads(message)
    except ValueError:
        return None


def iso(milliseconds: int) -> str:
    """``2026-11-21T08:00:00.123Z``."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def guid(number: int) -> str:
    """A version-4-shaped id that is the same for the same number."""
    mixed = number * 0x9E3779B97F4A7C15F39CC0605CEDC835 & (1 << 128) - 1
    return str(UUID(int=mixed, version=4))


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


__all__ = [
    "ASSETS",
    "Asked",
    "Close",
    "Conversation",
    "Listing",
    "Ordinary",
    "Signal",
    "Venue",
    "Wire",
    "Wires",
    "World",
    "base_asset",
    "by_symbol",
    "encode",
    "group_by_symbol",
    "guid",
    "iso",
    "reads",
]  # fmt: skip
