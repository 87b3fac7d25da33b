"""What comes of a pass: signals, windows and cascade updates, appended to plain buffers in the order they happened.

Compiled. ``flows.domain.detector`` spells them out as records.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import N_VENUES
from flows.domain.decays import heat
from flows.domain.forecast import N_HORIZONS, N_SEEN, chance, read, usual
from flows.domain.measuring import MEASURE, tell_measures
from flows.domain.minute import BY_SECOND
from flows.domain.rings import tell
from flows.domain.state import (
    EVERYTHING,
    LONG_N,
    N_ENTRANTS,
    N_SCALES,
    N_SUMS,
    N_WINDOWS,
    SHORT_N,
    THE_MARKET,
    Shard,
    State,
)
from schemas.compiled import compiled

SIGNAL, WINDOWS_TOLD, CASCADE = np.arange(3)
"""Kinds of telling."""
OPENS, UPDATES, PEAKS, CLOSES = np.arange(4)
MARGIN = 8
"""Tellings one row can cause at most, windows apart."""


class Told(NamedTuple):
    """What came of it. ``order`` lists (kind, index) as it happened; the first ``n[kind]`` rows of each table count."""

    n: NDArray[np.int64]  # 6: signals, windows, cascades, order; liquidations scored, too late
    order: NDArray[np.int32]
    signal: NDArray[np.int64]  # slot, time, level, previous, row, cascade open, key, rule, events before + 8 sums
    signal_score: NDArray[np.float64]  # score, heat, 6 components, 6 context, 6 raw, 4 scale, 32 features
    signal_chance: NDArray[np.float64]  # H x (probability, usual)
    window: NDArray[np.int64]  # slot, time + W x 10
    window_venues: NDArray[np.int32]  # W x V
    measure: NDArray[Any]  # beside each window row where measures are kept; else empty
    seconds: NDArray[Any]  # scratch, see ``flows.domain.minute``
    cascade: NDArray[np.int64]  # slot, time, state, opened, started, level, peak level, key, time of pace + 8 sums
    cascade_score: NDArray[np.float64]  # score, peak, heat, pace
    cascade_chance: NDArray[np.float64]  # H x (probability, best)
    cascade_entry: NDArray[np.int64]  # V
    cascade_entrant: NDArray[np.int64]  # N x (slot, time)
    cascade_share: NDArray[np.int64]  # 2 x V


SIGNAL_HEAD, CASCADE_HEAD = 9, 9
PARTS, CONTEXT, RAW, SCALE, FEATURE = 2, 8, 14, 20, 24
"""Where in ``signal_score`` what begins."""


def told(room: int = 4096, *, measures: bool = False) -> Told:
    """Empty buffers.

    :arg measures: whether each telling of windows is to have its measures beside it.
    """
    return Told(
        np.zeros(6, np.int64),
        np.zeros((room, 2), np.int32),
        np.zeros((room, SIGNAL_HEAD + N_SUMS), np.int64),
        np.zeros((room, FEATURE + N_SEEN), np.float64),
        np.zeros((room, N_HORIZONS, 2), np.float64),
        np.zeros((room, 2 + N_WINDOWS * (N_SUMS + 2)), np.int64),
        np.zeros((room, N_WINDOWS, N_VENUES), np.int32),
        np.zeros(room if measures else 0, MEASURE),
        np.zeros(1, BY_SECOND),
        np.zeros((room, CASCADE_HEAD + N_SUMS), np.int64),
        np.zeros((room, 4), np.float64),
        np.zeros((room, N_HORIZONS, 2), np.float64),
        np.zeros((room, N_VENUES), np.int64),
        np.zeros((room, N_ENTRANTS, 2), np.int64),
        np.zeros((room, 2, N_VENUES), np.int64),
    )


@compiled
def _note(out: Told, kind: int) -> int:
    """Take the next row of a table."""
    index = out.n[kind]
    out.n[kind] += 1
    out.order[out.n[3], 0] = kind
    out.order[out.n[3], 1] = index
    out.n[3] += 1
    return index


@compiled(inline="always")
def _is_told(shard: Shard, slot: int) -> bool:
    return shard.tells == EVERYTHING or (slot == 0) == (shard.tells == THE_MARKET)


@compiled
def tell_signal(s: State, out: Told, slot: int, time: int, previous: int, row: int) -> None:
    """The level changed; the figures behind it are in the shard's scratch."""
    me = s.slot[slot]
    shard = s.shard[0]
    if not _is_told(shard, slot):
        return
    i = _note(out, SIGNAL)
    line = out.signal[i]
    line[0], line[1], line[2], line[3], line[4] = slot, time, me.level, previous, row
    line[5], line[6], line[7], line[8] = me.open, me.key, shard.rule, shard.earlier[LONG_N] + shard.earlier[SHORT_N]
    for k in range(N_SUMS):
        line[SIGNAL_HEAD + k] = shard.sums[k]
    figures = out.signal_score[i]
    figures[0], figures[1] = me.score, heat(me.decays, time)
    for k in range(6):
        figures[PARTS + k] = shard.parts[k]
        figures[CONTEXT + k] = me.context[k]
        figures[RAW + k] = shard.raw[k]
    for k in range(N_SCALES):
        figures[SCALE + k] = shard.scale[k]
    read(me, s.slot[0], time, figures[FEATURE:])
    for k in range(N_HORIZONS):
        if me.forecast[k] >= 0:
            mine = s.forecast[me.forecast[k]]
            out.signal_chance[i, k, 0] = chance(mine, figures[FEATURE:])
            out.signal_chance[i, k, 1] = usual(mine)


@compiled
def tell_cascade(s: State, out: Told, slot: int, time: int, state: int) -> None:
    """Where the cascade of a slot stands."""
    me = s.slot[slot]
    me.changed = False
    if not _is_told(s.shard[0], slot):
        return
    i = _note(out, CASCADE)
    line = out.cascade[i]
    line[0], line[1], line[2], line[3], line[4] = slot, time, state, me.opened, me.started
    line[5], line[6], line[7], line[8] = me.level, me.peak_level, me.key, me.pace_at
    for k in range(N_SUMS):
        line[CASCADE_HEAD + k] = me.cascade[k]
    out.cascade_score[i, 0] = me.score
    out.cascade_score[i, 1] = me.peak
    out.cascade_score[i, 2] = heat(me.decays, time)
    out.cascade_score[i, 3] = me.pace
    for v in range(N_VENUES):
        out.cascade_entry[i, v] = me.entry[v]
        out.cascade_share[i, 0, v] = me.shares[0, v]
        out.cascade_share[i, 1, v] = me.shares[1, v]
    for k in range(N_ENTRANTS):
        out.cascade_entrant[i, k, 0] = me.entrant[k]
        out.cascade_entrant[i, k, 1] = me.entrant_at[k]
    if me.forecast[0] >= 0:
        _tell_chances(s, out.cascade_chance[i], slot, time)


@compiled
def _tell_chances(s: State, line: NDArray[np.float64], slot: int, time: int) -> None:
    """The probabilities of an open cascade, now and at best."""
    me, shard = s.slot[slot], s.shard[0]
    read(me, s.slot[0], time, shard.features)
    for k in range(N_HORIZONS):
        if me.forecast[k] >= 0:
            line[k, 0] = chance(s.forecast[me.forecast[k]], shard.features)
            me.likeliest[k] = max(me.likeliest[k], line[k, 0])
            line[k, 1] = me.likeliest[k]


@compiled
def tell_windows(s: State, out: Told, slot: int, time: int) -> None:
    """All six windows of a slot, and its open cascade where that changed."""
    me = s.slot[slot]
    # Measured in any case: the market is measured by what its assets came to.
    i = _note(out, WINDOWS_TOLD) if _is_told(s.shard[0], slot) else out.n[WINDOWS_TOLD]
    out.window[i, 0], out.window[i, 1] = slot, time
    figures = out.window[i, 2:].reshape(N_WINDOWS, N_SUMS + 2)
    tell(s.event, me, time, figures, out.window_venues[i])
    if len(out.measure):
        tell_measures(s.event, s.slot, slot, time, out.window_venues[i, N_WINDOWS - 1], out.seconds[0], out.measure[i])
    if me.open and me.changed:
        tell_cascade(s, out, slot, time, UPDATES)


@compiled
def has_room(out: Told) -> bool:
    """Whether all that one row can cause still fits."""
    used = max(out.n[0], out.n[1], out.n[2]) + MARGIN
    return used < len(out.signal) and out.n[3] + MARGIN < len(out.order)
