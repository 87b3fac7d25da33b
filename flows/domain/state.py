"""The memory of the detector: plain arrays, so that it can be compiled over, copied, and written down.

A *slot* is an asset (asset code + 1) or the market (0). The events of all slots live in one arena; each slot owns a
chain of equal blocks of it, takes another when they are full and gives back those forgotten, so nothing is ever copied
and a burst costs no pause. Untouched memory of the arena costs nothing: the system maps it when it is used.

USD are integer micro-dollars: sums are exact, whatever the order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.domain.constants import N_VENUES, NEVER
from flows.domain.decays import DECAYS
from flows.domain.decays import cleared as no_decays
from flows.domain.forecast import FORECAST, N_HORIZONS, N_SEEN
from flows.domain.measured import MEASURED
from flows.domain.measured import cleared as no_measures
from schemas.cascades import WINDOWS

SHORT, ADL, FLOOR, PARTIAL = 1 << 5, 1 << 6, 1 << 7, 1 << 8
"""Bits of ``what`` above the venue: position short, cause ADL, feed does not tell everything, nor even a known part."""
N_SUMS = 8
LONG_N, SHORT_N, ADL_N, LONG_USD, SHORT_USD, ADL_USD, FLOOR_USD, FLOOR_N = range(N_SUMS)
N_WINDOWS = len(WINDOWS)
LENGTHS = np.array(list(WINDOWS.values()), np.int64)
RETENTION = 2 * int(LENGTHS.max())
"""How long events are needed: the longest window and the one before it."""
POWER = 9
BLOCK = 1 << POWER
"""Entries of a block."""
STRIDE = BLOCK + (N_SUMS + N_VENUES // 4 + 1) // 2
"""Room of a block in the arena: behind its entries stand their sums and how many each venue has, two numbers to the
``time`` and ``usd`` of an entry."""
BLOCKS = 8192
"""Blocks a slot can hold: 4 M events within ten minutes."""
ARENA = STRIDE << 13
"""Entries of the arena at the start."""
OI_SAMPLES = 512
OI_SPACING = 8 * 1_000_000_000
"""Open interest is kept at most this often (ns), so that a ring covers more than an hour."""
HOURS = 24
N_ENTRANTS = 16
"""How many assets a market-wide cascade remembers the entry of: the earliest."""
N_SCALES = 4
CAPPED_EVENT, FULL_USD, USUAL_RATE, USUAL_USD = range(N_SCALES)
"""What a slot is judged by, see ``flows.domain.scale``."""

EVENT = np.dtype(
    [
        ("time", np.int64),
        ("usd", np.int64),  # micro-USD
        ("what", np.int16),
        ("asset", np.int32),  # its slot
    ],
    align=True,
)
SLOT = np.dtype(
    [
        ("blocks", np.int64, (BLOCKS,)),  # of each number, modulo BLOCKS: where in the arena x BLOCK + where it is cut
        ("taken", np.int64),  # one past the number of its newest block
        ("freed", np.int64),  # number of the oldest block not given back
        ("first", np.int64),  # oldest entry kept
        ("last", np.int64),  # one past the newest
        ("now", np.int64),  # time the signal window is aligned to
        ("tail", np.int64, (2,)),  # first entry of the signal window, of the one before
        ("window", np.int64, (2, N_SUMS)),  # sums of the signal window, of the one before
        ("venues", np.int32, (N_VENUES,)),  # events by venue in the signal window
        ("is_dirty", np.bool_),  # has events not told yet
        ("reached", np.int64, (5,)),  # when each level was last reached
        ("level", np.int64),
        ("score", np.float64),  # the last one
        ("began", np.int64),  # its first liquidation
        ("forecast", np.int32, (N_HORIZONS,)),  # its forecasts by horizon, or -1
        ("open", np.bool_),  # a cascade is
        ("opened", np.int64),
        ("started", np.int64),
        ("peak_level", np.int64),
        ("peak", np.float64),  # best score of the cascade
        ("changed", np.bool_),  # the cascade has, since it was last told
        ("key", np.int64),  # event id that opened it
        ("cascade", np.int64, (N_SUMS,)),
        ("entry", np.int64, (N_VENUES,)),  # when each venue entered it
        ("shares", np.int64, (2, N_VENUES)),  # micro-USD of longs and shorts by venue
        ("entrant", np.int32, (N_ENTRANTS,)),  # slots of the assets that entered first, in no order
        ("entrant_at", np.int64, (N_ENTRANTS,)),  # when; NEVER where there are fewer
        ("pace", np.float64),  # the best so far: USD of the last ten seconds, decayed
        ("pace_at", np.int64),  # when that was
        ("peak_due", np.int64),  # when the peak is past if nothing more comes
        ("peak_told", np.bool_),
        ("likeliest", np.float64, (N_HORIZONS,)),  # best probability by horizon
        ("funding", np.float64, (N_VENUES,)),  # per 8 h
        ("funding_at", np.int64, (N_VENUES,)),
        ("funding_hour", np.int64, (HOURS,)),  # which hour the next two are of
        ("funding_last", np.float64, (HOURS,)),  # mean at its end
        ("funding_most", np.float64, (HOURS,)),  # largest absolute mean in it
        ("context", np.float64, (6,)),  # see ``CONTEXT_FIELDS``
        ("oi_ring", np.int32, (N_VENUES,)),  # or -1
        ("decays", DECAYS),
        ("measured", MEASURED),
    ],
    align=True,
)
RING = np.dtype(
    [("count", np.int64), ("time", np.int64, (OI_SAMPLES,)), ("quantity", np.float64, (OI_SAMPLES,))], align=True
)
SHARD = np.dtype(
    [
        ("span", np.int64),  # the six of ``Rules``, nanoseconds
        ("lateness", np.int64),
        ("delay", np.int64),
        ("hold", np.int64),
        ("snapshot", np.int64),
        ("open_level", np.int64),
        ("measures", np.bool_),  # whether ``measured`` is kept
        ("tells", np.int64),  # of which slots is told
        ("clock", np.int64),  # newest time known
        ("cell", np.int64),  # newest cell of the receive-time grid
        ("arena_used", np.int64),
        ("free", np.int64),  # the first free block, chained by ``time``; -1 none
        ("rings_used", np.int64),
        ("falls_due", np.int64),  # no level falls before this
        ("peaks_due", np.int64),  # no peak is past before this
        ("learn_due", np.int64),  # when forecasts are next remembered and learnt from
        ("grid_due", np.int64),  # when the dirty slots are told
        ("dirty", np.int64),  # how many
        ("told", np.int64),  # how many of them already
        ("sums", np.int64, (N_SUMS,)),  # scratch: the signal window being judged
        ("earlier", np.int64, (N_SUMS,)),  # scratch: the one before it
        ("counts", np.int32, (N_VENUES,)),  # scratch: its venues
        ("raw", np.float64, (6,)),  # scratch: what its score components are made of
        ("parts", np.float64, (6,)),  # scratch: its score components
        ("scale", np.float64, (N_SCALES,)),  # scratch: what it is judged by
        ("features", np.float64, (N_SEEN,)),  # scratch: of the slot, of the market
        ("rule", np.int64),  # scratch: which rule decided
    ],
    align=True,
)


EVERYTHING, ASSETS, THE_MARKET = range(3)
"""What is told: where shards share the thinking, each tells of its own slots and only thinks about the others."""

Events = NDArray[Any]
"""An array of ``EVENT``."""
Forecasts = NDArray[Any]
"""An array of ``FORECAST``."""
Slot = Any
"""One record of ``SLOT``: compiled code takes records and not the state, which would be counted at each call."""
Shard = Any
"""The record of ``SHARD``."""


class State(NamedTuple):
    """The arrays."""

    event: Events
    slot: NDArray[Any]
    ring: NDArray[Any]
    shard: NDArray[Any]
    dirty: NDArray[np.int64]
    forecast: NDArray[Any]


CONTEXT_FIELDS = (
    "open_interest_1m",
    "open_interest_5m",
    "open_interest_1h",
    "funding",
    "funding_trend",
    "funding_max_24h",
)
"""Relative change of open interest over 1 m, 5 m, 1 h; funding per 8 h now, against an hour ago, largest in 24 h."""
OI_1M, OI_5M, OI_1H, RATE, TREND, RATE_MAX = range(6)

_FILLS = {
    "now": NEVER,
    "reached": NEVER,
    "entry": NEVER,
    "began": NEVER,
    "funding_at": NEVER,
    "funding_hour": NEVER,
    "funding": np.nan,
    "context": np.nan,
    "oi_ring": -1,
    "forecast": -1,
    "entrant_at": NEVER,
}


def _slots(count: int) -> NDArray[Any]:
    made = np.zeros(count, SLOT)
    for name, fill in _FILLS.items():
        made[name] = fill
    made["decays"] = no_decays(count)
    made["measured"] = no_measures(count)
    return made


def allocate(slots: int = 64, arena: int = ARENA, rings: int = 16) -> State:
    """An empty state."""
    shard = np.zeros(1, SHARD)
    shard["cell"] = -1
    shard["clock"] = NEVER
    shard["falls_due"] = shard["peaks_due"] = shard["learn_due"] = -NEVER
    shard["free"] = -1
    return State(
        np.zeros(arena, EVENT),
        _slots(slots),
        np.zeros(rings, RING),
        shard,
        np.zeros(slots, np.int64),
        np.zeros(0, FORECAST),
    )


def with_slots(state: State, slots: int) -> State:
    """The same state with room for at least ``slots``."""
    have = len(state.slot)
    if slots <= have:
        return state
    more = max(slots - have, have)
    return state._replace(
        slot=np.concatenate([state.slot, _slots(more)]), dirty=np.concatenate([state.dirty, np.zeros(more, np.int64)])
    )


def with_arena(state: State) -> State:
    """The same state with twice the arena."""
    return state._replace(event=np.concatenate([state.event, np.zeros_like(state.event)]))


def with_forecasts(state: State, slot: int, made: NDArray[Any]) -> State:
    """The same state with these forecasts of a slot, by rising horizon, and no others of it."""
    made["slot"] = slot
    forecast = np.concatenate([state.forecast[state.forecast["slot"] != slot], made])
    state.slot["forecast"] = -1
    for number, owner in enumerate(forecast["slot"].tolist()):
        mine = state.slot["forecast"][owner]
        mine[np.count_nonzero(mine >= 0)] = number
    return state._replace(forecast=forecast)


def continues(state: State, slot: int, made: NDArray[Any]) -> bool:
    """Whether the slot has these forecasts, whatever they learnt: a state written down may be of other models."""
    mine = state.forecast[state.forecast["slot"] == slot]
    fixed = ["threshold", "weights", "market", "decides"]
    return len(mine) == len(made) and all((mine[name] == made[name]).all() for name in fixed)


def with_rings(state: State) -> State:
    """The same state with twice the open-interest rings."""
    return state._replace(ring=np.concatenate([state.ring, np.zeros_like(state.ring)]))


def size_of(state: State) -> int:
    """Bytes in use: of the arena what was ever handed out, of a slot's table of blocks what was ever taken."""
    idle = EVENT.itemsize * (len(state.event) - int(state.shard["arena_used"][0]))
    unused = int((BLOCKS - np.minimum(state.slot["taken"], BLOCKS)).sum()) * np.dtype(np.int64).itemsize
    return sum(array.nbytes for array in state) - idle - unused
