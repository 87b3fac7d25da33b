"""The detector's own features at decision times, replayed: from events visible strictly before each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import NEVER
from flows.domain.decays import N_FEATURES, N_SCALES, cleared, features, sums, take
from flows.domain.model import STEP, due, learn, probability, remember
from flows.study.events import SILENCE, Events, Recording
from schemas.cascades import MARKET
from schemas.compiled import compiled

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


def table(events: Events, time: Times) -> Floats:
    """``FEATURES`` (columns) at each time (rows)."""
    out = np.zeros((len(time), N_FEATURES))
    _walk(cleared(1)[0], events.visible, events.time, events.usd, events.side, events.venue, time, out)
    return out


def known(recording: Recording, target: str, time: Times) -> Floats:
    """``FEATURES`` of the target and, for an asset, ``MARKET_FEATURES`` after them."""
    own = table(recording.of(target), time)
    return own if target == MARKET else np.hstack([own, table(recording.events, time)])


@compiled
def _walk(
    me: Any, visible: Times, at: Times, usd: Times, side: NDArray[np.int8], venue: NDArray[np.int8], time: Times,
    out: Floats,
) -> None:  # fmt: skip
    row = 0
    for i in range(len(time)):
        while row < len(visible) and visible[row] < time[i]:
            take(me, at[row], usd[row], side[row], venue[row])
            row += 1
        features(me, time[i], out[i])


def by_side(events: Events, time: Times) -> Floats:
    """``log1p`` of the decayed events and USD per minute, longs and shorts apart: 4 x scales columns."""
    count, usd = np.zeros((len(time), 2, N_SCALES)), np.zeros((len(time), 2, N_SCALES))
    me = cleared(1)[0]
    _walk_sides(me, events.visible, events.time, events.usd, events.side, events.venue, time, count, usd)
    return np.log1p(60.0 * np.concatenate([count.reshape(len(time), -1), usd.reshape(len(time), -1)], axis=1))


@compiled
def _walk_sides(
    me: Any, visible: Times, at: Times, usd: Times, side: NDArray[np.int8], venue: NDArray[np.int8], time: Times,
    counts: Floats, worths: Floats,
) -> None:  # fmt: skip
    row = 0
    for i in range(len(time)):
        while row < len(visible) and visible[row] < time[i]:
            take(me, at[row], usd[row], side[row], venue[row])
            row += 1
        sums(me, time[i], counts[i], worths[i])


def decayed(events: Events, mark: Floats, scale: float, time: Times) -> Floats:
    """The decayed sum of ``mark`` over one scale (s) at each time, as the detector's but of any mark and scale."""
    out = np.zeros(len(time))
    _walk_one(events.visible, events.time, mark, scale, time, out)
    return out


@compiled
def _walk_one(visible: Times, at: Times, mark: Floats, scale: float, time: Times, out: Floats) -> None:
    row, total, newest = 0, 0.0, time[0] if len(time) else 0
    for i in range(len(time)):
        while row < len(visible) and visible[row] < time[i]:
            gap = (at[row] - newest) * 1e-9
            if gap > 0.0:
                total = total * np.exp(-gap / scale) + mark[row]
                newest = at[row]
            else:
                total += mark[row] * np.exp(gap / scale)
            row += 1
        out[i] = total * np.exp(-max(time[i] - newest, 0) * 1e-9 / scale)


@compiled
def recalibrated(me: Any, time: Times, odds: Floats, reached: NDArray[np.bool_], out: Floats) -> None:
    """Probabilities as a live detector tells them: each outcome is learnt when its horizon is over, in order.

    Across a silence of the recorder, predictions still pending are dropped.
    """
    known = 0
    for i in range(len(time)):
        if i and time[i] - time[i - 1] > SILENCE:
            me.first, known = me.last, i
        while due(me, time[i]) != NEVER:
            learn(me, reached[known])
            known += 1
        out[i] = probability(me, odds[i])
        if time[i] % STEP == 0:
            remember(me, time[i], odds[i])
