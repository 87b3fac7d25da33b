"""Which assets ignite which, and how much of the market burns. Compiled.

An asset *ignites* another where its burst (all venues together, see ``flows.domain.bursts``) began before the other's,
at most a minute. Each slot counts who ignited it, decayed over about a day, the market every pair: at most ``PAIRS``,
where the weakest gives way to a newcomer. Order of bursts is no proof of cause: both may answer to one price.

Slots are told in the order of their numbers, the market last, so nothing depends on which of two assets was heard of
first within a second.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain.bursts import ALL, SPAN
from flows.domain.constants import NEVER
from flows.domain.leads import enter, fade
from schemas.compiled import compiled

MEMORY = 86400.0
"""Seconds after which an ignition has lost all but 1/e of its say."""
PAIRS = 64
TOP = 8
"""Pairs told."""
WAVE = 16
"""Assets of a wave told."""

CONTAGION = np.dtype(
    [
        ("at", np.int64),  # counts and lags are of this time
        ("igniter", np.int32, (PAIRS,)),  # slot
        ("ignited", np.int32, (PAIRS,)),
        ("count", np.float64, (PAIRS,)),
        ("lag", np.float64, (PAIRS,)),  # seconds in all
    ],
    align=True,
)
Contagion = Any
"""One record of ``CONTAGION``."""
ENTRY = np.dtype([("slot", np.int64), ("onset", np.int64)])
"""An asset of a wave: its slot, and when its burst began. Slot 0: no more."""
N_BREADTH = 4
ACTIVE, BURSTING, WATCHED, CASCADING = range(N_BREADTH)
"""Numbers of assets with a liquidation in the last minute; of these in a burst, at WATCH or above, in a cascade."""

Slots = NDArray[Any]
"""The slots; the market is the first."""


@compiled
def note(slots: Slots, slot: int, began: int, time: int) -> None:
    """The burst of an asset, just found, began at ``began``: count who ignited it, and whom it ignited."""
    for other in range(1, len(slots)):
        gap = began - slots[other].measured.bursts.onset[ALL]
        if other == slot or gap == 0 or abs(gap) > SPAN:
            continue
        igniter, ignited = (other, slot) if gap > 0 else (slot, other)
        lag = abs(gap) * 1e-9
        _count(slots[ignited].measured.contagion, igniter, ignited, lag, time)
        _count(slots[0].measured.contagion, igniter, ignited, lag, time)


@compiled
def _count(me: Contagion, igniter: int, ignited: int, lag: float, time: int) -> None:
    if me.at != NEVER and time > me.at:
        left = math.exp(-(time - me.at) * 1e-9 / MEMORY)
        for k in range(PAIRS):
            me.count[k] *= left
            me.lag[k] *= left
    me.at = time
    place = 0
    for k in range(PAIRS):
        if me.count[k] > 0.0 and me.igniter[k] == igniter and me.ignited[k] == ignited:
            me.count[k] += 1.0
            me.lag[k] += lag
            return
        if me.count[k] < me.count[place]:
            place = k
    me.igniter[place], me.ignited[place] = igniter, ignited
    me.count[place], me.lag[place] = 1.0, lag


@compiled
def strongest(me: Contagion, time: int, out: NDArray[Any]) -> None:
    """The pairs with the highest counts at ``time``, highest first, as ``flows.domain.leads.PAIR``."""
    for k in range(TOP):
        out[k].count = 0.0
    if me.at == NEVER:
        return
    for k in range(PAIRS):
        if me.count[k] > out[TOP - 1].count:
            enter(out, me.igniter[k], me.ignited[k], me.count[k], me.lag[k])
    fade(out, max(time - me.at, 0) * 1e-9 / MEMORY)


@compiled
def wave(slots: Slots, time: int, out: NDArray[Any]) -> None:
    """The assets whose bursts began in the last minute, in that order; equal ones by slot; as ``ENTRY``."""
    found = 0
    for slot in range(1, len(slots)):
        began = slots[slot].measured.bursts.onset[ALL]
        if began <= time - SPAN or (found == WAVE and began >= out[WAVE - 1].onset):
            continue
        found = min(found + 1, WAVE)
        k = found - 1
        while k > 0 and began < out[k - 1].onset:
            out[k].slot, out[k].onset = out[k - 1].slot, out[k - 1].onset
            k -= 1
        out[k].slot, out[k].onset = slot, began
    for k in range(found, WAVE):
        out[k].slot = 0


@compiled
def breadth(slots: Slots, time: int, out: NDArray[np.int64]) -> None:
    """How many assets are active, and how many of these are in trouble."""
    for k in range(N_BREADTH):
        out[k] = 0
    for slot in range(1, len(slots)):
        me = slots[slot]
        if me.decays.at > time - SPAN:
            out[ACTIVE] += 1
            out[BURSTING] += me.measured.bursts.onset[ALL] != NEVER and me.measured.bursts.told > time - SPAN
            out[WATCHED] += me.level > 0
            out[CASCADING] += me.open
