"""What a person watching the pipeline sees at one moment; made by a flow, drawn by a dashboard."""

from __future__ import annotations

from msgspec import Struct

from schemas.cascades import CascadeUpdate, Level, Signal
from schemas.records import Coverage, FeedState


class WindowView(Struct, frozen=True):
    """One window of one asset."""

    count: int
    long_usd: float
    short_usd: float


class AssetView(Struct, frozen=True):
    """One asset, or the market (``*``)."""

    asset: str
    level: Level
    score: float
    windows: list[WindowView]
    """In the order of ``schemas.cascades.WINDOWS``."""
    floor: bool
    heat: float = 1.0
    """How many times as fast as usual events come."""
    probability: float | None = None
    """Of the USD threshold within the horizon the levels look at; ``None`` without a model."""


class FeedView(Struct, frozen=True):
    """One connection or poll."""

    venue: str
    title: str
    feed: str
    coverage: Coverage
    state: FeedState
    reason: str
    frames: int
    events: int
    """Forced closes of the venue, whichever of its feeds brought them."""
    reconnects: int
    dropped: int
    frame_age: float | None
    """Seconds since the last frame."""
    event_age: float | None
    """Seconds since the last forced close."""


class SignalView(Struct, frozen=True):
    """A signal and how long it took from our socket to the sink."""

    signal: Signal
    latency_ms: float | None


class PipelineView(Struct, frozen=True):
    """Everything at one moment."""

    simulated: bool
    elapsed: float
    """Seconds since the start."""
    events: int
    events_per_second: float
    """Over the last two seconds."""
    long_usd_minute: float
    short_usd_minute: float
    adl_events: int
    market: AssetView
    assets: list[AssetView]
    """Busiest first."""
    feeds: list[FeedView]
    signals: list[SignalView]
    """Newest first."""
    cascades: list[CascadeUpdate]
    """Open ones first, then the most recently closed."""
    cascades_total: int
    signals_total: int
    dead_letters: int
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    files: int
    """History files written."""


class PaperView(Struct, frozen=True, kw_only=True):
    """What became of the paper pair of a demo."""

    asset: str
    long: str
    """Venue of the long leg."""
    short: str
    notional_usd: float
    """Of each leg when it was opened."""
    leverage: float
    opened: bool = False
    """Whether both venues told a price to begin at."""
    hit: str | None = None
    """Venue whose leg was taken away."""
    reason: str = ""
    """As the ledger has it, such as ``LIQUIDATION_ASTER``."""
    path: str = ""
    """How it was noticed; as of an intent."""
    detection_ms: float | None = None
    """From the liquidation until the executor knew."""
    flat_ms: float | None = None
    """From the liquidation until the other leg was closed; ``None`` where it was not."""
    pnl_usd: float | None = None
    """At the end, fees and the fee of the liquidation taken off."""
    idle_pnl_usd: float | None = None
    """The same of an equal pair nobody acted for, at the last marks."""
