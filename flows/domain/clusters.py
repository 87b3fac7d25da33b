"""Price levels of one asset and the USD liquidated at each, exponentially decayed. Compiled.

A level is a bin of the logarithm of the price, 10 basis points wide whatever the price: levels are relative, never
dollars. Levels lie in a table addressed by their number modulo its size, so that taking in costs the same however many
there are; a level gives way to one 51 % away from it. Sums do not depend on the order of arrival.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import MICRO, NEVER
from schemas.compiled import compiled

WIDTH = 0.001
"""Of a level, in log price: 10 basis points."""
LEVELS = 512
MEMORY = 4 * 3600.0
"""Seconds after which a liquidation has lost all but 1/e of its say in its level."""
TOP = 5
"""Levels told."""
_REBASE = 50.0
"""Memories after which the weights are scaled back: they grow by the exponential of it."""
_UNUSED = -(1 << 31)

CLUSTERS = np.dtype(
    [
        ("price", np.float64),  # of the newest liquidation with a price
        ("price_at", np.int64),
        ("landmark", np.int64),  # ``usd`` is in worth of this time: a later event is entered with more
        ("level", np.int32, (LEVELS,)),
        ("usd", np.float64, (LEVELS, 2)),  # longs, shorts
    ],
    align=True,
)
Clusters = Any
"""One record of ``CLUSTERS``."""


def cleared(count: int) -> NDArray[Any]:
    """``count`` empty records."""
    made = np.zeros(count, CLUSTERS)
    made["price"] = np.nan
    made["price_at"] = made["landmark"] = NEVER
    made["level"] = _UNUSED
    return made


def price_of(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """The middle of each level."""
    return np.exp((level + 0.5) * WIDTH)


@compiled
def take(me: Clusters, time: int, usd: int, side: int, price: float) -> None:
    """Take in one liquidation, late or not; one without a price (NaN) tells nothing.

    :arg usd: micro-USD. :arg side: 0 long, 1 short. :arg price: quote per base unit, whatever its kind.
    """
    if not price > 0.0:
        return
    if time >= me.price_at:
        me.price = price
        me.price_at = time
    if me.landmark == NEVER:
        me.landmark = time
    growth = _growth(me, time)
    if growth > _REBASE:
        left = math.exp(-growth)
        for place in range(LEVELS):
            me.usd[place, 0] *= left
            me.usd[place, 1] *= left
        me.landmark = time
        growth = 0.0
    level = math.floor(math.log(price) / WIDTH)
    place = level & (LEVELS - 1)
    if me.level[place] != level:
        me.level[place] = level
        me.usd[place, 0] = me.usd[place, 1] = 0.0
    me.usd[place, side] += usd / MICRO * math.exp(growth)


@compiled
def _growth(me: Clusters, time: int) -> float:
    return (time - me.landmark) * 1e-9 / MEMORY


@compiled
def largest(me: Clusters, time: int, out: NDArray[np.float64]) -> float:
    """The largest levels, largest first: ``out`` (``TOP`` x 3) holds level, USD decayed to ``time``, USD of longs.

    USD is 0 where there are fewer. Returns the USD of all levels together.
    """
    for k in range(TOP):
        out[k, 1] = 0.0
    if me.landmark == NEVER:
        return 0.0
    whole = 0.0
    for place in range(LEVELS):
        usd = me.usd[place, 0] + me.usd[place, 1]
        whole += usd
        if usd > out[TOP - 1, 1]:
            k = TOP - 1
            while k > 0 and usd > out[k - 1, 1]:
                out[k, 0], out[k, 1], out[k, 2] = out[k - 1, 0], out[k - 1, 1], out[k - 1, 2]
                k -= 1
            out[k, 0], out[k, 1], out[k, 2] = me.level[place], usd, me.usd[place, 0]
    left = math.exp(-_growth(me, time))
    for k in range(TOP):
        out[k, 1] *= left
        out[k, 2] *= left
    return whole * left
