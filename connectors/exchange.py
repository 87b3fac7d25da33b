"""The contract of a venue: what to connect to, what to say, and how to read what comes back.

An ``Exchange`` is pure: it describes sockets and polls and never opens one. A ``Session`` is the reading half of one
connection; it holds what the venue's protocol makes a reader remember (channel numbers, tables, last marks).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec

from connectors.intake import VenueIntake
from schemas.instruments import Instrument
from schemas.records import Coverage

UNREADABLE = (
    msgspec.MsgspecError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a session may raise on a frame it cannot understand."""


def fields(body: Any) -> list[str]:
    """What a body that is not understood has, for the reason of its dead letter."""
    return sorted(body)[:12] if isinstance(body, dict) else [type(body).__name__]


_LONGEST_HEARTBEAT = 256
_HEARTBEAT = re.compile(rb'pong|heartbeat|"hb"', re.IGNORECASE).search


class Frame(NamedTuple):
    """One native frame or REST body, as received (after transport decompression)."""

    venue: str
    feed: str
    """Name of the connection or poll it came by."""
    payload: bytes
    receive_time: int
    """Nanoseconds UTC; 0 where a plain file does not tell."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a venue is: the production hosts, or a simulator standing in for them. No trailing slash."""

    websocket: str
    rest: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What we must say, unasked, so that the venue keeps the socket open."""

    message: str
    every: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Request:
    """One REST request, path and query relative to ``Endpoints.rest``."""

    path: str
    method: Literal["GET", "POST"] = "GET"
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Connection:
    """One socket to keep open."""

    feed: str
    """Unique within the venue, e.g. ``liquidations``, ``tickers-2``."""
    url: str
    subscribe: tuple[str, ...] = ()
    """Messages to send after connecting, in order."""
    acknowledgements: int = 0
    """How many ``Acknowledged`` answers mean subscribed; 0 where subscribing is by URL."""
    heartbeat: Heartbeat | None = None
    lifetime: float = 0.0
    """Seconds after which the venue cuts the socket, renewed before; 0 where it does not."""
    stale_after: float = 60.0
    """Seconds without any frame, pings included, after which the socket is dead."""
    carries_liquidations: bool = True
    expected_gap: float | None = None
    """Seconds between data frames to expect until the feed's own rhythm is learned, e.g. 1 where marks tick."""
    token: Request | None = None
    """Asked first where the venue gives the address with a token (``Exchange.address`` reads the answer)."""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Poll:
    """One REST request to repeat; its body is a frame of feed ``feed``."""

    feed: str
    request: Request
    every: float
    """Seconds."""
    weight: int = 1
    """What it costs of the venue's ``RateLimit``."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The venue's REST allowance: ``weight`` per ``seconds``, all polls together."""

    weight: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The venue confirmed (part of) the subscription."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The venue refused (part of) the subscription."""

    reason: str


class Session(ABC):
    """Reads the frames of one connection or poll into an intake, in order.

    ``read`` may raise on a frame it cannot understand (msgspec errors, ValueError, LookupError, TypeError and the
    like): the caller makes it a dead letter and goes on. What was appended before the fault stands.
    """

    def __init__(self, intake: VenueIntake) -> None:
        self.intake = intake

    @abstractmethod
    def read(self, payload: bytes, receive_time: int, feed: str) -> None:
        """Append what the frame tells to the intake: records, a control, or an exception."""

    def each(self, rows: Any, read: Callable[[Any], None]) -> None:
        """Read every row of a list; one that cannot be understood becomes a dead letter and the others stand."""
        if not isinstance(rows, list):
            raise TypeError(f"expected a list of rows, got {type(rows).__name__}")
        if not rows:
            self.intake.control("ignored", "empty list")
        for row in rows:
            try:
                read(row)
            except UNREADABLE as error:
                self.intake.reject(f"unreadable row {str(row)[:200]}: {type(error).__name__}: {error}")


class Exchange(ABC):
    """One venue. Subclasses are stateless; each dialect module lists its instances in ``EXCHANGES``."""

    venue: ClassVar[str]
    title: ClassVar[str]
    """The name people know."""
    coverage: ClassVar[Coverage]
    """How complete the public forced-close feed is."""
    has_liquidations: ClassVar[bool] = True
    production: ClassVar[Endpoints]
    rate_limit: ClassVar[RateLimit] = RateLimit(5, 1.0)
    session_type: ClassVar[type[Session]]
    compressed: ClassVar[bool] = False
    """True where frames are gzip."""

    def session(self, intake: VenueIntake) -> Session:
        """A fresh reader for one connection."""
        return self.session_type(intake)

    @abstractmethod
    def connections(self, endpoints: Endpoints, instruments: Sequence[Instrument]) -> Sequence[Connection]:
        """The sockets that bring every forced close, and context, of ``instruments``."""

    def polls(self, instruments: Sequence[Instrument]) -> Sequence[Poll]:  # noqa: ARG002 - venues override it
        """The REST requests for what no socket tells."""
        return ()

    def metadata_requests(self) -> Sequence[Request]:
        """The REST requests that list every instrument."""
        return ()

    def metadata(self, body: bytes) -> Iterable[Instrument]:  # noqa: ARG002 - venues override it
        """The instruments in the answer to one of ``metadata_requests``."""
        return ()

    def reply(self, frame: bytes) -> str | None:  # noqa: ARG002 - venues override it
        """What must be said back at once (an application-level ping), or nothing. Called for each frame: be quick."""
        return None

    def acknowledgement(self, frame: bytes) -> Acknowledged | Denied | None:  # noqa: ARG002 - venues override it
        """Whether the frame answers a subscription. Called until all are answered, and for small frames after."""
        return None

    def tells(self, frame: bytes) -> bool:
        """False for a frame that only keeps the connection alive, so that a feed of pongs counts as silent.

        Called for each frame that neither ``reply`` nor ``acknowledgement`` cared for: be quick.
        """
        return len(frame) > _LONGEST_HEARTBEAT or not _HEARTBEAT(frame)

    def address(self, answer: bytes) -> tuple[str, float]:
        """URL and heartbeat interval in seconds from the answer to ``Connection.token``."""
        raise NotImplementedError(f"{self.venue} needs no token")
