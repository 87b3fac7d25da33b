"""What the thinking tells: windows, cascades and signals. Units and clocks as in ``schemas.records``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Level = Literal["NONE", "WATCH", "ALERT", "CRITICAL", "EXTREME"]
LEVELS: tuple[Level, ...] = ("NONE", "WATCH", "ALERT", "CRITICAL", "EXTREME")
Side = Literal["long", "short", "mixed"]

Rule = Literal["probability", "score", "velocity", "time"]
"""What decided on a level; ``time``: that it was not reached for long enough."""

MARKET = "*"
"""The ``asset`` of figures over all assets together."""

WINDOWS: dict[str, int] = {
    "100ms": 100_000_000,
    "500ms": 500_000_000,
    "2s": 2_000_000_000,
    "10s": 10_000_000_000,
    "60s": 60_000_000_000,
    "5m": 300_000_000_000,
}
"""The six trailing windows, name -> length in nanoseconds."""

COMPONENTS: tuple[str, ...] = (
    "velocity",
    "acceleration",
    "volume",
    "cross_venue",
    "funding",
    "open_interest",
)
"""The six parts of the composite score, each 0 to 1."""


class WindowMetrics(Struct, frozen=True, gc=False, tag_field="kind", tag="window_metrics"):
    """One trailing window ``(time - length, time]`` of one asset, or of the market (``*``). ADL is counted apart."""

    asset: str
    window: str
    """A key of ``WINDOWS``."""
    time: int
    count: int
    usd: float
    long_count: int
    short_count: int
    long_usd: float
    """USD of longs closed."""
    short_usd: float
    adl_count: int
    adl_usd: float
    floor_usd: float
    """How much of ``usd`` came from feeds that do not tell everything: the true sum is at least ``usd``."""
    events_per_second: float
    usd_per_second: float
    acceleration: float
    """Events/s²: change of velocity against the preceding window of equal length, per that length."""
    usd_acceleration: float
    """USD/s², likewise."""
    venues: dict[str, int]
    """Events by venue, venues without any left out."""
    leading_venue: str | None
    """The venue with most events; the earlier in ``VENUES`` where equal."""


class CascadeUpdate(Struct, frozen=True, gc=False, tag_field="kind", tag="cascade"):
    """A cascade opens, changes, passes its peak, closes. Every update carries all that is known so far."""

    cascade_id: str
    asset: str
    state: Literal["open", "update", "peak", "close"]
    """One ``open``, any number of ``update``, one ``peak``, one ``close``. ``peak`` is told when the peak is past: the
    USD of the last ten seconds (decayed, each event at most a million) were below half their best for ten seconds, or
    the cascade closes. A second, higher wave of the same cascade moves ``peaked`` and is not announced again."""
    time: int
    """When this became true, event time."""
    opened: int
    """When the level that opened it was reached."""
    started: int
    """Time of the first event counted in."""
    closed: int | None
    side: Side
    """Which positions make up at least two thirds of the USD, else mixed."""
    level: Level
    peak_level: Level
    score: float
    peak_score: float
    events: int
    usd: float
    long_usd: float
    short_usd: float
    adl_events: int
    adl_usd: float
    venues: list[str]
    """In order of entry; the first is the origin."""
    entry_lags: list[float]
    """Seconds from ``started`` to each venue's first event."""
    floor: bool
    """True where a feed that does not tell everything took part: ``usd`` is at least that much."""
    assets: list[str] = []
    """The first eight in order of entry; the first is the origin. Of an asset's own cascade that asset."""
    asset_lags: list[float] = []
    """Seconds from ``started`` to each asset's first event."""
    long_usd_by_venue: dict[str, float] = {}
    """USD of longs closed by venue, venues without any left out."""
    short_usd_by_venue: dict[str, float] = {}
    peaked: int | None = None
    """When the pace was at its best so far, event time."""
    peak_usd_per_second: float = 0.0
    """That best pace: USD of ten seconds, decayed, each event at most a million."""
    heat: float = 1.0
    """Events per second of the last ten seconds over those of the last half hour: 1 is as usual. No probability."""
    probability: dict[str, float] = {}
    """By horizon (``60s``): that the USD of the time from ``time`` on reach the threshold. Empty without a model."""
    peak_probability: dict[str, float] = {}
    """The best of the cascade so far."""
    threshold_usd: dict[str, float] = {}
    """By horizon: what ``probability`` is about."""


class Signal(Struct, frozen=True, gc=False, tag_field="kind", tag="signal"):
    """The level of an asset (or the market) changed."""

    signal_id: str
    """Hash of asset, rule version, deciding event and level: a replay gives the same."""
    asset: str
    level: Level
    previous: Level
    score: float
    components: dict[str, float | None]
    """Each of ``COMPONENTS``, 0 to 1; ``None`` where the context is missing, and all where time alone decided."""
    weights: dict[str, float]
    """The weights used, sum 1: those of missing contexts are spread over the rest, visibly."""
    context: dict[str, float | None]
    """Relative change of open interest over 1 m, 5 m, 1 h; funding per 8 h now, its trend, its largest in 24 h."""
    boosted: bool
    """True where extreme acceleration multiplied the score."""
    side: Side
    events_per_second: float
    usd_per_second: float
    acceleration: float
    window: str
    """The window the rates were read on."""
    cascade_id: str | None
    event_time: int
    receive_time: int
    """When the deciding frame reached our socket; the event time where the passing of time decided."""
    event_id: str
    """The deciding event; empty where the passing of time decided."""
    floor: bool
    """True where a feed that does not tell everything contributed: the truth is at least this."""
    rules: str
    """Version of the scoring rules."""
    decided_by: Rule = "time"
    """The rule that reaches the level; of several the first of probability, score, velocity."""
    raw: dict[str, float | None] = {}
    """What each component was made of: events/s and events/s² (events of capped feeds weighted), USD/s, effective
    number of venues, funding per 8 h, fall of open interest as a fraction."""
    full_scale: dict[str, float] = {}
    """The raw figure at which each component is 1."""
    boost: float = 1.0
    """What the weighted sum was multiplied by."""
    capped_event: float | None = None
    """What an event of a feed that does not tell everything counted for."""
    usual_events_per_second: float | None = None
    """Of the last half hour; with the next it sets ``capped_event`` and the full volume. None while not known yet."""
    usual_usd_per_second: float | None = None
    heat: float = 1.0
    """Events per second of the last ten seconds over those of the last half hour: 1 is as usual. No probability."""
    probability: dict[str, float] = {}
    """By horizon (``60s``): that the USD from ``event_time`` on reach the threshold. Empty without a model."""
    usual_probability: dict[str, float] = {}
    """Its mean over a day: a probability that is usually high decides on no level."""
    threshold_usd: dict[str, float] = {}
    """By horizon: what ``probability`` is about."""
    drivers: dict[str, float] = {}
    """What each feature adds to the log odds of the horizon levels go by, against the mean of the fit."""
    models: dict[str, str] = {}
    """By horizon: what the model was fitted on, hash and period of the data."""
