"""What Breakwater tells: one frozen struct per kind of record, with the meaning of every field.

Times are integer nanoseconds since 1970 UTC. Quantities are base units of the canonical asset. USD treats the
dollar stablecoins (USDT, USDC, USD1, FDUSD, BUSD, USDE) as one dollar. In JSON each record carries its ``kind``.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Position = Literal["long", "short"]
Cause = Literal["liquidation", "adl", "backstop", "unknown"]
PriceKind = Literal["fill", "order", "bankruptcy", "takeover", "mark"]
Coverage = Literal["complete", "sampled", "partial"]
TimeSource = Literal["venue", "receive", "skew", "none"]
FeedState = Literal[
    "connecting", "connected", "subscribed", "quiet", "silent", "gap", "refused", "unreachable", "closed"
]

POSITIONS: tuple[Position, ...] = ("long", "short")
CAUSES: tuple[Cause, ...] = ("liquidation", "adl", "backstop", "unknown")
PRICE_KINDS: tuple[PriceKind, ...] = ("fill", "order", "bankruptcy", "takeover", "mark")
COVERAGES: tuple[Coverage, ...] = ("complete", "sampled", "partial")
TIME_SOURCES: tuple[TimeSource, ...] = ("venue", "receive", "skew", "none")

VENUES: tuple[str, ...] = (
    "binance_usdm",
    "binance_coinm",
    "bybit",
    "okx",
    "gate",
    "bitget",
    "htx",
    "bitfinex",
    "deribit",
    "bitmex",
    "kraken_futures",
    "dydx_v4",
    "aster",
    "lighter",
    "extended",
    "hyperliquid",
    "kucoin",
    "pacifica",
)
"""Every venue identifier, those known from recordings only included. Columns carry the index; append only."""

RECORDED_ONLY = frozenset({"pacifica"})
"""Venues known from recordings of others alone; nothing listens to them."""


class Liquidation(Struct, frozen=True, gc=False, tag_field="kind", tag="liquidation"):
    """One forced close as a venue told it."""

    event_id: str
    """16 hex digits; the same event always has the same id, two equal fills in one frame have two."""
    venue: str
    instrument: str
    """The venue's own symbol."""
    asset: str
    """Canonical base asset (``1000PEPE`` is ``PEPE`` with quantity and price rescaled)."""
    position: Position
    """Whose position was closed. Never the order side."""
    cause: Cause
    """``adl`` is counted apart and never as a liquidation."""
    price: float
    """USD (or the contract's quote) per base unit; what it is tells ``price_kind``."""
    price_kind: PriceKind
    quantity: float
    notional_usd: float
    event_time: int
    """The venue's clock; the receive time where ``time_source`` is not ``venue``."""
    receive_time: int
    """Our socket's clock."""
    coverage: Coverage
    """``sampled``: at most one per symbol and second reaches us; sums over it are floors."""
    backfill: bool
    """True for what a venue replays on subscribe: stored, never scored."""
    time_source: TimeSource
    """``receive``: the venue sends no clock. ``skew``: its clock was off and ours is used. ``none``: neither."""


class OpenInterest(Struct, frozen=True, gc=False, tag_field="kind", tag="open_interest"):
    """Open contracts of one instrument, one-sided."""

    venue: str
    instrument: str
    asset: str
    quantity: float | None
    """Base units, each contract counted once though the venue count both sides; ``None`` where only USD is known."""
    notional_usd: float | None
    """USD; ``None`` where neither the venue's figure nor a price is known yet."""
    event_time: int
    receive_time: int


class Funding(Struct, frozen=True, gc=False, tag_field="kind", tag="funding"):
    """The funding rate longs pay shorts."""

    venue: str
    instrument: str
    asset: str
    rate: float
    """Fraction of notional per ``interval_hours``; positive: longs pay."""
    interval_hours: float
    annualised: float
    """``rate`` x 8760 / ``interval_hours``: the venue's own interval."""
    next_time: int | None
    event_time: int
    receive_time: int
    settled: bool = False
    """True for a rate already paid, false for the one running or predicted."""


class MarkPrice(Struct, frozen=True, gc=False, tag_field="kind", tag="mark_price"):
    """The price a venue values positions at."""

    venue: str
    instrument: str
    asset: str
    price: float
    index_price: float | None
    event_time: int
    receive_time: int


class Trade(Struct, frozen=True, gc=False, tag_field="kind", tag="trade"):
    """An ordinary trade, from venues whose forced closes are flagged trades."""

    trade_id: str
    venue: str
    instrument: str
    asset: str
    taker: Literal["buy", "sell"]
    price: float
    quantity: float
    notional_usd: float
    event_time: int
    receive_time: int
    backfill: bool


class FeedStatus(Struct, frozen=True, gc=False, tag_field="kind", tag="feed_status"):
    """What a connection to a venue is doing, and which span of it was lost."""

    venue: str
    feed: str
    """Name of the connection or poll, unique within the venue."""
    state: FeedState
    """``quiet``: healthy, nothing to tell. ``silent``: healthy socket that should have told something."""
    reason: str
    event_time: int
    gap_from: int | None = None
    gap_to: int | None = None
    """With ``state = gap``: between these times events may have been missed."""
    reconnects: int = 0
    dropped: int = 0
    """Frames dropped so far because the consumer was too slow."""


class AccountEvent(Struct, frozen=True, gc=False, tag_field="kind", tag="account_event"):
    """What happened to the desk's own position, from a private stream."""

    event_id: str
    venue: str
    instrument: str
    asset: str
    event: Literal["liquidation", "adl", "fill", "margin_call", "position"]
    position: Position | None
    """Whose position: for forced events the one closed."""
    order_side: Literal["buy", "sell"] | None
    price: float | None
    quantity: float | None
    """Base units, unsigned."""
    notional_usd: float | None
    state: Literal["known", "flat", "unknown"]
    """What is left of the position after the event, where the frame tells; ``unknown`` is never flat."""
    remaining: float | None
    """Signed base units left (positive = long) with ``state = known``."""
    order_id: str
    client_id: str
    detail: str
    """The venue's own words for the event."""
    event_time: int
    receive_time: int


class Control(Struct, frozen=True, gc=False, tag_field="kind", tag="control"):
    """A frame that is no event: acknowledgement, heartbeat, metadata, or a channel we know and do not use."""

    venue: str
    what: Literal["ack", "refused", "heartbeat", "ping", "pong", "welcome", "metadata", "ignored", "gap"]
    detail: str
    receive_time: int


class DeadLetter(Struct, frozen=True, gc=False, tag_field="kind", tag="dead_letter"):
    """A frame, or a part of one, that could not be understood. Nothing else of the frame is lost with it."""

    venue: str
    feed: str
    reason: str
    """What was wrong, where, and what to do."""
    raw: bytes
    """The frame as received (base64 in JSON), cut at 64 KiB."""
    receive_time: int


MarketRecord = (
    Liquidation | OpenInterest | Funding | MarkPrice | Trade | FeedStatus | AccountEvent | Control | DeadLetter
)
"""Everything a frame can turn into."""
