"""What a slot is judged by: the calibration of the rules to each asset, and to feeds that do not tell everything.

A feed cut to one message per symbol and second never shows ten events a second, whatever happens. So an event of such a
feed counts as several: as ``capped_event`` of them where the slot is quiet, as fewer the busier the slot usually is,
never as less than one. Likewise the volume of an asset is measured against its own usual USD, between a floor and what
is full for the market.

What is usual is the mean of the last half hour, decayed, over the time there was to see. For the first two minutes
nobody knows it, and nothing is scaled. Compiled.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import NEVER
from flows.domain.decays import SCALES, Decays
from flows.domain.score import CAPPED_AT_MOST, CAPPED_BY_USUAL, VOLUME, VOLUME_FLOOR, VOLUME_TIMES
from flows.domain.state import CAPPED_EVENT, FULL_USD, USUAL_RATE, USUAL_USD
from schemas.compiled import compiled

_SLOW = 5
"""Of ``SCALES``."""
_SETTLED = 120.0
"""Seconds after its first liquidation."""
_SEEN = 600.0
"""Seconds what is usual is spread over at least, so that one burst early on does not become the usual."""


@compiled
def scale(me: Decays, time: int, began: int, p: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Fill ``out`` with what a capped event counts for, the USD/s that are full, and usual events/s and USD/s.

    :arg began: time of its first liquidation.
    """
    seen = (time - began) * 1e-9 if began != NEVER else 0.0
    out[CAPPED_EVENT], out[FULL_USD], out[USUAL_RATE], out[USUAL_USD] = 1.0, p[VOLUME], math.nan, math.nan
    if seen < _SETTLED:
        return
    span = SCALES[_SLOW] * (1.0 - math.exp(-max(seen, _SEEN) / SCALES[_SLOW]))
    left = math.exp(-max(time - me.at, 0) * 1e-9 / SCALES[_SLOW]) / span
    out[USUAL_RATE] = (me.count[0, _SLOW] + me.count[1, _SLOW]) * left
    out[USUAL_USD] = (me.usd[0, _SLOW] + me.usd[1, _SLOW]) * left
    out[CAPPED_EVENT] = max(1.0, p[CAPPED_AT_MOST] / (1.0 + p[CAPPED_BY_USUAL] * out[USUAL_RATE]))
    out[FULL_USD] = min(max(p[VOLUME_FLOOR], p[VOLUME_TIMES] * out[USUAL_USD]), p[VOLUME])
