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
VOLUME_FLOOR, VOLUME_TIMES, CAPPED_AT_MOST, CAPPED_BY_USUAL, UNUSUAL = range(9, 14)
WEIGHTS = 14
LEVEL_RULES = 20
"""Indices into ``Rules.parameters``; six weights, then (score, rate, acceleration, probability) per level."""
BY_TIME, BY_VELOCITY, BY_SCORE, BY_PROBABILITY = range(4)
"""What decided on a level; of several that reach it, the last named."""
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
def components(raw: NDArray[np.float64], full_usd: float, p: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Fill ``out`` with the six components, NaN where the context is missing.

    :arg raw: events/s, events/s², USD/s, effective venues, mean funding per 8 h (NaN unknown), largest recent fall of
        open interest (NaN unknown). :arg full_usd: USD/s at which volume is 1.
    """
    out[0] = _part(raw[0], p[VELOCITY])
    out[1] = _part(raw[1], p[ACCELERATION])
    out[2] = _part(raw[2], full_usd)
    out[3] = _part(raw[3] - 1.0, p[VENUES] - 1.0)
    out[4] = math.nan if math.isnan(raw[4]) else _part(abs(raw[4]), p[FUNDING])
    out[5] = math.nan if math.isnan(raw[5]) else _part(raw[5], p[OPEN_INTEREST])


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
def level(
    score: float, rate: float, acceleration: float, probability: float, p: NDArray[np.float64]
) -> tuple[int, int]:
    """The highest level any rule reaches, 0 (NONE) to 4 (EXTREME), and which rule did."""
    for step in range(4, 0, -1):
        at = LEVEL_RULES + 4 * (step - 1)
        if probability > p[at + 3]:
            return step, BY_PROBABILITY
        if score > p[at]:
            return step, BY_SCORE
        if rate > p[at + 1] and (p[at + 2] <= 0.0 or acceleration > p[at + 2]):
            return step, BY_VELOCITY
    return 0, BY_TIME
