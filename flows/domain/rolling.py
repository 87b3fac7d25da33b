"""Whole minutes of one slot, kept for eight hours: what the rolling windows of 15 m, 1 h and 4 h are made of. Compiled.

A window of L minutes read at ``time`` is the L whole minutes before the minute of ``time``: the running one is left
out, so that a window and the one before it hold the same number of minutes. Figures are exact integers (micro-USD) and
do not depend on the order of arrival; a late event counts in its own minute, also where that is over.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import MICRO
from schemas.clock import MINUTE
from schemas.compiled import compiled

LENGTHS = (15, 60, 240)
"""Minutes of the rolling windows."""
N_LENGTHS = len(LENGTHS)
BINS = 512
"""Minutes kept: the longest window and the one before it."""
N_TOTALS = 7
LONG_N, SHORT_N, LONG_USD, SHORT_USD, SAMPLED_USD, PARTIAL_USD, LARGEST = range(N_TOTALS)
"""Of a window; USD in millionths, ``LARGEST`` that of one event."""
N_SPREADS = 2

ROLLING = np.dtype(
    [
        ("first", np.int64),  # the first minute that held an event; -1: none did
        ("minute", np.int32, (BINS,)),  # which minute each bin is of
        ("count", np.int32, (BINS, 2)),  # longs, shorts
        ("usd", np.int64, (BINS, 2)),
        ("floor", np.int64, (BINS, 2)),  # of it, from sampled and from partial feeds
        ("largest", np.int64, (BINS,)),
        ("read", np.int64),  # the minute the next three are of; -1 where a late event made them stale
        ("since", np.int64),
        ("totals", np.int64, (N_LENGTHS, 2, N_TOTALS)),
        ("spread", np.float64, (N_LENGTHS, N_SPREADS)),
    ],
    align=True,
)
Rolling = Any
"""One record of ``ROLLING``."""


@compiled
def take(me: Rolling, time: int, usd: int, side: int, cover: int) -> None:
    """Count one liquidation in its minute.

    :arg usd: micro-USD. :arg side: 0 long, 1 short. :arg cover: 0 complete, 1 sampled, 2 partial.
    """
    minute = time // MINUTE
    place = minute & (BINS - 1)
    if me.minute[place] != minute:
        if me.minute[place] > minute:
            return
        me.minute[place] = minute
        me.largest[place] = 0
        for k in range(2):
            me.count[place, k] = me.usd[place, k] = me.floor[place, k] = 0
    me.count[place, side] += 1
    me.usd[place, side] += usd
    me.largest[place] = max(me.largest[place], usd)
    if cover:
        me.floor[place, cover - 1] += usd
    me.first = minute if me.first < 0 else min(me.first, minute)
    if minute < me.read:
        me.read = -1


@compiled
def watched_since(market: Rolling, time: int) -> int:
    """The minute watching began: that of the first liquidation of the market, or of ``time`` where there was none."""
    return market.first if market.first >= 0 else time // MINUTE


@compiled
def total(me: Rolling, start: int, end: int, out: NDArray[np.int64]) -> None:
    """``N_TOTALS`` of the minutes ``start`` to ``end`` (exclusive)."""
    for k in range(N_TOTALS):
        out[k] = 0
    for minute in range(start, end):
        place = minute & (BINS - 1)
        if me.minute[place] == minute:
            for k in range(2):
                out[LONG_N + k] += me.count[place, k]
                out[LONG_USD + k] += me.usd[place, k]
                out[SAMPLED_USD + k] += me.floor[place, k]
            out[LARGEST] = max(out[LARGEST], me.largest[place])


@compiled
def spread(me: Rolling, start: int, end: int, totals: NDArray[np.int64], out: NDArray[np.float64]) -> None:
    """Standard deviation over these minutes of events per minute and of USD per minute; NaN of no minute."""
    minutes = end - start
    out[0] = out[1] = math.nan
    if minutes <= 0:
        return
    count = (totals[LONG_N] + totals[SHORT_N]) / minutes
    usd = (totals[LONG_USD] + totals[SHORT_USD]) / MICRO / minutes
    counts = worths = 0.0
    for minute in range(start, end):
        place = minute & (BINS - 1)
        here = me.minute[place] == minute
        counts += ((me.count[place, 0] + me.count[place, 1] if here else 0) - count) ** 2
        worths += ((me.usd[place, 0] + me.usd[place, 1] if here else 0) / MICRO - usd) ** 2
    out[0] = math.sqrt(counts / minutes)
    out[1] = math.sqrt(worths / minutes)


@compiled
def read(me: Rolling, time: int, since: int, totals: NDArray[np.int64], spreads: NDArray[np.float64]) -> None:
    """Every window at ``time``: ``totals`` (windows x 2 x ``N_TOTALS``) now and of the window before, ``spreads``.

    :arg since: the minute watching began: minutes before it are unknown, and no part of a standard deviation.
    """
    minute = time // MINUTE
    for w in range(N_LENGTHS):
        length = LENGTHS[w]
        total(me, minute - length, minute, totals[w, 0])
        total(me, minute - 2 * length, minute - length, totals[w, 1])
        spread(me, max(minute - length, since), minute, totals[w, 0], spreads[w])


@compiled
def tell(me: Rolling, time: int, since: int, totals: NDArray[np.int64], spreads: NDArray[np.float64]) -> None:
    """The same as ``read``, remembered until the minute ends: windows are told each second and change each minute."""
    if me.read != time // MINUTE or me.since != since:
        read(me, time, since, me.totals, me.spread)
        me.read, me.since = time // MINUTE, since
    for w in range(N_LENGTHS):
        for k in range(2):
            spreads[w, k] = me.spread[w, k]
            for figure in range(N_TOTALS):
                totals[w, k, figure] = me.totals[w, k, figure]
