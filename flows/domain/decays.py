"""Exponentially decayed counts and USD of one slot, by side, over six time scales. Compiled, like ``rings``.

A sum over scale ``τ`` read at ``t`` is ``Σ exp(-(t - tᵢ)/τ)`` over the events known, whatever the order they came in: a
late event adds what is left of it. Taking in an event and reading cost the same however long the history. Reading
changes nothing, so that nothing depends on when it is read or where a batch ends.

``DECAYS`` is one field of a slot; every function takes the record. ADL is not fed here: it is no liquidation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import MICRO, N_VENUES, NEVER
from schemas.compiled import compiled

SCALES = (1.0, 3.0, 10.0, 60.0, 300.0, 1800.0)
"""Seconds."""
N_SCALES = len(SCALES)
CAP = 1_000_000 * MICRO
"""An event counts at most this many micro-USD: one giant must not outvote a thousand."""
ACTIVE = 10 * 1_000_000_000
"""A venue is active this long (ns) after its newest event."""
BIN = 60 * 1_000_000_000
"""Counts for the branching ratio are taken over minutes of event time (ns)."""
MEMORY = 1440.0
"""Bins after which a count has lost all but 1/e of its say in the branching ratio: a day."""
_FAST, _SLOW = 2, 5
"""Scales compared by the heat: 10 s (faster ones flicker with the venues' sweep rhythm) and 1800 s."""
_BINS_NEEDED = 30.0
N_MOMENTS = 7
"""Weight, its square, powers one to four of the count, and its product with the count before."""

DECAYS = np.dtype(
    [
        ("at", np.int64),  # the sums are of this time
        ("count", np.float64, (2, N_SCALES)),  # longs, shorts
        ("usd", np.float64, (2, N_SCALES)),  # capped
        ("venue_at", np.int64, (N_VENUES,)),  # newest event of each venue
        ("bin", np.int64),  # the newest minute begun
        ("bins", np.float64, (3,)),  # events in it, in the one before (-1: none was), and in the last one closed
        ("moments", np.float64, (N_MOMENTS,)),  # of the closed minutes
    ],
    align=True,
)
Decays = Any
"""One record of ``DECAYS``."""

FEATURES = (
    *(f"events_{scale:g}s" for scale in SCALES),
    *(f"usd_{scale:g}s" for scale in SCALES),
    "dominant_share",
    "active_venues",
    "age",
    "heat",
)
"""What ``features`` fills in, in this order."""
N_FEATURES = len(FEATURES)


def cleared(count: int) -> NDArray[Any]:
    """``count`` empty records."""
    made = np.zeros(count, DECAYS)
    made["at"] = made["venue_at"] = made["bin"] = NEVER
    made["bins"][:, 1] = -1.0
    return made


@compiled
def take(me: Decays, time: int, usd: int, side: int, venue: int) -> None:
    """Take in one liquidation, late or not.

    :arg time: event time, ns. :arg usd: micro-USD. :arg side: 0 long, 1 short. :arg venue: index into ``VENUES``.
    """
    gap = (time - me.at) * 1e-9
    worth = min(usd, CAP) / MICRO
    if gap > 0.0:
        for k in range(N_SCALES):
            left = math.exp(-gap / SCALES[k])
            for s in range(2):
                me.count[s, k] *= left
                me.usd[s, k] *= left
            me.count[side, k] += 1.0
            me.usd[side, k] += worth
        me.at = time
    else:
        for k in range(N_SCALES):
            left = math.exp(gap / SCALES[k])
            me.count[side, k] += left
            me.usd[side, k] += left * worth
    me.venue_at[venue] = max(me.venue_at[venue], time)
    _bin(me, time)


@compiled
def sums(me: Decays, time: int, count: NDArray[np.float64], usd: NDArray[np.float64]) -> None:
    """The sums (2 x scales) at ``time``; before the newest event, as at the newest event."""
    gap = max(time - me.at, 0) * 1e-9
    for k in range(N_SCALES):
        left = math.exp(-gap / SCALES[k])
        for s in range(2):
            count[s, k] = me.count[s, k] * left
            usd[s, k] = me.usd[s, k] * left


@compiled
def features(me: Decays, time: int, out: NDArray[np.float64]) -> None:
    """Fill ``out`` with ``FEATURES`` at ``time``.

    Rates are ``log1p`` of events per minute and of USD per minute; the age of the newest event is ``log1p`` of seconds,
    at most an hour; heat is its logarithm.
    """
    age = max(time - me.at, 0) * 1e-9
    for k in range(N_SCALES):
        left = math.exp(-age / SCALES[k]) * 60.0 / SCALES[k]
        out[k] = math.log1p((me.count[0, k] + me.count[1, k]) * left)
        out[N_SCALES + k] = math.log1p((me.usd[0, k] + me.usd[1, k]) * left)
    k = 2 * N_SCALES
    out[k] = dominant_share(me)
    out[k + 1] = active_venues(me, time)
    out[k + 2] = math.log1p(min(age, 3600.0))
    out[k + 3] = math.log(heat(me, time))


@compiled
def dominant_share(me: Decays) -> float:
    """Share of the larger side in the USD of the last minute (decayed), 0.5 to 1; 0.5 without events."""
    longs, shorts = me.usd[0, 3], me.usd[1, 3]
    return max(longs, shorts) / (longs + shorts) if longs + shorts > 0.0 else 0.5


@compiled
def active_venues(me: Decays, time: int) -> int:
    """Venues with an event in the last ten seconds."""
    active = 0
    for v in range(N_VENUES):
        active += me.venue_at[v] > time - ACTIVE
    return active


@compiled
def heat(me: Decays, time: int) -> float:
    """Events per second of the last ten seconds over those of the last half hour, one event added to calm both.

    Uncalibrated: no probability. About 1 when nothing is unusual, whatever the usual rate; 3 is a lamp's threshold.
    """
    gap = max(time - me.at, 0) * 1e-9
    prior = 1.0 / SCALES[_FAST]
    fast = (me.count[0, _FAST] + me.count[1, _FAST]) * math.exp(-gap / SCALES[_FAST]) / SCALES[_FAST]
    slow = (me.count[0, _SLOW] + me.count[1, _SLOW]) * math.exp(-gap / SCALES[_SLOW]) / SCALES[_SLOW]
    return (fast + prior) / (slow + prior)


@compiled
def _bin(me: Decays, time: int) -> None:
    """Count the event in its minute. A minute closes when the next but one begins: later events are left out."""
    start = time // BIN * BIN
    if start > me.bin:
        if me.bin != NEVER:
            passed = (start - me.bin) // BIN
            if me.bins[1] >= 0.0:
                _close(me, me.bins[1])
            if passed > 1:
                _close(me, me.bins[0])
                _pass_empty(me, passed - 2)
                me.bins[1] = 0.0
            else:
                me.bins[1] = me.bins[0]
            me.bins[0] = 0.0
        me.bin = start
    if start == me.bin:
        me.bins[0] += 1.0
    elif start == me.bin - BIN:
        me.bins[1] = max(me.bins[1], 0.0) + 1.0


@compiled
def _close(me: Decays, count: float) -> None:
    """One minute into the moments."""
    keep = math.exp(-1.0 / MEMORY)
    m = me.moments
    for k in range(N_MOMENTS):
        m[k] *= keep
    m[1] *= keep
    m[0] += 1.0
    m[1] += 1.0
    m[2] += count
    m[3] += count**2
    m[4] += count**3
    m[5] += count**4
    m[6] += count * me.bins[2]
    me.bins[2] = count


@compiled
def _pass_empty(me: Decays, bins: int) -> None:
    """``bins`` minutes without an event into the moments at once."""
    if bins <= 0:
        return
    keep = math.exp(-bins / MEMORY)
    m = me.moments
    for k in range(N_MOMENTS):
        m[k] *= keep
    m[1] *= keep
    m[0] += (1.0 - keep) / (1.0 - math.exp(-1.0 / MEMORY))
    m[1] += (1.0 - keep**2) / (1.0 - math.exp(-2.0 / MEMORY))
    me.bins[2] = 0.0


@compiled
def branching(me: Decays, out: NDArray[np.float64]) -> None:
    """Branching ratio, its standard error, and the minutes behind it; NaN below thirty minutes or without an event.

    ``1 - sqrt(mean / variance)`` of counts per minute (Hardiman & Bouchaud 2014), over about a day. The error is by the
    delta method on the first four moments, the minutes discounted by their lag-one correlation. A caveat: it reads slow
    changes of the base rate as self-excitation, misses memory longer than a minute, and a feed cut to one event per
    second hides offspring.
    """
    m = me.moments
    out[0] = out[1] = math.nan
    out[2] = m[0] ** 2 / m[1] if m[1] > 0.0 else 0.0
    if out[2] < _BINS_NEEDED or m[2] < 1e-9:
        return
    mean = m[2] / m[0]
    variance = m[3] / m[0] - mean**2
    third = m[4] / m[0] - 3.0 * mean * m[3] / m[0] + 2.0 * mean**3
    fourth = m[5] / m[0] - 4.0 * mean * m[4] / m[0] + 6.0 * mean**2 * m[3] / m[0] - 3.0 * mean**4
    if variance <= 0.0:
        return
    correlation = min(max((m[6] / m[0] - mean**2) / variance, 0.0), 0.99)
    minutes = out[2] * (1.0 - correlation) / (1.0 + correlation)
    spread = (fourth - variance**2) / variance**2 + variance / mean**2 - 2.0 * third / (variance * mean)
    ratio = math.sqrt(mean / variance)
    out[0] = max(1.0 - ratio, 0.0)
    out[1] = 0.5 * ratio * math.sqrt(max(spread, 0.0) / minutes)
    out[2] = minutes
