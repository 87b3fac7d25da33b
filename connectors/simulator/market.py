"""The simulated market: calm, one cascade shaped like 10 October 2025, a wave of ADL, calm. Seeded and pure.

The shape (all in fractions of the run, so that a minute shows what took twelve):

- calm: a self-exciting background (branching ratio 0.6, log-normal sizes) over all venues, both sides alike;
- from ``ONSET``: packets every 6–7 s of the original, each larger than the last, led by one venue; the others enter
  with lags; 87 % of the closes are longs; prices fall, open interest falls, funding turns negative;
- from ``PEAK``: the packets decay, and the venues whose feeds can tell ADL report a wave of it;
- one venue falls silent with its sockets open between ``SILENT_FROM`` and ``SILENT_TO``;
- after ``OVER``: calm again, at other prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.simulator.listings import ASSETS, LISTINGS, SHARES, Listing
from schemas.records import Cause, Position

ONSET, PEAK, OVER = 0.30, 0.45, 0.72
SILENT_FROM, SILENT_TO = 0.48, 0.80
LEADER = "bybit"
BACKGROUND_RATE = 4.0
"""Forced closes per second in calm, all venues."""
PEAK_RATE = 400.0
BRANCHING = 0.6
_DELAY = 1.5
"""Mean seconds from a close to one it excites."""
_PAST = 12.0
"""Seconds of background before the run, so that it starts in full swing."""
_ORIGINAL_CLIMB = 61.7
"""Seconds from the first liquidation to the first ADL on the day this is modelled on."""
_ORIGINAL_GAP = 6.5
LONG_SHARE = 0.87
ADL_VENUES = ("dydx_v4", "lighter", "extended")
_ADL_RATE = 30.0
_LARGEST = 6e6

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Close:
    """One forced close that happened, whether or not a feed tells it. Numbers are as the wire can carry them."""

    number: int
    """Ordinal in time; venues derive their ids from it."""
    time: int
    """Milliseconds since the start of the run."""
    listing: Listing
    position: Position
    cause: Cause
    native_price: float
    native_quantity: float
    price: float
    """USD of one coin of the canonical asset."""
    quantity: float
    """Coins of the canonical asset."""
    usd: float

    @property
    def venue(self) -> str:
        """Where it happened."""
        return self.listing.venue

    @property
    def sold(self) -> bool:
        """Whether the closing order sold."""
        return self.position == "long"


@dataclass(frozen=True, slots=True)
class Context:
    """What every venue knows each second: rows are seconds, columns assets."""

    mark: Floats
    """USD of one coin."""
    interest: Floats
    """Open interest, coins over all venues, one-sided."""
    funding: Floats
    """Fraction per 8 hours."""

    def marks_at(self, milliseconds: Ints, asset: Ints) -> Floats:
        """Marks between the seconds, on straight lines."""
        last = len(self.mark) - 1
        row = np.minimum(milliseconds // 1000, last)
        part = (milliseconds / 1000.0 - row).clip(0.0, 1.0)
        following = np.minimum(row + 1, last)
        lines: Floats = self.mark[row, asset] * (1.0 - part) + self.mark[following, asset] * part
        return lines


@dataclass(frozen=True, slots=True)
class Market:
    """A whole run: every forced close in order of time, the context, and who is silent when."""

    seed: int
    duration: float
    """Seconds."""
    closes: tuple[Close, ...]
    context: Context
    silent: str
    """The venue that falls silent; '' for none."""

    def is_silent(self, venue: str, milliseconds: int) -> bool:
        """Whether ``venue`` sends no data then."""
        return venue == self.silent and SILENT_FROM <= milliseconds / 1000.0 / self.duration < SILENT_TO


@dataclass(frozen=True, slots=True)
class _Drafts:
    time: Floats
    """Seconds."""
    asset: Ints
    long: NDArray[np.bool_]
    usd: Floats
    venue: Ints
    adl: NDArray[np.bool_]


def simulate(seed: int, duration: float, silent: str = "okx") -> Market:
    """The run of ``seed``: the same seed and duration give the same run."""
    rng = np.random.default_rng(seed)
    context = _context(rng, duration)
    parts = [_background(rng, duration), _cascade(rng, duration), _adl(rng, duration)]
    drafts = _Drafts(*(np.concatenate([getattr(p, name) for p in parts]) for name in _Drafts.__slots__))
    return Market(seed, duration, _closes(rng, drafts, context, duration), context, silent)


def _context(rng: np.random.Generator, duration: float) -> Context:
    seconds = np.arange(int(duration) + 2)
    part = seconds / duration
    fallen = _fallen(part)[:, None]
    noise = np.cumsum(rng.normal(0.0, 1.5e-4, (len(seconds), len(ASSETS))), axis=0)
    start = np.array([a.price for a in ASSETS])
    depth = np.array([a.fall for a in ASSETS])
    coins = np.array([a.interest for a in ASSETS]) / start
    closed = np.clip((part - ONSET) / (OVER - ONSET), 0.0, 1.0)[:, None] ** 0.7
    rate = rng.normal(1.0e-4, 2.0e-5, len(ASSETS)) - 6.0e-4 * closed
    return Context(start * (1.0 - depth * fallen) * np.exp(noise), coins * (1.0 - 0.35 * closed), rate)


def _fallen(part: Floats) -> Floats:
    """How far prices have fallen, 0 to 1: down until just after the peak, then half of it back."""
    shape: Floats = np.interp(part, [0.0, ONSET, PEAK, PEAK + 0.03, OVER, 1.0], [0.0, 0.0, 0.85, 1.0, 0.55, 0.45])
    return shape


def _background(rng: np.random.Generator, duration: float) -> _Drafts:
    """Immigrants and their offspring, generation by generation (a linear Hawkes process as a branching process)."""
    shares = np.array([a.share for a in ASSETS])
    count = rng.poisson(BACKGROUND_RATE * (1.0 - BRANCHING) * (duration + _PAST))
    time = rng.uniform(-_PAST, duration, count)
    asset = rng.choice(len(ASSETS), count, p=shares)
    long = rng.random(count) < 0.5
    times, assets, longs = [time], [asset], [long]
    while len(time):
        parent = np.repeat(np.arange(len(time)), rng.poisson(BRANCHING, len(time)))
        time = time[parent] + rng.exponential(_DELAY, len(parent))
        within = time < duration
        parent, time = parent[within], time[within]
        stays = rng.random(len(parent)) < 0.7
        asset = np.where(stays, asset[parent], rng.choice(len(ASSETS), len(parent), p=shares))
        long = long[parent] ^ (rng.random(len(parent)) < 0.1)
        times.append(time)
        assets.append(asset)
        longs.append(long)
    moments = np.concatenate(times)
    return _Drafts(
        moments,
        np.concatenate(assets),
        np.concatenate(longs),
        rng.lognormal(np.log(2_500.0), 1.5, len(moments)),
        _venues(rng, len(moments)),
        np.zeros(len(moments), bool),
    )


def _venues(rng: np.random.Generator, count: int) -> Ints:
    shares = np.array(list(SHARES.values()))
    chosen: Ints = rng.choice(len(shares), count, p=shares / shares.sum())
    return chosen


def _cascade(rng: np.random.Generator, duration: float) -> _Drafts:
    scale = min(1.0, (PEAK - ONSET) * duration / _ORIGINAL_CLIMB)
    gap = _ORIGINAL_GAP * scale
    starts = np.arange(ONSET * duration, OVER * duration, gap)
    sizes = rng.poisson(_rate(starts / duration) * gap)
    time = np.repeat(starts, sizes) + np.minimum(rng.exponential(gap / 3.0, sizes.sum()), gap)
    venue = _venues(rng, len(time))
    leader = list(SHARES).index(LEADER)
    entry = ONSET * duration + rng.lognormal(np.log(8.0 * scale), 0.5, len(SHARES))
    entry[leader] = 0.0
    venue = np.where(time < entry[venue], leader, venue)
    lag = rng.lognormal(np.log(0.25 * scale), 0.6, len(SHARES))
    lag[leader] = 0.0
    time = time + lag[venue]
    shares = np.array([a.share for a in ASSETS])
    return _Drafts(
        time,
        rng.choice(len(ASSETS), len(time), p=shares),
        rng.random(len(time)) < LONG_SHARE,
        np.minimum(rng.lognormal(np.log(14_000.0), 1.7, len(time)), _LARGEST),
        venue,
        np.zeros(len(time), bool),
    )


def _rate(part: Floats) -> Floats:
    """Closes per second: exploding from the onset to the peak, decaying after."""
    climb = np.clip((part - ONSET) / (PEAK - ONSET), 0.0, 1.0)
    decay = np.clip((part - PEAK) / (OVER - PEAK), 0.0, 1.0)
    shape: Floats = PEAK_RATE * np.exp(3.0 * (climb - 1.0)) * np.exp(-4.0 * decay)
    return shape


def _adl(rng: np.random.Generator, duration: float) -> _Drafts:
    count = rng.poisson(_ADL_RATE * 0.15 * duration)
    indices = [list(SHARES).index(venue) for venue in ADL_VENUES]
    shares = np.array([a.share for a in ASSETS])
    return _Drafts(
        PEAK * duration + rng.beta(1.2, 2.5, count) * 0.15 * duration,
        rng.choice(len(ASSETS), count, p=shares),
        rng.random(count) < LONG_SHARE,
        np.minimum(rng.lognormal(np.log(20_000.0), 1.5, count), _LARGEST),
        rng.choice(indices, count),
        np.ones(count, bool),
    )


def _closes(rng: np.random.Generator, drafts: _Drafts, context: Context, duration: float) -> tuple[Close, ...]:
    drafts = _within(drafts, duration)
    milliseconds = np.floor(drafts.time * 1000.0).astype(np.int64)
    marks = context.marks_at(milliseconds, drafts.asset)
    slip = 1.0 + np.where(drafts.long, -1.0, 1.0) * np.abs(rng.normal(0.0, 8e-4, len(marks)))
    settle = context.marks_at(milliseconds, np.zeros_like(drafts.asset))
    pick = rng.random(len(marks))
    venues = list(SHARES)
    found: list[Close] = []
    for row in range(len(marks)):
        offered = _BY_ASSET[venues[drafts.venue[row]]].get(int(drafts.asset[row]))
        if offered is None:
            continue
        listing = _chosen(offered, pick[row])
        found.append(
            _close(
                len(found) + 1,
                int(milliseconds[row]),
                listing,
                "long" if drafts.long[row] else "short",
                "adl" if drafts.adl[row] else "liquidation",
                float(marks[row] * slip[row]),
                float(drafts.usd[row]),
                float(settle[row]),
            )
        )
    return tuple(found)


def _within(drafts: _Drafts, duration: float) -> _Drafts:
    """The drafts of the run in order of time."""
    order = np.argsort(drafts.time, kind="stable")
    order = order[(drafts.time[order] >= 0.0) & (drafts.time[order] < duration)]
    return _Drafts(*(getattr(drafts, name)[order] for name in _Drafts.__slots__))


def _close(
    number: int, time: int, listing: Listing, position: Position, cause: Cause, mark: float, usd: float, settle: float
) -> Close:
    native_price = float(listing.price_text(mark * listing.divisor))
    native = float(listing.quantity_text(listing.native(usd, native_price, settle)))
    quantity, worth = listing.measure(native, native_price, settle)
    price = native_price / listing.divisor
    return Close(number, time, listing, position, cause, native_price, native, price, quantity, worth)


def _by_asset(listings: tuple[Listing, ...]) -> dict[int, list[Listing]]:
    found: dict[int, list[Listing]] = {}
    for listing in listings:
        found.setdefault(listing.asset, []).append(listing)
    return found


def _chosen(offered: list[Listing], at: float) -> Listing:
    """The contract at ``at`` (0 to 1) of the cumulated weights."""
    left = at * sum(listing.weight for listing in offered)
    for listing in offered:
        left -= listing.weight
        if left < 0.0:
            return listing
    return offered[-1]


_BY_ASSET = {venue: _by_asset(listings) for venue, listings in LISTINGS.items()}
