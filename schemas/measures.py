"""``Measures``: what is known of one asset (or the market) at one second, beyond its windows."""

from __future__ import annotations

from msgspec import Struct

SCALES: tuple[str, ...] = ("1s", "3s", "10s", "60s", "300s", "1800s")
"""Time constants τ of the decayed sums: an event t seconds old counts exp(-t/τ)."""

ROLLING: tuple[str, ...] = (
    "minutes",
    "count",
    "long_count",
    "short_count",
    "usd",
    "long_usd",
    "short_usd",
    "complete_usd",
    "floor_usd",
    "estimate_usd",
    "mean_usd",
    "largest_usd",
    "count_std",
    "usd_std",
    "count_change",
    "usd_change",
)
"""Figures of a rolling window of whole minutes: how many of them were watched; events; USD; USD of complete feeds, of
others (a floor), and of all estimated; mean and largest USD of an event; standard deviations over its minutes of events
and of USD per minute; relative change of events and USD against the window before (0.5 is half as much again), ``None``
where that was not wholly watched or was empty."""


class Measures(Struct, frozen=True, gc=False, tag_field="kind", tag="measures"):
    """One asset, or the market (``*``), at ``time``. Liquidations only: ADL is not in any figure.

    Every sum of USD is what the feeds told: a lower bound wherever a feed does not tell everything. ``complete_usd`` is
    the part told by feeds that do, ``floor_usd`` the rest, ``estimate_usd`` counts that rest as often as such a feed is
    known to leave things out (setting ``measures``). Figures nothing is known about are ``None``, never 0.
    """

    asset: str
    time: int

    # The last minute, (time - 60 s, time].
    events: int
    complete_usd: float
    floor_usd: float
    estimate_usd: float
    largest_share: float | None
    """Share of the largest event in the USD of the minute."""
    top5_share: float | None
    """Share of the five largest."""
    whale_events: int
    """Events of at least 100,000 USD."""
    whale_share: float | None
    """Their share in the USD of the minute."""
    effective_venues: float | None
    """Inverse Herfindahl index of events over venues: 1 where one venue has them all."""
    venue_concentration: float | None
    """Herfindahl index of USD over venues, 1 / number of venues to 1."""

    # Pace: velocity over the last ten seconds, acceleration and jerk against the tens of seconds before.
    events_per_second: float
    acceleration: float
    """Events/s²."""
    jerk: float
    """Events/s³."""
    usd_per_second: float
    usd_acceleration: float
    """USD/s²."""
    usd_jerk: float
    """USD/s³."""
    floor_usd_per_second: float
    """How much of ``usd_per_second`` came from feeds that do not tell everything."""
    estimate_usd_per_second: float
    long_events_per_second: float
    long_acceleration: float
    long_jerk: float
    long_usd_per_second: float
    long_usd_acceleration: float
    short_events_per_second: float
    short_acceleration: float
    short_jerk: float
    short_usd_per_second: float
    short_usd_acceleration: float
    venue_events_per_second: dict[str, float]
    """By venue, as all five: venues with events in the last 30 s."""
    venue_acceleration: dict[str, float]
    venue_jerk: dict[str, float]
    venue_usd_per_second: dict[str, float]
    venue_usd_acceleration: dict[str, float]

    # Bursts: ten seconds that hold three times what the minutes before lead to expect.
    burst_started: int | None
    """When the burst of all venues together began; ``None`` where there is none."""
    leading_venue: str | None
    """The venue whose burst began first; the earlier in ``VENUES`` where equal."""
    venue_lags: dict[str, float]
    """Seconds after the leading one at which the burst of each venue began, in that order."""
    lead_venues: list[str]
    """Pairs of venues, most frequent first: bursts of this one ..."""
    lag_venues: list[str]
    """... preceded those of this one ..."""
    lead_bursts: list[float]
    """... so many times, decayed over a day ..."""
    lead_seconds: list[float]
    """... by so many seconds on average."""

    # Contagion: bursts of one asset that began within a minute before those of another.
    igniters: list[str]
    """Pairs of assets, most frequent first (of an asset: who ignited it): bursts of this one ..."""
    ignited: list[str]
    """... preceded those of this one ..."""
    ignitions: list[float]
    """... so many times, decayed over a day ..."""
    ignition_seconds: list[float]
    """... by so many seconds on average."""
    wave: list[str]
    """The market's: assets whose bursts began in the last minute, in that order, at most 16."""
    wave_lags: list[float]
    """Seconds after the first of them."""
    active_assets: int | None
    """The market's, as all four: assets with a liquidation in the last minute ..."""
    breadth_burst: float | None
    """... the share of these in a burst ..."""
    breadth_watch: float | None
    """... at WATCH or above ..."""
    breadth_cascade: float | None
    """... in a cascade."""

    # Memory.
    decayed_long_events: dict[str, float]
    """By ``SCALES``, as all six."""
    decayed_short_events: dict[str, float]
    decayed_long_usd: dict[str, float]
    """USD, an event counting at most 1,000,000."""
    decayed_short_usd: dict[str, float]
    decayed_floor_usd: dict[str, float]
    """How much of both sides came from feeds that do not tell everything."""
    decayed_estimate_usd: dict[str, float]
    heat: float
    """Rate of the last ten seconds over that of the last half hour; about 1 in calm. No probability."""
    branching_ratio: float | None
    """Share of events set off by others, from counts per minute of about a day; reads slow changes of the base rate as
    self-excitation, and misses what takes longer than a minute."""
    branching_error: float | None
    """Its standard error."""
    branching_minutes: float
    """Independent minutes behind it."""
    rolling_15m: dict[str, float | None]
    """``ROLLING``."""
    rolling_1h: dict[str, float | None]
    rolling_4h: dict[str, float | None]

    # Price levels, 10 basis points wide, USD decayed over four hours: the five largest.
    price: float | None
    """Of the newest liquidation, of whatever kind that venue tells."""
    level_prices: list[float]
    """The middle of each level."""
    level_usd: list[float]
    level_shares: list[float]
    """Share in the USD of all levels."""
    level_long_shares: list[float]
    """Share of longs in the USD of the level."""
    level_distances: list[float]
    """Relative distance from ``price``: -0.01 is one per cent below it."""

    # Context.
    open_interest_usd_per_second: float | None
    """Change over about a minute, at ``price``; the market's is the sum of the assets known."""
    funding_velocity: float | None
    """Change of the mean funding rate (per 8 h) since the hour before, per hour."""
    funding_acceleration: float | None
    """Change of that since the hour before, per hour²."""
