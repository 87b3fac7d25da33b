"""One slot at one moment: windows, components, score, probability, and the level they reach. Compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flows.domain import cascade
from flows.domain.constants import MICRO
from flows.domain.context import fall
from flows.domain.forecast import N_HORIZONS, chance, usual
from flows.domain.forecast import read as seen
from flows.domain.rings import read
from flows.domain.scale import scale
from flows.domain.score import SPAN, UNUSUAL, components, composite, effective_venues, level
from flows.domain.state import (
    CAPPED_EVENT,
    FLOOR_N,
    FULL_USD,
    LONG_N,
    LONG_USD,
    RATE,
    SHORT_N,
    SHORT_USD,
    Events,
    Forecasts,
    Shard,
    Slot,
)
from schemas.compiled import compiled

Parameters = NDArray[np.float64]
"""See ``flows.domain.score``."""
ROSE, OPENED, JOINED = 1, 2, 4
"""Bits: the level rose, a cascade opened, a venue new to the open cascade came in."""


@compiled
def judge(
    event: Events, me: Slot, market: Slot, shard: Shard, forecast: Forecasts, time: int, key: int, p: Parameters
) -> int:
    """Read the windows at ``time``, score them, move the level; which of the bits above it came to."""
    _measure(event, me, shard, time, p)
    parts, acceleration = shard.parts, shard.raw[1]
    components(shard.raw, shard.scale[FULL_USD], p, parts)
    score = composite(parts, acceleration, p)
    me.score = score
    likely = _likelihood(me, market, shard, forecast, time, p) if me.forecast[0] >= 0 else 0.0
    reached, rule = level(score, shard.raw[0], acceleration, likely, p)
    shard.rule = rule
    for step in range(1, reached + 1):
        me.reached[step] = max(me.reached[step], time)
    happened = 0
    if reached > me.level and time + shard.hold > shard.clock:
        happened = ROSE
        me.level = reached
        shard.falls_due = min(shard.falls_due, me.reached[reached] + shard.hold)
        if reached >= shard.open_level and not me.open:
            happened |= OPENED
            cascade.begin(event, me, shard, time, key)
            if me.forecast[0] >= 0:
                _likelihood(me, market, shard, forecast, time, p)
        elif me.open:
            me.peak_level = max(me.peak_level, reached)
    if me.open:
        me.peak = max(me.peak, score)
    return happened


@compiled
def _measure(event: Events, me: Slot, shard: Shard, time: int, p: Parameters) -> None:
    """What the components are made of: as told, but for events of capped feeds, which count for more."""
    now, before, raw = shard.sums, shard.earlier, shard.raw
    read(event, me, time, shard.span, now, before, shard.counts)
    scale(me.decays, time, me.began, p, shard.scale)
    extra = shard.scale[CAPPED_EVENT] - 1.0
    count = now[LONG_N] + now[SHORT_N] + extra * now[FLOOR_N]
    earlier = before[LONG_N] + before[SHORT_N] + extra * before[FLOOR_N]
    seconds = p[SPAN]
    raw[0] = count / seconds
    raw[1] = (count - earlier) / (seconds * seconds)
    raw[2] = (now[LONG_USD] + now[SHORT_USD]) / MICRO / seconds
    raw[3] = effective_venues(shard.counts)
    raw[4] = me.context[RATE]
    raw[5] = fall(me)


@compiled
def _likelihood(me: Slot, market: Slot, shard: Shard, forecast: Forecasts, time: int, p: Parameters) -> float:
    """The probability levels go by, 0 where it is usually high; an open cascade keeps the best of every horizon."""
    seen(me, market, time, shard.features)
    found = 0.0
    for k in range(N_HORIZONS):
        if me.forecast[k] < 0:
            break
        mine = forecast[me.forecast[k]]
        if me.open or mine.decides:
            likely = chance(mine, shard.features)
            if me.open:
                me.likeliest[k] = max(me.likeliest[k], likely)
            if mine.decides and usual(mine) <= p[UNUSUAL]:
                found = likely
    return found
