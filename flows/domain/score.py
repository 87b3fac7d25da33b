"""The composite score: six components, their weights, the boost, and the level they reach.

The form is the known checklist of velocity, acceleration, volume, cross-venue spread, funding and open interest
(weights .25 .20 .20 .15 .10 .10), with two repairs: all six are really added, and acceleration is the change against
the preceding window of equal length, never divided by the gap between two events. It is a score, not a probability.

Compiled by numba; every function also runs as plain Python (``.py_func``).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from schemas.compiled import compiled

SPAN, VELOCITY, ACCELERATION, VOLUME, VENUES, FUNDING, OPEN_INTEREST, BOOST_ABOVE, BOOST = range(9)
WEIGHTS = 9
LEVEL_RULES = 15
"""Indices into ``Rules.parameters``; six weights, then (score, rate, acceleration) per level."""
N_COMPONENTS = 6


@compiled(inline="always")
def _part(value: float, full: float) -> float:
    """``value`` on the scale 0 to ``full``, clipped to 0..1."""
    return min(max(value / full, 0.0), 1.0)


@compiled
def effective_venues(counts: NDArray[np.int32]) -> float:
    """Inverse Herfindahl index of the counts: 1 for one venue, n for n equal ones, 0 without events."""
    total = 0.0
    squares = 0.0
    for count in counts:
        total += count
        squares += float(count) * count
    return total * total / squares if squares > 0 else 0.0


@compiled
def components(
    now: int,
    before: int,
    usd: float,
    venues: float,
    funding: float,
    fall: float,
    p: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Fill ``out`` with the six components, NaN where the context is missing.

    :arg now: events in the signal window; ``before``: in the preceding one of equal length.
    :arg usd: USD in the signal window.
    :arg venues: effective number of venues.
    :arg funding: mean funding per 8 h, NaN unknown. :arg fall: largest recent fall of open interest, NaN unknown.
    """
    span = p[SPAN]
    out[0] = _part(now / span, p[VELOCITY])
    out[1] = _part((now - before) / (span * span), p[ACCELERATION])
    out[2] = _part(usd / span, p[VOLUME])
    out[3] = _part(venues - 1.0, p[VENUES] - 1.0)
    out[4] = math.nan if math.isnan(funding) else _part(abs(funding), p[FUNDING])
    out[5] = math.nan if math.isnan(fall) else _part(fall, p[OPEN_INTEREST])


@compiled
def composite(parts: NDArray[np.float64], acceleration: float, p: NDArray[np.float64]) -> float:
    """Weighted mean of the parts that are known, boosted above the acceleration limit, at most 1."""
    total = 0.0
    weight = 0.0
    for i in range(N_COMPONENTS):
        if not math.isnan(parts[i]):
            total += p[WEIGHTS + i] * parts[i]
            weight += p[WEIGHTS + i]
    score = total / weight if weight > 0 else 0.0
    if acceleration > p[BOOST_ABOVE]:
        score *= p[BOOST]
    return min(score, 1.0)


@compiled
def level(score: float, rate: float, acceleration: float, p: NDArray[np.float64]) -> int:
    """The highest level reached, 0 (NONE) to 4 (EXTREME)."""
    for step in range(4, 0, -1):
        at = LEVEL_RULES + 3 * (step - 1)
        fast = rate > p[at + 1] and (p[at + 2] <= 0.0 or acceleration > p[at + 2])
        if score > p[at] or fast:
            return step
    return 0
