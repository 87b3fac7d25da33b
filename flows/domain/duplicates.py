"""Events already seen, by id: a replayed frame adds none. Compiled hash set of two generations.

When the young generation is full it becomes the old one and the old one is forgotten, so at least the last ``room``
events are remembered in constant memory. Rotation counts events, never time or batches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.batches import Batch
from schemas.compiled import compiled

ROOM = 1 << 18
_SPREAD = 0x9E3779B97F4A7C15


@compiled(inline="always")
def _find(table: NDArray[np.uint64], key: np.uint64) -> int:
    """Where ``key`` is, or the free place for it."""
    mask = np.uint64(len(table) - 1)
    place = (key * np.uint64(_SPREAD)) >> np.uint64(11) & mask
    while table[place] != 0 and table[place] != key:
        place = (place + np.uint64(1)) & mask
    return int(place)


@compiled
def _unseen(
    ids: NDArray[np.uint64], tables: NDArray[np.uint64], state: NDArray[np.int64], room: int
) -> NDArray[np.bool_]:
    fresh = np.ones(len(ids), np.bool_)
    for row in range(len(ids)):
        key = ids[row] | np.uint64(ids[row] == 0)
        young, old = tables[state[0]], tables[1 - state[0]]
        place = _find(young, key)
        if young[place] == key or old[_find(old, key)] == key:
            fresh[row] = False
            continue
        young[place] = key
        state[1] += 1
        if state[1] == room:
            state[0] = 1 - state[0]
            state[1] = 0
            tables[state[0]][:] = 0
    return fresh


class Seen:
    """Remembers at least the last ``room`` event ids."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._tables = np.zeros((2, 1 << (2 * room - 1).bit_length()), np.uint64)
        self._state = np.zeros(2, np.int64)

    def unseen(self, ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of these are new; they no longer are."""
        fresh: NDArray[np.bool_] = _unseen(np.ascontiguousarray(ids, np.uint64), self._tables, self._state, self._room)
        return fresh

    def restore(self, generations: tuple[NDArray[np.uint64], NDArray[np.uint64]]) -> None:
        """Remember again the last ``room`` ids and those after them; nothing may have been seen yet."""
        for ids in generations:  # the first are ``room``, or none: when all are in, they become the old generation
            self.unseen(ids)

    def drop(self, batch: Batch) -> int:
        """Take known events out of the batch; how many they were."""
        fresh = _unseen(batch.liquidations.event_id, self._tables, self._state, self._room)
        doubled = len(fresh) - int(np.count_nonzero(fresh))
        if doubled:
            kept = np.concatenate([[0], np.cumsum(fresh)])
            batch.liquidations = batch.liquidations.take(fresh)
            batch.others = [(int(kept[before]), record) for before, record in batch.others]
        return doubled
