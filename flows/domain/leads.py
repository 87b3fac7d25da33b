"""Which venue's bursts precede which, over about a day. Compiled.

For each pair of venues whose bursts began within a minute of each other, not at the same instant, the earlier one leads
once, by so many seconds. Both are judged at the times the slot is told (see ``flows.domain.bursts``), so the order in
which events arrive matters only within a second. Counts are decayed; the mean lag is that of the decayed counts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.domain.bursts import SPAN, Bursts, is_new
from flows.domain.constants import N_VENUES, NEVER
from schemas.compiled import compiled

MEMORY = 86400.0
"""Seconds after which a lead has lost all but 1/e of its say."""
TOP = 8
"""Pairs told."""

LEADS = np.dtype(
    [
        ("at", np.int64),  # the next two are of this time
        ("count", np.float32, (N_VENUES, N_VENUES)),  # how often the burst of the first preceded that of the second
        ("lag", np.float32, (N_VENUES, N_VENUES)),  # by how many seconds in all
    ],
    align=True,
)
Leads = Any
"""One record of ``LEADS``."""
PAIR = np.dtype([("leader", np.int64), ("follower", np.int64), ("count", np.float64), ("lag", np.float64)])
"""A pair as it is told: numbers of the two, decayed count, decayed sum of lags (s). Count 0: no pair."""


@compiled
def note(me: Leads, bursts: Bursts, time: int, onsets: NDArray[np.int64]) -> None:
    """Count the pairs that bursts newly found make; before they are remembered."""
    for v in range(N_VENUES):
        if onsets[v] == NEVER:
            continue
        for w in range(v + 1, N_VENUES):
            gap = onsets[w] - onsets[v]
            if onsets[w] == NEVER or gap == 0 or abs(gap) > SPAN:
                continue
            if is_new(bursts, time, v) or is_new(bursts, time, w):
                _decay(me, time)
                leader, follower = (v, w) if gap > 0 else (w, v)
                me.count[leader, follower] += np.float32(1.0)
                me.lag[leader, follower] += np.float32(abs(gap) * 1e-9)


@compiled
def _decay(me: Leads, time: int) -> None:
    if me.at != NEVER and time > me.at:
        left = np.float32(math.exp(-(time - me.at) * 1e-9 / MEMORY))
        for v in range(N_VENUES):
            for w in range(N_VENUES):
                me.count[v, w] *= left
                me.lag[v, w] *= left
    me.at = time


@compiled
def strongest(me: Leads, time: int, out: NDArray[Any]) -> None:
    """The pairs with the highest counts at ``time``, highest first, as ``PAIR``."""
    for k in range(TOP):
        out[k].count = 0.0
    if me.at == NEVER:
        return
    for v in range(N_VENUES):
        for w in range(N_VENUES):
            if me.count[v, w] > out[TOP - 1].count:
                enter(out, v, w, me.count[v, w], me.lag[v, w])
    fade(out, max(time - me.at, 0) * 1e-9 / MEMORY)


@compiled
def enter(out: NDArray[Any], leader: int, follower: int, count: float, lag: float) -> None:
    """Put a pair into its place in ``out``; the last is lost."""
    k = len(out) - 1
    while k > 0 and count > out[k - 1].count:
        out[k].leader, out[k].follower = out[k - 1].leader, out[k - 1].follower
        out[k].count, out[k].lag = out[k - 1].count, out[k - 1].lag
        k -= 1
    out[k].leader, out[k].follower = leader, follower
    out[k].count, out[k].lag = count, lag


@compiled
def fade(out: NDArray[Any], memories: float) -> None:
    """Decay what is told by so many memories."""
    left = math.exp(-memories)
    for k in range(len(out)):
        out[k].count *= left
        out[k].lag *= left
