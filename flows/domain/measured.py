"""What a slot remembers for its measures beyond its windows: one record for each concern. Compiled.

Everything of the last ten minutes is read from the event ring when it is told; this is what outlives the ring.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain import clusters, decays, rolling
from flows.domain.bursts import BURSTS
from flows.domain.clusters import CLUSTERS
from flows.domain.constants import NEVER
from flows.domain.contagion import CONTAGION
from flows.domain.decays import DECAYS
from flows.domain.leads import LEADS
from flows.domain.rolling import ROLLING
from schemas.compiled import compiled

COMPLETE, SAMPLED, PARTIAL = range(3)
"""How much of the truth a feed tells: everything, at most one event per contract and second, an unknown part."""

MEASURED = np.dtype(
    [
        ("floor", DECAYS, (2,)),  # decayed sums over sampled, over partial feeds alone
        ("rolling", ROLLING),
        ("clusters", CLUSTERS),
        ("bursts", BURSTS),
        ("leads", LEADS),
        ("contagion", CONTAGION),
        ("open_interest", np.float64),  # change per second over the last minute, base units
        ("open_interest_at", np.int64),
        ("funding", np.float64, (2,)),  # per 8 h: change per hour, change of that per hour
    ],
    align=True,
)
Measured = Any
"""One record of ``MEASURED``."""


def cleared(count: int) -> NDArray[Any]:
    """``count`` empty records."""
    made = np.zeros(count, MEASURED)
    made["floor"] = decays.cleared(2 * count).reshape(count, 2)
    made["clusters"] = clusters.cleared(count)
    made["rolling"]["first"] = made["rolling"]["read"] = made["rolling"]["minute"] = -1
    made["bursts"]["told"] = made["bursts"]["onset"] = NEVER
    made["leads"]["at"] = made["contagion"]["at"] = made["open_interest_at"] = NEVER
    made["open_interest"] = made["funding"] = np.nan
    return made


@compiled
def take(me: Measured, time: int, usd: int, side: int, venue: int, cover: int, price: float) -> None:
    """Take in one liquidation, late or not.

    :arg usd: micro-USD. :arg side: 0 long, 1 short. :arg cover: ``COMPLETE``, ``SAMPLED`` or ``PARTIAL``.
    :arg price: quote per base unit; NaN where it is not known, or where prices of different assets mix.
    """
    rolling.take(me.rolling, time, usd, side, cover)
    clusters.take(me.clusters, time, usd, side, price)
    if cover != COMPLETE:
        decays.take(me.floor[cover - 1], time, usd, side, venue)
